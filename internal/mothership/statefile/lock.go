package statefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// lock is a stack's row; the zero value is no lock.
type lock struct {
	run         string
	attempt     int64
	tool        string
	info        string
	quarantined bool
}

func holder(ctx context.Context, q db.Queryer, stack string) (lock, error) {
	var (
		l  lock
		at sql.NullInt64
	)
	err := q.QueryRowContext(ctx, `SELECT run, attempt, tool_lock, tool_info, quarantined_at FROM state_lock WHERE stack = $1`, stack).
		Scan(&l.run, &l.attempt, &l.tool, &l.info, &at)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return l, fmt.Errorf("look up state lock of stack %s: %w", stack, err)
	}
	l.quarantined = at.Valid
	return l, nil
}

// Acquire takes the stack's lock for an attempt that begins to write, in tx.
func (s *Service) Acquire(ctx context.Context, tx *db.Tx, stack, runID string, attempt int64) error {
	l, err := holder(ctx, tx, stack)
	if err != nil {
		return err
	}
	if l.run == runID && l.attempt == attempt && !l.quarantined {
		return nil
	}
	if l.run != "" {
		return fault.New(fault.Conflict, "the stack's state is locked by attempt %d of run %s", l.attempt, l.run).Named("state_locked")
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO state_lock (stack, run, attempt, held_at) VALUES ($1, $2, $3, $4)`,
		stack, runID, attempt, db.Micros(s.o.Now()))
	if err != nil {
		return fmt.Errorf("lock state of stack %s: %w", stack, err)
	}
	return nil
}

// Release gives the attempt's lock back, in tx. It changes nothing if it has none.
func (s *Service) Release(ctx context.Context, tx *db.Tx, stack, runID string, attempt int64) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM state_lock WHERE stack = $1 AND run = $2 AND attempt = $3`, stack, runID, attempt)
	if err != nil {
		return fmt.Errorf("unlock state of stack %s: %w", stack, err)
	}
	return nil
}

// Quarantine keeps the lock of an attempt that was lost while it wrote until its
// container must have ended, in tx.
func (s *Service) Quarantine(ctx context.Context, tx *db.Tx, stack, runID string, attempt int64, until time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE state_lock SET quarantined_at = $4, quarantine_until = $5
		WHERE stack = $1 AND run = $2 AND attempt = $3`, stack, runID, attempt, db.Micros(s.o.Now()), db.Micros(until))
	if err != nil {
		return fmt.Errorf("quarantine stack %s: %w", stack, err)
	}
	return nil
}

// EndQuarantine ends the quarantine that an attempt left, in tx, since its
// container is gone and its journal delivered. It reports false if there is none,
// or if a recovery version waits for a person's decision.
func (s *Service) EndQuarantine(ctx context.Context, tx *db.Tx, stack, runID string, attempt int64) (bool, error) {
	result, err := tx.ExecContext(ctx, `DELETE FROM state_lock WHERE stack = $1 AND run = $2 AND attempt = $3 AND quarantined_at IS NOT NULL
		AND `+undecided, stack, runID, attempt)
	if err != nil {
		return false, fmt.Errorf("end quarantine of stack %s: %w", stack, err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// undecided keeps a quarantine from ending by itself while a recovery version of
// its attempt is there.
const undecided = `NOT EXISTS (SELECT 1 FROM state WHERE state.stack = state_lock.stack
	AND state.run = state_lock.run AND state.attempt = state_lock.attempt AND state.recovery)`

// Quarantined is a stack's lock that a lost attempt has left.
type Quarantined struct {
	Stack, Run string
	Attempt    int64
	Until      time.Time     // when its container must have ended, by the wall clock
	Timeout    time.Duration // the run timeout that its launcher kept; 0: unknown
}

// Quarantines lists the quarantines that end by themselves with time: all but
// those that wait for a person.
func (s *Service) Quarantines(ctx context.Context, q db.Queryer) ([]Quarantined, error) {
	rows, err := q.QueryContext(ctx, `SELECT state_lock.stack, state_lock.run, state_lock.attempt, quarantine_until, a.timeout_ms
		FROM state_lock JOIN attempt a ON a.run = state_lock.run AND a.attempt = state_lock.attempt
		WHERE quarantined_at IS NOT NULL AND `+undecided)
	all, err := db.Collect(rows, err, func(rows *sql.Rows) (Quarantined, error) {
		var (
			l              Quarantined
			until, timeout int64
		)
		err := rows.Scan(&l.Stack, &l.Run, &l.Attempt, &until, &timeout)
		l.Until, l.Timeout = db.Time(until), time.Duration(timeout)*time.Millisecond
		return l, err
	})
	if err != nil {
		return nil, fmt.Errorf("list quarantines: %w", err)
	}
	return all, nil
}

// ClearQuarantine ends a stack's quarantine because a person says so. after is
// called in the same transaction.
func (s *Service) ClearQuarantine(ctx context.Context, stack string, after func(tx *db.Tx) error) error {
	if err := s.o.Access.RequireAnywhere(ctx, access.QuarantineClear); err != nil {
		return err
	}
	var space string
	err := s.o.DB.Read().QueryRowContext(ctx, `SELECT space FROM stack WHERE id = $1`, stack).Scan(&space)
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, "there is no stack %q", stack)
	}
	if err != nil {
		return fmt.Errorf("look up stack %s: %w", stack, err)
	}
	if err := s.o.Access.Require(ctx, access.QuarantineClear, space); err != nil {
		return err
	}
	return s.o.DB.Write(ctx, func(tx *db.Tx) error {
		l, err := holder(ctx, tx, stack)
		if err != nil || !l.quarantined {
			return err // cleared before
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM state_lock WHERE stack = $1 AND quarantined_at IS NOT NULL`, stack); err != nil {
			return fmt.Errorf("clear quarantine of stack %s: %w", stack, err)
		}
		if err := s.o.Audit.Record(ctx, tx, access.QuarantineClear, stack, space, map[string]string{"run": l.run}); err != nil {
			return err
		}
		return after(tx)
	})
}

