package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/event"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/run"
)

// Hints is the way to tell a launcher at once that it should look again.
type Hints interface {
	// Live reports whether the worker can be hinted.
	Live(worker string) bool
	// Hint tells the worker to look again. It does not block.
	Hint(pool, worker string)
}

// listener is what the queue needs of the event log.
type listener interface {
	Listen(f func(event.Event)) (stop func())
}

// Options are what a Service works with. All without a default are needed.
type Options struct {
	DB       *db.DB
	Mover    *runs.Mover
	Events   listener
	Hints    Hints
	Blockers []Blocker // nil: Blockers()
	Now      func() time.Time
	Log      *slog.Logger
	Every    time.Duration // between looks at everything; default 5 s
	// Online reports whether a worker has been heard of lately, for the reasons that
	// people read; nil: all have.
	Online func(worker string) bool
}

// Service is the queue.
type Service struct {
	o     Options
	dirty *dirty
}

// New returns the queue, or an error if an option is missing.
func New(o Options) (*Service, error) {
	if o.DB == nil || o.Mover == nil || o.Events == nil || o.Hints == nil || o.Now == nil || o.Log == nil {
		return nil, errors.New("queue: an option is missing")
	}
	if o.Blockers == nil {
		o.Blockers = Blockers()
	}
	if o.Online == nil {
		o.Online = func(string) bool { return true }
	}
	if o.Every <= 0 {
		o.Every = 5 * time.Second
	}
	return &Service{o: o, dirty: newDirty()}, nil
}

// batch bounds how many runs of a stack one look takes up.
const batch = 100

// Stack looks at the runs of a stack in tx: what nothing blocks becomes READY,
// what waits and is blocked again becomes QUEUED, and idle workers of the stack's
// pool take what waits.
func (s *Service) Stack(ctx context.Context, tx *db.Tx, stack string) error {
	return s.Left(ctx, tx, stack, "")
}

// Left is Stack for a run that has left a worker of a pool, in tx. That pool is
// looked at too: the stack may have moved to another one meanwhile.
func (s *Service) Left(ctx context.Context, tx *db.Tx, stack, pool string) error {
	now, err := s.promote(ctx, tx, stack)
	if err != nil {
		return err
	}
	if now != "" {
		if err := s.Pool(ctx, tx, now); err != nil {
			return err
		}
	}
	if pool == "" || pool == now {
		return nil
	}
	return s.Pool(ctx, tx, pool)
}

// promote moves the stack's runs between QUEUED and READY and returns its pool,
// whether it has runs or not: what ended may have freed a worker for others.
func (s *Service) promote(ctx context.Context, tx *db.Tx, stack string) (pool string, err error) {
	st, err := stackOf(ctx, tx, stack)
	if err != nil {
		return "", err
	}
	rows, err := tx.QueryContext(ctx, `SELECT `+runs.Columns+` FROM run r WHERE r.stack = $1 AND r.state IN (`+waiting+`) LIMIT $2`, stack, batch)
	ready, err := db.Collect(rows, err, scan)
	if err != nil {
		return "", fmt.Errorf("list waiting runs of stack %s: %w", stack, err)
	}
	for _, r := range ready {
		if err := s.recheck(ctx, tx, st.with(r)); err != nil {
			return "", err
		}
	}
	// Of the blocking runs only the first can go on; the others wait for it.
	rows, err = tx.QueryContext(ctx, `SELECT * FROM (SELECT `+runs.Columns+` FROM run r WHERE r.stack = $1 AND r.state = 'QUEUED' AND r.blocking ORDER BY `+first+` LIMIT 1)
		UNION ALL SELECT * FROM (SELECT `+runs.Columns+` FROM run r WHERE r.stack = $1 AND r.state = 'QUEUED' AND NOT r.blocking ORDER BY r.id LIMIT $3)`,
		stack, st.LockedBy, batch)
	queued, err := db.Collect(rows, err, scan)
	if err != nil {
		return "", fmt.Errorf("list queued runs of stack %s: %w", stack, err)
	}
	for _, r := range queued {
		why, err := s.reasons(ctx, tx, st.with(r), true)
		if err != nil {
			return "", err
		}
		if len(why) > 0 {
			continue
		}
		r.Pool = st.Pool
		if err := s.Rank(ctx, tx, r); err != nil {
			return "", err
		}
		if err := s.o.Mover.Move(ctx, tx, r, run.Ready, run.Scheduler, runs.Mothership, ""); err != nil {
			return "", err
		}
	}
	return st.Pool, nil
}

// first orders a stack's queued blocking runs: the oldest first, but while
// somebody holds the stack's lock ($2), theirs before those that have to wait for
// its end, or the owner of the lock would wait for them.
const first = `CASE WHEN r.triggered_by = $2 THEN 0 ELSE 1 END, r.id`

// recheck queues a READY run again that something blocks by now, and moves a
// waiting run to the pool that its stack has now.
func (s *Service) recheck(ctx context.Context, tx *db.Tx, c Candidate) error {
	if c.Run.State == run.Ready {
		why, err := s.reasons(ctx, tx, c, true)
		if err != nil {
			return err
		}
		if len(why) > 0 {
			return s.o.Mover.Move(ctx, tx, c.Run, run.Queued, run.Scheduler, runs.Mothership, why[0].Message)
		}
	}
	if c.Pool == "" || c.Pool == c.Run.Pool {
		return nil
	}
	c.Run.Pool = c.Pool
	return s.Rank(ctx, tx, c.Run)
}

func scan(rows *sql.Rows) (*runs.Run, error) { return runs.Scan(rows) }
