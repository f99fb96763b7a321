package lease

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/runlog"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// maxContainer is the longest name of a container, in bytes.
const maxContainer = 64

// maxTimeout is the longest run timeout that a launcher may keep.
const maxTimeout = 30 * 24 * time.Hour

// Starting records that a container is about to be given its job, and so allows
// it. The run moves to the state of the container's first phase.
func (s *Service) Starting(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.StartingRequest) (wire.StartingAnswer, error) {
	if req.Container == "" || len(req.Container) > maxContainer {
		return wire.StartingAnswer{}, fault.New(fault.Invalid, "a start names its container with at most %d bytes", maxContainer)
	}
	var (
		a *attempt
		r *runs.Run
	)
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		var err error
		if a, r, err = loadLive(ctx, tx, c, ref); err != nil {
			return err
		}
		if err := s.o.Logs.Apply(ctx, tx, a.source(r), req.Logs); err != nil {
			return err
		}
		if a.container == req.Container {
			return nil // recorded before
		}
		if err := startFits(a, r, req); err != nil {
			return err
		}
		if req.Commit != nil {
			if err := runs.SetCommit(ctx, tx, r, clipCommit(*req.Commit)); err != nil {
				return err
			}
		}
		return s.start(ctx, tx, a, r, req.Container, req.Phase, req.TimeoutMs)
	})
	if err != nil {
		return wire.StartingAnswer{}, err
	}
	s.o.Pool.Seen(c.Worker)
	return s.startingAnswer(c, a, r)
}

// startFits refuses what is not the beginning of the attempt's next container.
func startFits(a *attempt, r *runs.Run, req wire.StartingRequest) error {
	switch {
	case !a.accepted:
		return fault.New(fault.Conflict, "attempt %d of run %s has not been accepted", a.Attempt, a.Run)
	case a.container != "":
		return fault.New(fault.Conflict, "attempt %d of run %s has started container %s already", a.Attempt, a.Run, a.container)
	case req.Class != a.class:
		return fault.New(fault.Conflict, "attempt %d of run %s is of class %s, not %s", a.Attempt, a.Run, a.class, req.Class)
	case a.stop != "":
		// Nothing has run. Starting it now would let a writer begin that a person
		// has already stopped.
		return fault.New(fault.Conflict, "attempt %d of run %s is to stop: %s", a.Attempt, a.Run, a.stopReason).Named("stopped")
	}
	if first := firstPhase(r, a.class); req.Phase != first {
		return fault.New(fault.Conflict, "run %s begins with phase %s here, not %s", r.ID, first, req.Phase)
	}
	return nil
}

// firstPhase is the first that a container of a class executes for the run.
func firstPhase(r *runs.Run, c run.Class) run.Phase {
	share := run.Share(run.Phases(r.Type, r.SkipInit), c)
	if len(share) == 0 {
		return ""
	}
	if r.State == run.PreparingReplan {
		return run.PhasePlan
	}
	return share[0]
}

// start records the container's start in tx: lock, class, phase and state.
func (s *Service) start(ctx context.Context, tx *db.Tx, a *attempt, r *runs.Run, container string, phase run.Phase, timeoutMs int64) error {
	if a.class == run.Write {
		if err := s.o.State.Acquire(ctx, tx, a.stack, a.Run, a.Attempt); err != nil {
			return err
		}
		a.wrote = true
	}
	now := s.o.Now()
	a.container, a.startedAt = container, now
	if timeoutMs <= 0 {
		timeoutMs = a.timeout.Milliseconds()
	}
	timeoutMs = min(timeoutMs, maxTimeout.Milliseconds()) // a hard limit in years is none
	_, err := tx.ExecContext(ctx, `UPDATE attempt SET class = $3, container = $4, started_at = $5, timeout_ms = $6, wrote = $7
		WHERE run = $1 AND attempt = $2 AND live`, a.Run, a.Attempt, string(a.class), container, db.Micros(now), timeoutMs, a.wrote)
	if err != nil {
		return fmt.Errorf("record start of run %s: %w", a.Run, err)
	}
	if r.Type == run.Tracked && r.Commit.SHA != "" {
		if err := s.o.Stacks.SetTrackedCommit(ctx, tx, r.Stack, r.Commit); err != nil {
			return err
		}
	}
	return s.enter(ctx, tx, a, r, phase)
}

// enter moves the run into a phase.
func (s *Service) enter(ctx context.Context, tx *db.Tx, a *attempt, r *runs.Run, phase run.Phase) error {
	if _, err := tx.ExecContext(ctx, `UPDATE run SET phase = $2 WHERE id = $1`, r.ID, string(phase)); err != nil {
		return fmt.Errorf("record phase of run %s: %w", r.ID, err)
	}
	r.Phase = phase
	return s.o.Mover.Move(ctx, tx, r, phase.State(), run.Worker, a.worker, "")
}

func (s *Service) startingAnswer(c pool.WorkerIdentity, a *attempt, r *runs.Run) (wire.StartingAnswer, error) {
	urls, err := s.o.Logs.URLs(a.source(r), r.StateVersion, 0, runlog.Batch)
	if err != nil {
		return wire.StartingAnswer{}, err
	}
	bearer := s.o.Pool.AttemptBearer(c, a.AttemptRef)
	return wire.StartingAnswer{
		State: r.State, StateVersion: r.StateVersion, Terms: s.o.Terms.of(a.class), URLs: urls,
		Bearer: bearer.Text, BearerForMs: bearer.For.Milliseconds(),
	}, nil
}

