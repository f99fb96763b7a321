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

// Outcome takes the end of a container and decides what comes next: nothing, a
// parked workspace, or the job of the other class. A repeat is answered the same.
func (s *Service) Outcome(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.Outcome) (wire.Decision, error) {
	req.Reason, req.Phase = clip(req.Reason, maxReason), run.Phase(clip(string(req.Phase), maxName))
	var (
		a        *attempt
		r        *runs.Run
		decision wire.Decision
	)
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		var err error
		if a, err = load(ctx, tx, c, ref); err != nil {
			return err
		}
		if r, err = runs.Load(ctx, tx, ref.Run); err != nil {
			return err
		}
		if d := a.decided.Decision; d != nil && a.decided.Container == req.Container && a.decided.Class == req.Class && !unparked(a, req) {
			decision = *d
			return nil
		}
		if !a.live {
			return stale(ref)
		}
		if req.Container != a.container || req.Class != a.class {
			return fault.New(fault.Conflict, "attempt %d of run %s is in container %q of class %s, not in %q of class %s",
				ref.Attempt, ref.Run, a.container, a.class, req.Container, req.Class)
		}
		if err := s.o.Logs.Apply(ctx, tx, a.source(r), req.Logs); err != nil {
			return err
		}
		note, wait, err := s.logsIn(ctx, tx, a, r)
		if err != nil {
			return err
		}
		if req.NoLog && req.Result == wire.ResultRefused {
			note, wait = "", false
			s.forget(a.AttemptRef)
		}
		if wait {
			decision = wire.Decision{Wait: true, State: r.State, StateVersion: r.StateVersion}
			return nil
		}
		if decision, err = s.decide(ctx, tx, a, r, req, note); err != nil {
			return err
		}
		stored := decision
		a.decided = decided{Container: req.Container, Class: req.Class, Decision: &stored}
		if decision.Next == wire.NextJob {
			a.decided.Next = req.NextContainer
		}
		return remember(ctx, tx, a)
	})
	if err != nil {
		return wire.Decision{}, err
	}
	s.o.Pool.Seen(c.Worker)
	return s.complete(ctx, c, a, r, decision, req.Nonce)
}

// unparked reports whether an outcome takes back that its container ended well:
// the workspace that was asked for cannot be kept, so nobody can go on from it.
func unparked(a *attempt, req wire.Outcome) bool {
	return a.live && a.decided.Decision.Next == wire.NextPark && req.Result != wire.ResultOK
}

