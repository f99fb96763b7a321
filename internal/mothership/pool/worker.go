package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/event"
)

// Workers lists the pool's workers that are listed, newest first. With all it
// also lists those that went offline, but not those that deregistered.
func (s *Service) Workers(ctx context.Context, pool string, all bool) ([]Worker, error) {
	if _, err := s.locate(ctx, s.o.DB.Read(), access.PoolRead, pool); err != nil {
		return nil, err
	}
	workers, err := s.workers(ctx, s.o.DB.Read(), `w.pool = $1 AND `+workerThere, pool)
	if err != nil || all {
		return workers, err
	}
	return slices.DeleteFunc(workers, func(w Worker) bool { return !w.Listed }), nil
}

// Drain sets whether a worker takes new runs, and returns it as it is then: its
// Busy is final, since assignment locks the same row and looks again.
func (s *Service) Drain(ctx context.Context, pool, worker string, drain bool) (Worker, error) {
	var w Worker
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		p, err := s.locate(ctx, tx, access.WorkerDrain, pool)
		if err != nil {
			return err
		}
		// The update comes first: it locks the row, so that what is read after
		// it cannot be changed by an assignment.
		result, err := tx.ExecContext(ctx, `UPDATE worker SET drained = $1 WHERE id = $2 AND pool = $3`, drain, worker, pool)
		if err != nil {
			return fmt.Errorf("drain worker: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, fault.New(fault.NotFound, "there is no worker %q in worker pool %q", worker, p.Name))
		}
		if w, err = s.Worker(ctx, tx, worker); err != nil {
			return err
		}
		if err := s.o.Audit.Record(ctx, tx, access.WorkerDrain, worker, p.Space, map[string]string{"pool": pool, "drain": strconv.FormatBool(drain)}); err != nil {
			return err
		}
		return s.workerEvent(ctx, tx, EventWorkerChanged, pool, worker)
	})
	return w, err
}

// Cycle asks every worker of the pool to leave once idle.
func (s *Service) Cycle(ctx context.Context, id string) error {
	return s.o.DB.Write(ctx, func(tx *db.Tx) error {
		p, err := s.locate(ctx, tx, access.PoolCycle, id)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE worker SET cycle = TRUE WHERE pool = $1 AND gone_at IS NULL`, id); err != nil {
			return fmt.Errorf("cycle pool: %w", err)
		}
		if err := s.o.Audit.Record(ctx, tx, access.PoolCycle, id, p.Space, map[string]string{"name": p.Name}); err != nil {
			return err
		}
		workers, err := s.workers(ctx, tx, `w.pool = $1 AND w.gone_at IS NULL`, id)
		if err != nil {
			return err
		}
		for _, w := range workers {
			if err := s.workerEvent(ctx, tx, EventWorkerChanged, id, w.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) workerEvent(ctx context.Context, tx *db.Tx, kind, pool, worker string) error {
	return s.o.Events.Append(ctx, tx, event.Event{Kind: kind, Subject: worker, Data: map[string]string{"pool": pool, "worker": worker}})
}

// Spoke records what a launcher says of itself with each orders request. It
// writes only what changed, and takes the mark that it did not accept away.
func (s *Service) Spoke(ctx context.Context, id WorkerIdentity, r Report) (Desired, error) {
	s.Seen(id.Worker)
	known, skipped, want, err := s.spoken(ctx, id)
	if err != nil || (known == r && !skipped) {
		return want, err
	}
	err = s.o.DB.Write(ctx, func(tx *db.Tx) error {
		// The session again: a newer one may have registered meanwhile.
		_, err := tx.ExecContext(ctx, `UPDATE worker SET hints = $1, leaving = $2, unwell = $3, skipped = FALSE WHERE id = $4 AND session = $5`,
			r.Hints, r.Leaving, r.Unwell, id.Worker, id.Session)
		if err != nil {
			return fmt.Errorf("record report of worker %s: %w", id.Worker, err)
		}
		return s.workerEvent(ctx, tx, EventWorkerChanged, id.Pool, id.Worker)
	})
	return want, err
}

func (s *Service) spoken(ctx context.Context, id WorkerIdentity) (r Report, skipped bool, want Desired, err error) {
	err = s.o.DB.Read().QueryRowContext(ctx, `SELECT hints, leaving, unwell, skipped, drained, cycle FROM worker WHERE id = $1`, id.Worker).
		Scan(&r.Hints, &r.Leaving, &r.Unwell, &skipped, &want.Drain, &want.Cycle)
	if err != nil {
		err = fmt.Errorf("read worker %s: %w", id.Worker, err)
	}
	return r, skipped, want, err
}

// Deregister ends the worker's registration, if session is still its newest.
func (s *Service) Deregister(ctx context.Context, id WorkerIdentity, session int64) error {
	if id.Attempt != nil || session != id.Session {
		return fault.New(fault.Forbidden, "a launcher may end its own session alone")
	}
	return s.o.DB.Write(ctx, func(tx *db.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE worker SET gone_at = $1, available_at = NULL, hints = FALSE WHERE id = $2 AND session = $3 AND gone_at IS NULL`,
			db.Micros(s.o.Now()), id.Worker, session)
		if err != nil {
			return fmt.Errorf("deregister worker %s: %w", id.Worker, err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return err // said before, or a newer session has taken over
		}
		tx.AfterCommit(func() {
			s.registry.forget(id.Worker)
			s.presence.forget(id.Worker)
		})
		if err := s.audit(ctx, tx, "worker:deregister", id); err != nil {
			return err
		}
		return s.workerEvent(ctx, tx, EventWorkerGone, id.Pool, id.Worker)
	})
}

// audit records what a worker did itself.
func (s *Service) audit(ctx context.Context, tx *db.Tx, action access.Action, id WorkerIdentity) error {
	as := access.Worker(id.Worker)
	if p, ok := access.From(ctx); ok {
		as.Remote = p.Remote
	}
	var space string
	if err := tx.QueryRowContext(ctx, `SELECT space FROM pool WHERE id = $1`, id.Pool).Scan(&space); err != nil {
		return fmt.Errorf("read space of pool %s: %w", id.Pool, err)
	}
	return s.o.Audit.Record(access.With(ctx, as), tx, action, id.Worker, space,
		map[string]string{"pool": id.Pool, "session": strconv.FormatInt(id.Session, 10)})
}