// maxBeat is far above what any attempt comes to, and far below where counting on
// would overflow.
const maxBeat = 1 << 40

// Beat acknowledges a sign of life, once what came with it has been committed. The
// count goes up whatever number came: what is acknowledged must be seen by the
// watcher. A launcher that lost its count is alive, and an old beat that comes
// late only makes the mothership wait longer than the launcher does.
func (s *Service) Beat(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.BeatRequest) (wire.BeatAnswer, error) {
	if req.Beat < 1 || req.Beat > maxBeat {
		return wire.BeatAnswer{}, fault.New(fault.Invalid, "a beat is numbered from 1 to %d", int64(maxBeat))
	}
	var (
		a *attempt
		r *runs.Run
	)
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		var err error
		if a, r, err = loadLive(ctx, tx, c, ref); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE attempt SET beat = CASE WHEN beat < $3 THEN $3 ELSE beat + 1 END WHERE run = $1 AND attempt = $2 AND live`,
			ref.Run, ref.Attempt, req.Beat)
		if err != nil {
			return fmt.Errorf("record beat of run %s: %w", ref.Run, err)
		}
		return s.o.Logs.Apply(ctx, tx, a.source(r), req.Logs)
	})
	if err != nil {
		return wire.BeatAnswer{}, err
	}
	s.o.Pool.Seen(c.Worker)
	w, err := s.o.Pool.Worker(ctx, s.o.DB.Read(), c.Worker)
	if err != nil {
		return wire.BeatAnswer{}, err
	}
	urls, err := s.o.Logs.Wanted(a.source(r), req.Logs)
	if err != nil {
		return wire.BeatAnswer{}, err
	}
	bearer := s.o.Pool.AttemptBearer(c, ref)
	return wire.BeatAnswer{
		Beat: req.Beat, Stop: a.stopOrder(), Drain: w.Drained, Watched: s.o.Logs.Watched(ref.Run), URLs: urls,
		Bearer: bearer.Text, BearerForMs: bearer.For.Milliseconds(),
	}, nil
}

// Report says that a phase began in the attempt's container.
func (s *Service) Report(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.ReportRequest) (wire.ReportAnswer, error) {
	var (
		a *attempt
		r *runs.Run
	)
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		var err error
		if a, r, err = loadLive(ctx, tx, c, ref); err != nil {
			return err
		}
		if err := s.o.Logs.Apply(ctx, tx, a.source(r), req.Logs); err != nil {
			return err
		}
		if a.container == "" || req.Container != a.container {
			return fault.New(fault.Stale, "container %q is not that of attempt %d of run %s", req.Container, ref.Attempt, ref.Run)
		}
		if r.Phase == req.Phase && r.State == req.Phase.State() {
			return nil // reported before
		}
		if !slices.Contains(run.Share(run.Phases(r.Type, r.SkipInit), a.class), req.Phase) {
			return fault.New(fault.Conflict, "a container of class %s does not execute phase %s of run %s", a.class, req.Phase, ref.Run)
		}
		return s.enter(ctx, tx, a, r, req.Phase)
	})
	if err != nil {
		return wire.ReportAnswer{}, err
	}
	s.o.Pool.Seen(c.Worker)
	urls, err := s.o.Logs.URLs(a.source(r), r.StateVersion, 0, runlog.Batch)
	if err != nil {
		return wire.ReportAnswer{}, err
	}
	return wire.ReportAnswer{State: r.State, StateVersion: r.StateVersion, URLs: urls, Stop: a.stopOrder()}, nil
}

// Log commits logs on their own. What is missing may come after the attempt has
// ended: its state versions are its own, so nobody else's log can be touched.
func (s *Service) Log(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.LogsRequest) (wire.LogsAnswer, error) {
	var src runlog.Source
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		a, err := load(ctx, tx, c, ref)
		if err != nil {
			return err
		}
		src = runlog.Source{Run: a.Run, Attempt: a.Attempt, From: a.from}
		if src.To, err = lastVersion(ctx, tx, a); err != nil {
			return err
		}
		return s.o.Logs.Apply(ctx, tx, src, req.Logs)
	})
	if err != nil {
		return wire.LogsAnswer{}, err
	}
	s.o.Pool.Seen(c.Worker)
	committed, err := s.o.Logs.Committed(ctx, s.o.DB.Read(), src)
	if err != nil {
		return wire.LogsAnswer{}, err
	}
	urls, err := s.o.Logs.Wanted(src, req.Logs)
	return wire.LogsAnswer{Committed: committed, URLs: urls, Watched: s.o.Logs.Watched(ref.Run)}, err
}

// lastVersion is the last state version that belongs to the attempt: the run's,
// or the one before the next attempt began.
func lastVersion(ctx context.Context, q db.Queryer, a *attempt) (int, error) {
	var last int
	err := q.QueryRowContext(ctx, `SELECT COALESCE((SELECT MIN(from_version) - 1 FROM attempt WHERE run = $1 AND attempt > $2),
		(SELECT state_version FROM run WHERE id = $1))`, a.Run, a.Attempt).Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("look up state versions of run %s: %w", a.Run, err)
	}
	return last, nil
}