// Bounds of a tool's lock, in bytes.
const (
	maxLockID   = 256
	maxLockInfo = 16 << 10
)

// Lock takes the tool's own lock, which nests inside the attempt's. One asked for
// by an attempt that reads is granted and excludes nobody: it can change nothing.
func (s *Service) Lock(ctx context.Context, c Caller, req wire.LockRequest) error {
	if req.ID == "" || len(req.ID) > maxLockID || len(req.Info) > maxLockInfo {
		return fault.New(fault.Invalid, "a lock has an id of 1 to %d bytes and at most %d bytes about its owner", maxLockID, maxLockInfo)
	}
	return s.toolLock(ctx, c, func(tx *db.Tx, stack string, l lock) error {
		if l.tool != "" && l.tool != req.ID {
			return fault.New(fault.Conflict, "the state is locked with %s", l.tool).Named("tool_locked").WithHint("%s", l.info)
		}
		_, err := tx.ExecContext(ctx, `UPDATE state_lock SET tool_lock = $2, tool_info = $3 WHERE stack = $1`, stack, req.ID, string(req.Info))
		return err
	})
}

// Unlock gives the tool's lock back. An empty id stands for any.
func (s *Service) Unlock(ctx context.Context, c Caller, id string) error {
	return s.toolLock(ctx, c, func(tx *db.Tx, stack string, l lock) error {
		if l.tool != "" && id != "" && l.tool != id {
			return fault.New(fault.Conflict, "the state is locked with %s", l.tool).Named("tool_locked").WithHint("%s", l.info)
		}
		_, err := tx.ExecContext(ctx, `UPDATE state_lock SET tool_lock = '', tool_info = '' WHERE stack = $1`, stack)
		return err
	})
}

func (s *Service) toolLock(ctx context.Context, c Caller, f func(tx *db.Tx, stack string, l lock) error) error {
	return s.o.DB.Write(ctx, func(tx *db.Tx) error {
		a, err := s.attempt(ctx, tx, c)
		if err != nil {
			return err
		}
		if !a.live {
			return stale(c)
		}
		if a.class != run.Write {
			return nil
		}
		l, err := holder(ctx, tx, a.stack)
		if err != nil {
			return err
		}
		if l.run != c.Run || l.attempt != c.Attempt {
			return fault.New(fault.Conflict, "the stack's state is not locked by attempt %d of run %s", c.Attempt, c.Run).Named("state_locked")
		}
		if err := f(tx, a.stack, l); err != nil {
			return fmt.Errorf("tool lock of stack %s: %w", a.stack, err)
		}
		return nil
	})
}
