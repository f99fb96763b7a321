package lease

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/statefile"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// housekeep does what is due now and then: quarantines, plans, parked workspaces.
func (w *Watcher) housekeep(ctx context.Context, now time.Duration) error {
	err := w.quarantines(ctx, now)
	if now-w.expiry < time.Minute && w.expiry != 0 {
		return err
	}
	w.expiry = max(now, 1)
	return errors.Join(err, w.s.Expire(ctx))
}

// quarantines ends those whose container must have ended by now. Like a loss, that
// is told by this process's own monotonic clock: were it the wall clock's to say, a
// clock that is set would let a second writer in.
func (w *Watcher) quarantines(ctx context.Context, now time.Duration) error {
	s := w.s
	all, err := s.o.State.Quarantines(ctx, s.o.DB.Read())
	if err != nil {
		return err
	}
	var errs []error
	left := map[wire.AttemptRef]bool{}
	for _, q := range all {
		ref := wire.AttemptRef{Run: q.Run, Attempt: q.Attempt}
		left[ref] = true
		ends, known := w.ends[ref]
		if !known {
			ends = now + w.remains(q)
			w.ends[ref] = ends
		}
		if now < ends {
			continue
		}
		if err := s.endQuarantine(ctx, q); err != nil {
			errs = append(errs, err)
		}
	}
	maps.DeleteFunc(w.ends, func(ref wire.AttemptRef, _ time.Duration) bool { return !left[ref] })
	return errors.Join(errs...)
}

// remains is how long a quarantine goes on that was there before this process. The
// wall clock may have been set meanwhile, so it is a full term at the least and the
// whole hard limit at the most.
func (w *Watcher) remains(q statefile.Quarantined) time.Duration {
	t := w.s.o.Terms
	return min(max(q.Until.Sub(w.s.o.Now()), t.silence(run.Write)), t.hard(run.Write, q.Timeout))
}

func (s *Service) endQuarantine(ctx context.Context, q statefile.Quarantined) error {
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		ended, err := s.o.State.EndQuarantine(ctx, tx, q.Stack, q.Run, q.Attempt)
		if err != nil || !ended {
			return err
		}
		tx.AfterCommit(func() { s.o.Log.Info("quarantine ended at its hard limit", "stack", q.Stack, "run", q.Run) })
		return s.o.Queue.Stack(ctx, tx, q.Stack)
	})
	if err != nil {
		return fmt.Errorf("end quarantine of stack %s: %w", q.Stack, err)
	}
	return nil
}
