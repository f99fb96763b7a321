package lease

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/runlog"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// attempt is a row of the table.
type attempt struct {
	wire.AttemptRef
	stack, pool, worker string
	class               run.Class
	live                bool
	from                int // first state version
	accepted            bool
	container           string
	startedAt           time.Time // zero: no container yet
	timeout             time.Duration
	wrote               bool
	beat                int64
	stop, stopReason    string
	stopActor           string
	endedAt             time.Time
	decided             decided
}

// decided remembers what the last outcome was answered, so that a repeat is
// answered the same. Nothing in it is secret: jobs and bearers are made anew.
type decided struct {
	Container string         `json:"container"`
	Class     run.Class      `json:"class"`
	Decision  *wire.Decision `json:"decision,omitempty"`
	Next      string         `json:"next,omitempty"`   // the container that the next job is for
	Parked    *wire.Decision `json:"parked,omitempty"` // answer to parked
}

const columns = `a.run, a.attempt, a.stack, a.pool, a.worker, a.class, a.live, a.from_version, a.accepted_at, a.container,
	a.started_at, a.timeout_ms, a.wrote, a.beat, a.stop, a.stop_reason, a.stop_actor, a.ended_at, a.decision`

func scanAttempt(row interface{ Scan(...any) error }) (*attempt, error) {
	var (
		a                        attempt
		accepted, started, ended sql.NullInt64
		timeout                  int64
		decision                 string
	)
	err := row.Scan(&a.Run, &a.Attempt, &a.stack, &a.pool, &a.worker, &a.class, &a.live, &a.from, &accepted, &a.container,
		&started, &timeout, &a.wrote, &a.beat, &a.stop, &a.stopReason, &a.stopActor, &ended, &decision)
	if err != nil {
		return nil, err
	}
	a.accepted = accepted.Valid
	a.timeout = time.Duration(timeout) * time.Millisecond
	if started.Valid {
		a.startedAt = db.Time(started.Int64)
	}
	if ended.Valid {
		a.endedAt = db.Time(ended.Int64)
	}
	if decision != "" {
		if err := json.Unmarshal([]byte(decision), &a.decided); err != nil {
			return nil, fmt.Errorf("decode decision about attempt %d of run %s: %w", a.Attempt, a.Run, err)
		}
	}
	return &a, nil
}

// load returns an attempt of the caller's. Who a caller is says its bearer; whose
// an attempt is says only the database. A bearer made for one attempt is good for
// no other.
func load(ctx context.Context, q db.Queryer, c pool.WorkerIdentity, ref wire.AttemptRef) (*attempt, error) {
	if c.Attempt != nil && *c.Attempt != ref {
		return nil, fault.New(fault.Forbidden, "the bearer is good for attempt %d of run %s alone", c.Attempt.Attempt, c.Attempt.Run)
	}
	a, err := scanAttempt(q.QueryRowContext(ctx, `SELECT `+columns+` FROM attempt a WHERE a.run = $1 AND a.attempt = $2`, ref.Run, ref.Attempt))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "there is no attempt %d of run %q", ref.Attempt, ref.Run)
	}
	if err != nil {
		return nil, fmt.Errorf("look up attempt %d of run %s: %w", ref.Attempt, ref.Run, err)
	}
	if a.worker != c.Worker || a.pool != c.Pool {
		return nil, fault.New(fault.Forbidden, "attempt %d of run %s is another worker's", ref.Attempt, ref.Run)
	}
	return a, nil
}

// loadLive is load for calls that only a live attempt may make.
func loadLive(ctx context.Context, q db.Queryer, c pool.WorkerIdentity, ref wire.AttemptRef) (*attempt, *runs.Run, error) {
	a, err := load(ctx, q, c, ref)
	if err != nil {
		return nil, nil, err
	}
	if !a.live {
		return nil, nil, stale(ref)
	}
	r, err := runs.Load(ctx, q, ref.Run)
	return a, r, err
}

func stale(ref wire.AttemptRef) error {
	return fault.New(fault.Stale, "attempt %d of run %s is over", ref.Attempt, ref.Run).
		WithHint("the launcher should end its container and ask for orders")
}

// liveOf returns the worker's live attempt, or nil.
func liveOf(ctx context.Context, q db.Queryer, worker string) (*attempt, error) {
	a, err := scanAttempt(q.QueryRowContext(ctx, `SELECT `+columns+` FROM attempt a WHERE a.worker = $1 AND a.live`, worker))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up live attempt of worker %s: %w", worker, err)
	}
	return a, nil
}

// liveOfRun returns the run's live attempt, or nil.
func liveOfRun(ctx context.Context, q db.Queryer, id string) (*attempt, error) {
	a, err := scanAttempt(q.QueryRowContext(ctx, `SELECT `+columns+` FROM attempt a WHERE a.run = $1 AND a.live`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up live attempt of run %s: %w", id, err)
	}
	return a, nil
}

// source is where the attempt's logs may go, up to the run's present state.
func (a *attempt) source(r *runs.Run) runlog.Source {
	return runlog.Source{Run: a.Run, Attempt: a.Attempt, From: a.from, To: r.StateVersion}
}

// stopOrder returns the stop that is wanted of the attempt, or nil.
func (a *attempt) stopOrder() *wire.Stop {
	if a.stop == "" {
		return nil
	}
	return &wire.Stop{AttemptRef: a.AttemptRef, Kill: a.stop == stopKill, Reason: a.stopReason}
}

// The values of attempt.stop.
const (
	stopInterrupt = "interrupt"
	stopKill      = "kill"
)

// end ends the attempt and frees its worker, in tx. It is a compare-and-set: an
// attempt ends once.
func (s *Service) end(ctx context.Context, tx *db.Tx, a *attempt, reason string) error {
	now := db.Micros(s.o.Now())
	result, err := tx.ExecContext(ctx, `UPDATE attempt SET live = FALSE, ended_at = $3, end_reason = $4 WHERE run = $1 AND attempt = $2 AND live`,
		a.Run, a.Attempt, now, reason)
	if err != nil {
		return fmt.Errorf("end attempt %d of run %s: %w", a.Attempt, a.Run, err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, stale(a.AttemptRef))
	}
	a.live = false
	if _, err := tx.ExecContext(ctx, `UPDATE worker SET available_at = $2 WHERE id = $1`, a.worker, now); err != nil {
		return fmt.Errorf("free worker %s: %w", a.worker, err)
	}
	tx.AfterCommit(func() { s.forget(a.AttemptRef) })
	return nil
}

// remember stores what was decided about the attempt, in tx.
func remember(ctx context.Context, tx *db.Tx, a *attempt) error {
	text, err := json.Marshal(a.decided)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE attempt SET decision = $3 WHERE run = $1 AND attempt = $2`, a.Run, a.Attempt, string(text)); err != nil {
		return fmt.Errorf("store decision about attempt %d of run %s: %w", a.Attempt, a.Run, err)
	}
	return nil
}

func (s *Service) forget(ref wire.AttemptRef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waits, ref)
}
