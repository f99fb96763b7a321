package db

import (
	"context"
	"database/sql"
	"sync"
)

// maxStatements bounds how many texts are kept prepared. The program has fewer;
// whatever makes texts without end is not to fill the memory.
const maxStatements = 1000

// statements are prepared ones by their text. To parse a statement takes longer
// than to execute it, so each is parsed once for a connection.
type statements struct {
	mu  sync.RWMutex
	all map[string]*sql.Stmt
}

// get returns a prepared statement, or nil; room says whether it may be kept.
func (s *statements) get(query string) (stmt *sql.Stmt, room bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.all[query], len(s.all) < maxStatements
}

// keep keeps a statement that was prepared and returns the one to use: another
// goroutine may have been first.
func (s *statements) keep(query string, stmt *sql.Stmt) *sql.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first := s.all[query]; first != nil {
		_ = stmt.Close() // nothing has used it
		return first
	}
	if s.all == nil {
		s.all = map[string]*sql.Stmt{}
	}
	s.all[query] = stmt
	return stmt
}

// reader reads with prepared statements.
type reader struct{ d *DB }

func (r reader) stmt(ctx context.Context, query string) *sql.Stmt {
	stmt, room := r.d.readStmts.get(query)
	if stmt != nil || !room {
		return stmt
	}
	stmt, err := r.d.read.PrepareContext(ctx, query)
	if err != nil {
		return nil // the same error comes of the query itself
	}
	return r.d.readStmts.keep(query, stmt)
}

// QueryContext is that of sql.DB.
func (r reader) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if stmt := r.stmt(ctx, query); stmt != nil {
		return stmt.QueryContext(ctx, args...)
	}
	return r.d.read.QueryContext(ctx, query, args...)
}

// QueryRowContext is that of sql.DB.
func (r reader) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if stmt := r.stmt(ctx, query); stmt != nil {
		return stmt.QueryRowContext(ctx, args...)
	}
	return r.d.read.QueryRowContext(ctx, query, args...)
}

// stmt returns the statement for tx, or nil if it has not been prepared yet. The
// one connection that writes is tx's, so it is prepared behind it.
func (tx *Tx) stmt(ctx context.Context, query string) *sql.Stmt {
	stmt, room := tx.d.writeStmts.get(query)
	if stmt != nil {
		return tx.StmtContext(ctx, stmt)
	}
	if room {
		tx.unseen = append(tx.unseen, query)
	}
	return nil
}

// prepare prepares what a transaction has executed for the first time.
func (d *DB) prepare(ctx context.Context, queries []string) {
	for _, query := range queries {
		if stmt, _ := d.writeStmts.get(query); stmt != nil {
			continue
		}
		// For all that come after this one: it does not end with its caller.
		stmt, err := d.write.PrepareContext(context.WithoutCancel(ctx), query)
		if err != nil {
			return // it goes on unprepared
		}
		d.writeStmts.keep(query, stmt)
	}
}

// ExecContext is that of sql.Tx.
func (tx *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if stmt := tx.stmt(ctx, query); stmt != nil {
		return stmt.ExecContext(ctx, args...)
	}
	return tx.Tx.ExecContext(ctx, query, args...)
}

// QueryContext is that of sql.Tx. Its rows are read to their end before the same
// query is asked again.
func (tx *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if stmt := tx.stmt(ctx, query); stmt != nil {
		return stmt.QueryContext(ctx, args...)
	}
	return tx.Tx.QueryContext(ctx, query, args...)
}

// QueryRowContext is that of sql.Tx.
func (tx *Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if stmt := tx.stmt(ctx, query); stmt != nil {
		return stmt.QueryRowContext(ctx, args...)
	}
	return tx.Tx.QueryRowContext(ctx, query, args...)
}
