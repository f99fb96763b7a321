package lease

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Orders answers what a launcher should be doing. An idle one that may take a run
// gets one if one waits.
func (s *Service) Orders(ctx context.Context, c pool.WorkerIdentity, req wire.OrdersRequest) (wire.Orders, error) {
	if c.Attempt != nil {
		return wire.Orders{}, fault.New(fault.Forbidden, "the bearer is good for attempt %d of run %s alone", c.Attempt.Attempt, c.Attempt.Run)
	}
	if req.Session != c.Session {
		return wire.Orders{}, superseded(req.Session)
	}
	a, err := liveOf(ctx, s.o.DB.Read(), c.Worker)
	if err != nil {
		return wire.Orders{}, err
	}
	if a == nil && req.Busy != nil {
		// Before it counts as one that spoke, or the queue would give it a run.
		if err := s.occupied(ctx, c.Worker); err != nil {
			return wire.Orders{}, err
		}
	}
	want, err := s.o.Pool.Spoke(ctx, c, pool.Report{Hints: req.Hints, Leaving: req.Leaving, Unwell: clip(req.Unwell, maxReason)})
	if err != nil {
		return wire.Orders{}, err
	}
	if a == nil && req.Busy == nil && !req.Leaving && req.Unwell == "" && !want.Drain && !want.Cycle {
		if a, err = s.ask(ctx, c); err != nil {
			return wire.Orders{}, err
		}
	}
	var job *wire.JobAnswer
	if a != nil && !a.accepted && a.stop == "" && req.Nonce != "" && req.Busy == nil && !req.Leaving && req.Unwell == "" {
		job, err = s.Accept(ctx, c, a.AttemptRef, wire.AcceptRequest{Session: req.Session, Nonce: req.Nonce, Class: a.class})
		if err != nil {
			return wire.Orders{}, err
		}
		a.accepted = true
	}
	bearer := s.o.Pool.Bearer(c)
	orders := wire.Orders{
		Drain: want.Drain, Cycle: want.Cycle,
		AskAgainMs: s.o.Terms.AskPolling.Milliseconds(),
		Bearer:     bearer.Text, BearerFor: bearer.For.Milliseconds(), Job: job,
	}
	if req.Hints {
		orders.AskAgainMs = s.o.Terms.AskHinted.Milliseconds()
	}
	if a != nil {
		orders.Stop = a.stopOrder()
		orders.Assignment = &wire.Assignment{
			AttemptRef: a.AttemptRef, Class: a.class, Accepted: a.accepted,
			Container: a.container, AcceptWithinMs: s.o.Terms.Accept.Milliseconds(),
		}
	}
	if req.Busy != nil && (a == nil || a.AttemptRef != *req.Busy) {
		// What it holds is not its any more. What may still be writing is asked to
		// end as Ctrl-C would, never torn down.
		orders.Stop = &wire.Stop{AttemptRef: *req.Busy, Reason: "the attempt is over"}
	}
	return orders, nil
}