// logsIn reports whether an outcome has to wait for its log, and the note for the
// history if it has waited long enough.
func (s *Service) logsIn(ctx context.Context, q db.Queryer, a *attempt, r *runs.Run) (note string, wait bool, err error) {
	complete, missing, err := s.o.Logs.Missing(ctx, q, r.ID, r.StateVersion)
	if err != nil {
		return "", false, err
	}
	if complete {
		s.forget(a.AttemptRef)
		return "", false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Mono()
	since, waiting := s.waits[a.AttemptRef]
	if !waiting {
		s.waits[a.AttemptRef], since = now, now
	}
	if now-since < s.o.Terms.LogWait {
		return "", true, nil
	}
	delete(s.waits, a.AttemptRef)
	if missing == 0 {
		return "the end of the log is to come", false, nil
	}
	return fmt.Sprintf("%d bytes of the log are to come", missing), false, nil
}

// decide is what follows from a container's end, in tx. note goes to the history.
func (s *Service) decide(ctx context.Context, tx *db.Tx, a *attempt, r *runs.Run, req wire.Outcome, note string) (wire.Decision, error) {
	if req.Result == wire.ResultOK && a.container == "" {
		return wire.Decision{}, fault.New(fault.Invalid, "a container that never started cannot have ended well")
	}
	if req.Plan != nil {
		if err := runs.SetPlan(ctx, tx, r.ID, *req.Plan); err != nil {
			return wire.Decision{}, err
		}
	}
	switch {
	case (a.class == run.Read || a.container == "") && (req.Result == wire.ResultStopped || a.stop != ""):
		return s.stopped(ctx, tx, a, r, req, note)
	case req.Result == wire.ResultOK && a.class == run.Read:
		return s.afterRead(ctx, tx, a, r, req, note)
	case req.Result == wire.ResultOK:
		if req.HaveOutputs {
			if err := runs.SetOutputs(ctx, tx, r, req.Outputs); err != nil {
				return wire.Decision{}, err
			}
		}
		return s.done(ctx, tx, a, r, run.Finished, note)
	case req.Result == wire.ResultFenced && a.class == run.Read:
		// It stopped itself without contact, before anybody missed it.
		if err := s.lose(ctx, tx, a, r, "the worker was without contact for too long", false); err != nil {
			return wire.Decision{}, err
		}
		return doneAs(r), nil
	}
	return s.done(ctx, tx, a, r, run.Failed, join(failure(req), note))
}

// failure is the sentence for a container that did not end well.
func failure(req wire.Outcome) string {
	if req.Reason != "" {
		return req.Reason
	}
	switch req.Result {
	case wire.ResultTimeout:
		return "the run took too long"
	case wire.ResultRefused:
		return "the launcher refused the job"
	case wire.ResultDied:
		return "the container went away without a result"
	case wire.ResultStopped:
		return "the run was interrupted"
	case wire.ResultFenced:
		return "the worker was without contact for too long"
	}
	return fmt.Sprintf("phase %s failed with exit code %d", req.Phase, req.ExitCode)
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// afterRead decides what follows a reading container that ended well.
func (s *Service) afterRead(ctx context.Context, tx *db.Tx, a *attempt, r *runs.Run, req wire.Outcome, note string) (wire.Decision, error) {
	write := run.Share(run.Phases(r.Type, r.SkipInit), run.Write)
	planned := r.Type == run.Proposed || r.Type == run.Tracked
	switch {
	case planned && r.State != run.Planning:
		return s.done(ctx, tx, a, r, run.Failed, join("the container ended before there was a plan", note))
	case len(write) == 0:
		return s.done(ctx, tx, a, r, run.Finished, note)
	case !planned:
		return s.next(ctx, tx, a, r, req, write[0]) // nobody confirms a task
	case req.Plan == nil:
		return s.done(ctx, tx, a, r, run.Failed, join("the plan's changes were not reported", note))
	case !req.Plan.Changed:
		return s.done(ctx, tx, a, r, run.Finished, join("no changes", note))
	}
	st, err := s.o.Stacks.ForRun(ctx, tx, r.Stack)
	if err != nil {
		return wire.Decision{}, err
	}
	// Whoever locks a stack wants to look first.
	if st.Settings.Autodeploy && st.LockedBy == "" {
		return s.next(ctx, tx, a, r, req, write[0])
	}
	return s.park(ctx, tx, a, r)
}

// next lets the attempt go on in a writing container, in tx: class and the start
// of that container are recorded before its job exists.
func (s *Service) next(ctx context.Context, tx *db.Tx, a *attempt, r *runs.Run, req wire.Outcome, phase run.Phase) (wire.Decision, error) {
	if req.NextContainer == "" || len(req.NextContainer) > maxContainer || req.Nonce == "" || req.NextContainer == a.container {
		return wire.Decision{}, fault.New(fault.Invalid, "run %s goes on in another container, which the outcome has to name with a nonce", r.ID)
	}
	a.class = run.Write
	if err := s.start(ctx, tx, a, r, req.NextContainer, phase, 0); err != nil {
		return wire.Decision{}, err
	}
	return wire.Decision{Next: wire.NextJob, State: r.State, StateVersion: r.StateVersion}, nil
}

// stopped ends a run as a person asked. If nothing of it has run it counts as
// cancelled: the state machine has no way from PREPARING to STOPPED.
func (s *Service) stopped(ctx context.Context, tx *db.Tx, a *attempt, r *runs.Run, req wire.Outcome, note string) (wire.Decision, error) {
	reason := a.stopReason
	if reason == "" {
		reason = failure(req)
	}
	who := a.stopActor
	if who == "" {
		who = a.worker
	}
	switch {
	case run.CanMove(r.State, run.Stopped, run.Worker):
		if err := s.o.Mover.Move(ctx, tx, r, run.Stopped, run.Worker, who, join(reason, note)); err != nil {
			return wire.Decision{}, err
		}
	case r.State == run.Preparing && a.stop != "":
		if err := s.unbegun(ctx, tx, r, who, join(reason, note)); err != nil {
			return wire.Decision{}, err
		}
	default:
		return s.done(ctx, tx, a, r, run.Failed, join(reason, note))
	}
	return s.over(ctx, tx, a, r, reason)
}

// unbegun cancels a run of which nothing has run, by way of READY.
func (s *Service) unbegun(ctx context.Context, tx *db.Tx, r *runs.Run, who, note string) error {
	if err := s.o.Mover.Move(ctx, tx, r, run.Ready, run.Scheduler, runs.Mothership, ""); err != nil {
		return err
	}
	return s.o.Mover.Move(ctx, tx, r, run.Canceled, run.User, who, note)
}

// done brings the run to its end at the worker's word, in tx.
func (s *Service) done(ctx context.Context, tx *db.Tx, a *attempt, r *runs.Run, to run.State, note string) (wire.Decision, error) {
	if err := s.o.Mover.Move(ctx, tx, r, to, run.Worker, a.worker, note); err != nil {
		return wire.Decision{}, err
	}
	return s.over(ctx, tx, a, r, note)
}

// over ends the attempt of a run that has left the worker: lock, worker, queue.
func (s *Service) over(ctx context.Context, tx *db.Tx, a *attempt, r *runs.Run, reason string) (wire.Decision, error) {
	if err := s.o.State.Release(ctx, tx, a.stack, a.Run, a.Attempt); err != nil {
		return wire.Decision{}, err
	}
	if err := s.end(ctx, tx, a, reason); err != nil {
		return wire.Decision{}, err
	}
	answer := doneAs(r)
	return answer, s.goOn(ctx, tx, a)
}

// goOn lets the queue look at the stack that became free, and at the pool that
// the worker is of: a stack may have moved to another one meanwhile.
func (s *Service) goOn(ctx context.Context, tx *db.Tx, a *attempt) error {
	return s.o.Queue.Left(ctx, tx, a.stack, a.pool)
}

func doneAs(r *runs.Run) wire.Decision {
	return wire.Decision{Next: wire.NextDone, State: r.State, StateVersion: r.StateVersion}
}

// complete adds what is never stored: the next job with its bearer, or the URL
// for the parked workspace.
func (s *Service) complete(ctx context.Context, c pool.WorkerIdentity, a *attempt, r *runs.Run, d wire.Decision, nonce string) (wire.Decision, error) {
	switch {
	case !a.live:
		return d, nil
	case d.Next == wire.NextPark:
		order := *d.Park
		url, err := s.uploadURL(order.Blob)
		if err != nil {
			return wire.Decision{}, err
		}
		order.UploadURL, d.Park = url, &order
	case d.Next == wire.NextJob && a.container == a.decided.Next:
		job, err := s.compose(ctx, a, r, nonce)
		if err != nil {
			return wire.Decision{}, err
		}
		start, err := s.startingAnswer(c, a, r)
		if err != nil {
			return wire.Decision{}, err
		}
		d.Job, d.Go = job, &start
	}
	return d, nil
}
