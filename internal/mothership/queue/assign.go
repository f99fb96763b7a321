package queue

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/run"
)

// page is how many workers or runs are read at a time.
const page = 32

// Pool gives waiting runs of the pool to its idle workers, in tx, as long as
// there are both.
func (s *Service) Pool(ctx context.Context, tx *db.Tx, pool string) error {
	return s.assign(ctx, tx, pool, "")
}

// For gives the worker that is asking right now a run of its pool, in tx, if one
// waits. It is the only way in which a worker that cannot be hinted gets one.
func (s *Service) For(ctx context.Context, tx *db.Tx, pool, worker string) error {
	return s.assign(ctx, tx, pool, worker)
}

// idle is a worker that could take a run.
type idle struct {
	id   string
	keys []string
}

// assign pairs the waiting runs of the pool, best first, with its idle workers,
// newest first. asking is a worker that takes part though it cannot be hinted.
func (s *Service) assign(ctx context.Context, tx *db.Tx, pool, asking string) error {
	var after cursor
	free := supply{s: s, pool: pool, asking: asking, before: cursor{key: 1 << 62}}
	for {
		waiting, err := s.heads(ctx, tx, pool, after)
		if err != nil {
			return err
		}
		for _, r := range waiting {
			after = cursor{r.SortKey, r.ID}
			if there, err := free.any(ctx, tx); err != nil || !there {
				return err
			}
			needed, err := recipients(ctx, tx, r)
			if err != nil {
				return err
			}
			worker, err := free.take(ctx, tx, needed)
			if err != nil {
				return err
			}
			if worker == "" {
				continue // the reason is shown; others may still go
			}
			if err := s.give(ctx, tx, r, pool, worker); err != nil {
				return err
			}
		}
		if len(waiting) < page {
			return nil
		}
	}
}

type cursor struct {
	key int64
	id  string
}

// heads returns the pool's next waiting runs.
func (s *Service) heads(ctx context.Context, tx *db.Tx, pool string, after cursor) ([]*runs.Run, error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+runs.Columns+` FROM run r WHERE r.pool = $1 AND r.state IN (`+waiting+`)
		AND (r.sort_key, r.id) > ($2, $3) ORDER BY r.sort_key, r.id LIMIT $4`, pool, after.key, after.id, page)
	heads, err := db.Collect(rows, err, scan)
	if err != nil {
		return nil, fmt.Errorf("read queue of pool %s: %w", pool, err)
	}
	return heads, nil
}

// eligible is what a worker's row must say for it to get a run. It is asked when
// workers are listed and once more when the run is given, which locks the row as
// draining does.
const eligible = `gone_at IS NULL AND available_at IS NOT NULL AND NOT drained AND NOT cycle AND NOT leaving AND NOT skipped AND unwell = ''`

// supply is the pool's workers that could take a run, newest first, read page by
// page as far as they are needed: the one that holds an old key may be the last.
type supply struct {
	s            *Service
	pool, asking string
	free         []idle
	before       cursor // the last worker that was read
	all          bool   // there are no more than those in free
}

// any reports whether there is a worker at all.
func (f *supply) any(ctx context.Context, tx *db.Tx) (bool, error) {
	for len(f.free) == 0 && !f.all {
		if err := f.more(ctx, tx); err != nil {
			return false, err
		}
	}
	return len(f.free) > 0, nil
}

// take takes out the first worker that holds one of the keys; "" if none does.
func (f *supply) take(ctx context.Context, tx *db.Tx, needed []string) (string, error) {
	for from := 0; ; {
		for ; from < len(f.free); from++ {
			if w := f.free[from]; holds(w.keys, needed) {
				f.free = slices.Delete(f.free, from, from+1)
				return w.id, nil
			}
		}
		if f.all {
			return "", nil
		}
		if err := f.more(ctx, tx); err != nil {
			return "", err
		}
	}
}