// occupied notes that a worker still ends a container of an attempt that is over.
// It is idle again when it asks for orders and holds nothing.
func (s *Service) occupied(ctx context.Context, worker string) error {
	var free bool
	err := s.o.DB.Read().QueryRowContext(ctx, `SELECT available_at IS NOT NULL FROM worker WHERE id = $1`, worker).Scan(&free)
	if err == nil && free {
		err = s.o.DB.Write(ctx, func(tx *db.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE worker SET available_at = NULL WHERE id = $1`, worker)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("mark worker %s occupied: %w", worker, err)
	}
	return nil
}

// ask gives the worker a run if one waits. It writes only if there is something
// to write: ten thousand idle workers ask now and then.
func (s *Service) ask(ctx context.Context, c pool.WorkerIdentity) (*attempt, error) {
	var idle, waiting bool
	err := s.o.DB.Read().QueryRowContext(ctx, `SELECT w.available_at IS NOT NULL, EXISTS (SELECT 1 FROM run r
		WHERE r.pool = w.pool AND r.state IN ('READY', 'CONFIRMED', 'REPLAN_REQUESTED')) FROM worker w WHERE w.id = $1`, c.Worker).
		Scan(&idle, &waiting)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "there is no worker %q", c.Worker)
	}
	if err != nil {
		return nil, fmt.Errorf("look up worker %s: %w", c.Worker, err)
	}
	if idle && !waiting {
		return nil, nil
	}
	var a *attempt
	err = s.o.DB.Write(ctx, func(tx *db.Tx) error {
		// A worker that has no attempt and says that it holds none is idle.
		_, err := tx.ExecContext(ctx, `UPDATE worker SET available_at = $2 WHERE id = $1 AND available_at IS NULL
			AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.worker = worker.id AND a.live)`, c.Worker, db.Micros(s.o.Now()))
		if err != nil {
			return fmt.Errorf("mark worker %s idle: %w", c.Worker, err)
		}
		if err := s.o.Queue.For(ctx, tx, c.Pool, c.Worker); err != nil {
			return err
		}
		a, err = liveOf(ctx, tx, c.Worker)
		return err
	})
	return a, err
}

func superseded(session int64) error {
	return fault.New(fault.Stale, "session %d is not the worker's newest", session).
		WithHint("another launcher registered with the same key, or this one must register again")
}

// Accept claims an attempt and answers its job. Repeated, it answers the job
// again, made for the nonce of the request.
func (s *Service) Accept(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.AcceptRequest) (*wire.JobAnswer, error) {
	if err := s.newest(ctx, c, req.Session); err != nil {
		return nil, err
	}
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		a, _, err := loadLive(ctx, tx, c, ref)
		if err != nil || a.accepted {
			return err
		}
		if err := classFits(a, req); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE attempt SET accepted_at = $3 WHERE run = $1 AND attempt = $2 AND live AND accepted_at IS NULL`,
			ref.Run, ref.Attempt, db.Micros(s.o.Now()))
		if err != nil {
			return fmt.Errorf("accept attempt %d of run %s: %w", ref.Attempt, ref.Run, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.o.Pool.Seen(c.Worker)
	return s.job(ctx, c, ref, req)
}

// Job answers the job of an accepted attempt, sealed to the worker's present
// session: a launcher that was restarted before it released the job asks again.
func (s *Service) Job(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.AcceptRequest) (*wire.JobAnswer, error) {
	if err := s.newest(ctx, c, req.Session); err != nil {
		return nil, err
	}
	return s.job(ctx, c, ref, req)
}

// job is Job for a session that is the newest.
func (s *Service) job(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.AcceptRequest) (*wire.JobAnswer, error) {
	a, r, err := loadLive(ctx, s.o.DB.Read(), c, ref)
	if err != nil {
		return nil, err
	}
	if !a.accepted {
		return nil, fault.New(fault.Conflict, "attempt %d of run %s has not been accepted", ref.Attempt, ref.Run)
	}
	if err := classFits(a, req); err != nil {
		return nil, err
	}
	return s.compose(ctx, a, r, req.Nonce)
}

func classFits(a *attempt, req wire.AcceptRequest) error {
	if req.Class == "" || req.Class == a.class {
		return nil
	}
	return fault.New(fault.Conflict, "attempt %d of run %s is of class %s, not %s", a.Attempt, a.Run, a.class, req.Class)
}

// newest refuses a session that is not the newest of its worker: a job is sealed
// to the newest, and only that one is believed about containers.
func (s *Service) newest(ctx context.Context, c pool.WorkerIdentity, session int64) error {
	w, err := s.o.Pool.Worker(ctx, s.o.DB.Read(), c.Worker)
	if err != nil {
		return err
	}
	if session != w.Session || (c.Session != 0 && c.Session != session) {
		return superseded(session)
	}
	return nil
}

// compose makes the attempt's job for its worker's newest session.
func (s *Service) compose(ctx context.Context, a *attempt, r *runs.Run, nonce string) (*wire.JobAnswer, error) {
	if nonce == "" {
		return nil, fault.New(fault.Invalid, "a job is asked for with a nonce")
	}
	w, err := s.o.Pool.Worker(ctx, s.o.DB.Read(), a.worker)
	if err != nil {
		return nil, err
	}
	return s.o.Composer.Compose(ctx, s.o.DB.Read(), r, runs.Target{
		Pool: a.pool, Worker: a.worker, Session: w.Session, Recipient: w.Recipient,
		Nonce: nonce, Attempt: a.Attempt, Class: a.class,
	})
}
