package pool

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

const poolColumns = `id, name, description, space, labels, drift_limit, epoch, created_at, updated_at`

func findPool(ctx context.Context, q db.Queryer, id string) (Pool, error) {
	p, err := scanPool(q.QueryRowContext(ctx, `SELECT `+poolColumns+` FROM pool WHERE id = $1 AND deleted_at IS NULL`, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Pool{}, fault.New(fault.NotFound, "there is no worker pool %q", id)
	}
	if err != nil {
		return Pool{}, fmt.Errorf("read pool %s: %w", id, err)
	}
	return p, nil
}

func scanPool(into func(...any) error) (Pool, error) {
	var p Pool
	var labels string
	var limit sql.NullInt64
	var created, updated int64
	if err := into(&p.ID, &p.Name, &p.Description, &p.Space, &labels, &limit, &p.Epoch, &created, &updated); err != nil {
		return Pool{}, err
	}
	if err := json.Unmarshal([]byte(labels), &p.Labels); err != nil {
		return Pool{}, fmt.Errorf("read labels of pool %s: %w", p.ID, err)
	}
	if limit.Valid {
		p.DriftLimit = &limit.Int64
	}
	p.CreatedAt, p.UpdatedAt = db.Time(created), db.Time(updated)
	return p, nil
}

// workerRow is a worker as the database knows it.
type workerRow struct {
	Worker
	gone    bool
	writing bool // a live or quarantined write attempt
}

// A worker that is gone is still found while an attempt holds it: after a reset
// it works on until its run ends. A quarantined attempt is no longer live, but
// its container may be; that worker must look busy to an autoscaler too.
const (
	quarantined = `w.id IN (SELECT qa.worker FROM state_lock q JOIN attempt qa ON qa.run = q.run AND qa.attempt = q.attempt WHERE q.quarantined_at IS NOT NULL)`

	workerColumns = `w.id, w.pool, w.session, w.recipient, w.version, w.metadata, w.keys, w.drained, w.cycle, w.leaving, w.unwell, w.hints,
		w.created_at, w.registered_at, w.seen_at, w.available_at, w.gone_at IS NOT NULL, a.run, a.attempt, a.class, ` + quarantined

	workerTables = ` FROM worker w LEFT JOIN attempt a ON a.worker = w.id AND a.live `

	workerThere = ` (w.gone_at IS NULL OR a.run IS NOT NULL OR ` + quarantined + `) `
)

func scanWorker(into func(...any) error) (workerRow, error) {
	var w workerRow
	var keys string
	var created, registered, seen int64
	var available, attempt sql.NullInt64
	var run, class sql.NullString
	var quarantine bool
	err := into(&w.ID, &w.Pool, &w.Session, &w.Recipient, &w.Version, &w.Metadata, &keys, &w.Drained, &w.Cycle, &w.Leaving, &w.Unwell, &w.Hints,
		&created, &registered, &seen, &available, &w.gone, &run, &attempt, &class, &quarantine)
	if err != nil {
		return w, err
	}
	if err := json.Unmarshal([]byte(keys), &w.Keys); err != nil {
		return w, fmt.Errorf("read keys of worker %s: %w", w.ID, err)
	}
	w.CreatedAt, w.RegisteredAt, w.SeenAt = db.Time(created), db.Time(registered), db.Time(seen)
	if available.Valid {
		at := db.Time(available.Int64)
		w.AvailableAt = &at
	}
	if run.Valid {
		w.Run = &wire.AttemptRef{Run: run.String, Attempt: attempt.Int64}
	}
	w.Busy = run.Valid || quarantine
	w.writing = quarantine || class.String == "write"
	return w, nil
}

// finish adds what memory knows and derives the status.
func (s *Service) finish(r workerRow) Worker {
	w := r.Worker
	seen, online := s.presence.at(w.ID)
	if seen.After(w.SeenAt) {
		w.SeenAt = seen
	}
	w.Online = online && !r.gone
	w.Listed = w.Online || r.writing || (r.gone && w.Busy)
	w.Draining = w.Drained && w.Busy
	switch {
	case w.Busy:
		w.Status = Busy
	case w.Drained:
		w.Status = Drained
	default:
		w.Status = Idle
	}
	return w
}

func (s *Service) workers(ctx context.Context, q db.Queryer, where string, args ...any) ([]Worker, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+workerColumns+workerTables+`WHERE `+where+` ORDER BY w.id DESC`, args...)
	all, err := db.Collect(rows, err, func(r *sql.Rows) (Worker, error) {
		row, err := scanWorker(r.Scan)
		return s.finish(row), err
	})
	if err != nil {
		return nil, fmt.Errorf("read workers: %w", err)
	}
	return all, nil
}

// Worker returns a worker by its id, for the mothership's own parts; it asks for
// no permission.
func (s *Service) Worker(ctx context.Context, q db.Queryer, id string) (Worker, error) {
	row, err := scanWorker(q.QueryRowContext(ctx, `SELECT `+workerColumns+workerTables+`WHERE w.id = $1`, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Worker{}, fault.New(fault.NotFound, "there is no worker %q", id)
	}
	if err != nil {
		return Worker{}, fmt.Errorf("read worker %s: %w", id, err)
	}
	return s.finish(row), nil
}

// count fills the counters of pools.
func (s *Service) count(ctx context.Context, q db.Queryer, pools []Pool) error {
	at := map[string]*Pool{}
	for i := range pools {
		at[pools[i].ID] = &pools[i]
	}
	where, args := workerThere, []any(nil)
	if len(pools) == 1 {
		where, args = `w.pool = $1 AND `+where, []any{pools[0].ID}
	}
	workers, err := s.workers(ctx, q, where, args...)
	if err != nil {
		return err
	}
	for _, w := range workers {
		p, ok := at[w.Pool]
		if !ok {
			continue
		}
		if w.Listed {
			p.Workers++
		}
		if w.Busy {
			p.Busy++
		}
	}
	rows, err := q.QueryContext(ctx, `SELECT pool, COUNT(*) FROM run WHERE state IN ('READY', 'CONFIRMED', 'REPLAN_REQUESTED') AND pool IS NOT NULL GROUP BY pool`)
	_, err = db.Collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var pool string
		var n int
		err := r.Scan(&pool, &n)
		if p, ok := at[pool]; ok {
			p.PendingRuns = n
		}
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("count runs that wait: %w", err)
	}
	return nil
}