// more reads a page of workers and keeps those that can be hinted, and asking.
func (f *supply) more(ctx context.Context, tx *db.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT w.id, w.keys, w.available_at FROM worker w WHERE w.pool = $1 AND `+eligible+`
		AND (w.available_at, w.id) < ($2, $3) AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.worker = w.id AND a.live)
		ORDER BY w.available_at DESC, w.id DESC LIMIT $4`, f.pool, f.before.key, f.before.id, page)
	read := 0
	_, err = db.Collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
		var (
			w    idle
			keys string
		)
		if err := rows.Scan(&w.id, &keys, &f.before.key); err != nil {
			return struct{}{}, err
		}
		f.before.id = w.id
		read++
		if w.id != f.asking && !f.s.o.Hints.Live(w.id) {
			return struct{}{}, nil
		}
		err := json.Unmarshal([]byte(keys), &w.keys)
		f.free = append(f.free, w)
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("list idle workers of pool %s: %w", f.pool, err)
	}
	f.all = read < page
	return nil
}

// recipients returns the fingerprints of the keys of which one is needed to go on
// with r: those of its parked workspace, or of its stack's sealed state. Without
// any, every worker will do.
func recipients(ctx context.Context, q db.Queryer, r *runs.Run) ([]string, error) {
	query := `SELECT s.recipients FROM state s WHERE s.stack = $1 AND NOT s.recovery AND s.mode = 'sealed' ORDER BY s.sequence DESC LIMIT 1`
	arg := r.Stack
	if r.State == run.Confirmed {
		query = `SELECT p.recipients FROM parked p WHERE p.run = $1 AND p.removed_at IS NULL ORDER BY p.sequence DESC LIMIT 1`
		arg = r.ID
	}
	var text string
	err := q.QueryRowContext(ctx, query, arg).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up who can open what run %s needs: %w", r.ID, err)
	}
	var all []string
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("decode recipients for run %s: %w", r.ID, err)
	}
	return all, nil
}

func holds(keys, needed []string) bool {
	if len(needed) == 0 {
		return true
	}
	return slices.ContainsFunc(needed, func(k string) bool { return slices.Contains(keys, k) })
}

// give makes the run's next attempt and hands it to the worker.
func (s *Service) give(ctx context.Context, tx *db.Tx, r *runs.Run, pool, worker string) error {
	to, ok := r.State.Handover()
	if !ok {
		return fmt.Errorf("run %s is %s and is not given to a worker", r.ID, r.State)
	}
	result, err := tx.ExecContext(ctx, `UPDATE worker SET available_at = NULL WHERE id = $1 AND `+eligible, worker)
	if err != nil {
		return fmt.Errorf("take worker %s: %w", worker, err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, fmt.Errorf("worker %s is not idle any more", worker))
	}
	r.Attempt++
	if _, err := tx.ExecContext(ctx, `UPDATE run SET attempt = $2 WHERE id = $1`, r.ID, r.Attempt); err != nil {
		return fmt.Errorf("count attempt of run %s: %w", r.ID, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO attempt (run, attempt, stack, pool, worker, class, live, from_version, assigned_at)
		VALUES ($1, $2, $3, $4, $5, $6, TRUE, $7, $8)`,
		r.ID, r.Attempt, r.Stack, pool, worker, string(classOf(r)), r.StateVersion+1, db.Micros(s.o.Now()))
	if err != nil {
		return fmt.Errorf("make attempt %d of run %s: %w", r.Attempt, r.ID, err)
	}
	if err := s.o.Mover.Move(ctx, tx, r, to, run.Scheduler, runs.Mothership, "given to worker "+worker); err != nil {
		return err
	}
	tx.AfterCommit(func() { s.o.Hints.Hint(pool, worker) })
	return nil
}

// classOf returns the class of the container that goes on with a waiting run.
func classOf(r *runs.Run) run.Class {
	if r.State == run.Confirmed {
		return run.Write
	}
	return run.Phases(r.Type, r.SkipInit)[0].Class()
}
