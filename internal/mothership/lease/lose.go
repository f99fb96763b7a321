package lease

import (
	"context"
	"fmt"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// lose ends an attempt that its worker does not go on with, in tx. What becomes of
// the run depends on what ran. A worker that is silent gets no other run until it
// speaks.
func (s *Service) lose(ctx context.Context, tx *db.Tx, a *attempt, r *runs.Run, reason string, silent bool) error {
	if silent {
		if err := s.skip(ctx, tx, a); err != nil {
			return err
		}
	}
	if err := s.leave(ctx, tx, a, r, reason); err != nil {
		return err
	}
	if a.wrote {
		until := a.startedAt.Add(s.o.Terms.hard(a.class, a.timeout))
		if err := s.o.State.Quarantine(ctx, tx, a.stack, a.Run, a.Attempt, until); err != nil {
			return err
		}
	}
	if err := s.end(ctx, tx, a, reason); err != nil {
		return err
	}
	return s.goOn(ctx, tx, a)
}

// skip keeps other runs from the attempt's worker until it speaks, in tx.
func (s *Service) skip(ctx context.Context, tx *db.Tx, a *attempt) error {
	if _, err := tx.ExecContext(ctx, `UPDATE worker SET skipped = TRUE WHERE id = $1`, a.worker); err != nil {
		return fmt.Errorf("skip worker %s: %w", a.worker, err)
	}
	return nil
}

// leave brings the run of a lost attempt to where it goes from there, in tx.
func (s *Service) leave(ctx context.Context, tx *db.Tx, a *attempt, r *runs.Run, reason string) error {
	waits, requeue := r.State.Requeued()
	if a.class == run.Write && a.container != "" {
		requeue = false // it may have changed something: never repeated
	}
	if requeue && a.stop != "" {
		// A person wanted it to end, and nothing of it is left that could: it does
		// not go on elsewhere, however often it may be repeated.
		if run.CanMove(r.State, run.Stopped, run.Scheduler) {
			return s.o.Mover.Move(ctx, tx, r, run.Stopped, run.Scheduler, a.stopActor, a.stopReason)
		}
		if r.State == run.Preparing {
			return s.unbegun(ctx, tx, r, a.stopActor, a.stopReason)
		}
	}
	if requeue && a.container != "" {
		again, err := s.retryLost(ctx, tx, r)
		if err != nil {
			return err
		}
		requeue = again
	}
	if requeue {
		return s.o.Mover.Move(ctx, tx, r, waits, run.Scheduler, runs.Mothership, reason+"; queued again")
	}
	return s.o.Mover.Move(ctx, tx, r, run.Failed, run.Scheduler, runs.Mothership, reason)
}

// retryLost reports whether a run that was lost while reading is queued again,
// and counts it.
func (s *Service) retryLost(ctx context.Context, tx *db.Tx, r *runs.Run) (bool, error) {
	st, err := s.o.Stacks.ForRun(ctx, tx, r.Stack)
	if err != nil || !st.Settings.RetryLost() || r.Lost >= MaxLost {
		return false, err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE run SET lost = lost + 1 WHERE id = $1`, r.ID); err != nil {
		return false, fmt.Errorf("count loss of run %s: %w", r.ID, err)
	}
	r.Lost++
	return true, nil
}

// Gone takes a launcher's word that the attempt's container does not exist any
// more. Only the worker's newest session is believed: an older one may speak of a
// machine that was copied.
func (s *Service) Gone(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.GoneRequest) (wire.Decision, error) {
	if err := s.newest(ctx, c, req.Session); err != nil {
		return wire.Decision{}, err
	}
	var decision wire.Decision
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		a, err := load(ctx, tx, c, ref)
		if err != nil {
			return err
		}
		r, err := runs.Load(ctx, tx, ref.Run)
		if err != nil {
			return err
		}
		if req.Container != "" && req.Container != a.container {
			return fault.New(fault.Conflict, "container %q is not that of attempt %d of run %s", req.Container, ref.Attempt, ref.Run)
		}
		if a.live {
			if err := s.o.Logs.Apply(ctx, tx, a.source(r), req.Logs); err != nil {
				return err
			}
			if err := s.lose(ctx, tx, a, r, goneReason(req), false); err != nil {
				return err
			}
		}
		decision = doneAs(r)
		if !a.wrote || !req.Delivered {
			return nil
		}
		ended, err := s.o.State.EndQuarantine(ctx, tx, a.stack, a.Run, a.Attempt)
		if err != nil || !ended {
			return err
		}
		return s.o.Queue.Stack(ctx, tx, a.stack)
	})
	if err != nil {
		return wire.Decision{}, err
	}
	s.o.Pool.Seen(c.Worker)
	return decision, nil
}

func goneReason(req wire.GoneRequest) string {
	if req.Reason != "" {
		return clip(req.Reason, maxReason)
	}
	return "the container went away without a result"
}

// Stop makes it known to the run's worker that a person wants it to end, in tx.
// An attempt that no worker has accepted is taken back: r is READY then.
func (s *Service) Stop(ctx context.Context, tx *db.Tx, r *runs.Run, who, reason string) (bool, error) {
	a, err := liveOfRun(ctx, tx, r.ID)
	if err != nil || a == nil {
		return false, err
	}
	if !a.accepted {
		waits, ok := r.State.Requeued()
		if !ok {
			return false, nil
		}
		if err := s.o.Mover.Move(ctx, tx, r, waits, run.Scheduler, runs.Mothership, ""); err != nil {
			return false, err
		}
		return false, s.end(ctx, tx, a, reason)
	}
	if a.class == run.Write && a.container != "" {
		return false, fault.New(fault.Conflict, "run %s is changing things and cannot be stopped", r.ID)
	}
	if a.stop == "" {
		_, err := tx.ExecContext(ctx, `UPDATE attempt SET stop = $3, stop_reason = $4, stop_actor = $5 WHERE run = $1 AND attempt = $2`,
			a.Run, a.Attempt, stopInterrupt, reason, who)
		if err != nil {
			return false, fmt.Errorf("ask attempt %d of run %s to stop: %w", a.Attempt, a.Run, err)
		}
	}
	tx.AfterCommit(func() { s.o.Hints.Hint(a.pool, a.worker) })
	return true, nil
}
