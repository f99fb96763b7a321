package db

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the embedded database's driver
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers is how many connections read at a time.
const readers = 4

// DB is the mothership's database.
type DB struct {
	write, read           *sql.DB
	writeStmts, readStmts statements
}

// Queryer is what a transaction and a read-only connection have in common.
type Queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Tx is a writing transaction.
type Tx struct {
	*sql.Tx
	d      *DB
	after  []func()
	unseen []string // statements that are to be prepared once the connection is free
}

// AfterCommit registers f to be called once the transaction has been committed,
// in the order of registration. f must not block.
func (tx *Tx) AfterCommit(f func()) { tx.after = append(tx.after, f) }

// Open opens the SQLite database in the file at path, makes it if it is not
// there, and brings its schema up to date. The file's directory must exist.
func Open(ctx context.Context, path string) (*DB, error) {
	query := url.Values{}
	query.Add("_pragma", "busy_timeout(10000)")
	query.Add("_pragma", "journal_mode(WAL)")
	query.Add("_pragma", "foreign_keys(1)")
	// An acknowledged state must survive a power cut: NORMAL would not promise it.
	query.Add("_pragma", "synchronous(FULL)")
	query.Set("_txlock", "immediate")
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}).String()
	write, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	write.SetMaxOpenConns(1)
	query.Set("_txlock", "deferred")
	query.Add("_pragma", "query_only(1)")
	dsn = (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}).String()
	read, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), write.Close())
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers) // one that is closed forgets what it has prepared
	d := &DB{write: write, read: read}
	if err := d.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("migrate database %s: %w", path, err), d.Close())
	}
	return d, nil
}

func (d *DB) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, d.write, files)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// Close closes all connections.
func (d *DB) Close() error { return errors.Join(d.write.Close(), d.read.Close()) }

// Ping reports whether the database answers a write connection.
func (d *DB) Ping(ctx context.Context) error { return d.write.PingContext(ctx) }

// Write runs f in a writing transaction and commits it if f returns nil. It
// returns f's error as it is. f must do no I/O but the transaction's.
func (d *DB) Write(ctx context.Context, f func(tx *Tx) error) error {
	inner, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	tx := &Tx{Tx: inner, d: d}
	defer func() { d.prepare(ctx, tx.unseen) }()
	// A panic in f goes on, but the one connection that writes must be free again.
	// After a commit this does nothing.
	defer func() { _ = inner.Rollback() }()
	if err := f(tx); err != nil {
		return errors.Join(err, ignoreDone(inner.Rollback()))
	}
	if err := inner.Commit(); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	for _, after := range tx.after {
		after()
	}
	return nil
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// Read returns what reads committed data outside of any transaction.
func (d *DB) Read() Queryer { return reader{d} }

// Micros returns t as the database keeps it.
func Micros(t time.Time) int64 { return t.UnixMicro() }

// Time returns the time that the database keeps as micros.
func Time(micros int64) time.Time { return time.UnixMicro(micros) }

// Collect scans all rows with scan and closes them.
func Collect[T any](rows *sql.Rows, err error, scan func(*sql.Rows) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // the error of a fully read result is rows.Err's
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
