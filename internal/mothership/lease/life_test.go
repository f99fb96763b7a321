package lease_test

import (
	"context"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/lease/leasetest"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

var ctx = context.Background()

func TestAPlanIsConfirmedAndAppliedByAnotherWorker(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	st := w.Stack("web", nil)
	one := w.Worker("01WORKERONE")
	r := w.Trigger(st, run.Tracked)
	if r.State != run.Preparing || r.Attempt != 1 {
		t.Fatalf("after the trigger the run is %s in attempt %d, want it PREPARING in attempt 1", r.State, r.Attempt)
	}
	ref, d := w.Planned(one, r)
	if d.Next != wire.NextPark || d.Park == nil || d.Park.UploadURL == "" {
		t.Fatalf("a plan with changes is answered %+v, want an order to park", d)
	}
	w.WantState(r.ID, run.Planning)
	if d := w.Park(one, ref, st.ID, d.Park); d.State != run.Unconfirmed {
		t.Fatalf("parking is answered %s", d.State)
	}
	w.Exec(`UPDATE worker SET drained = TRUE WHERE id = $1`, one.Worker)
	two := w.Worker("01WORKERTWO")
	if _, err := w.Runs.Confirm(w.Ctx(), r.ID, ""); err != nil {
		t.Fatal(err)
	}
	w.WantState(r.ID, run.PreparingApply)
	ref = w.Ref(r)
	job := w.Accept(two, ref, run.Write)
	if job.Parked == nil || job.Parked.Sequence != 1 || job.Class != run.Write {
		t.Fatalf("the apply's job has parked %+v and class %s", job.Parked, job.Class)
	}
	if _, err := w.Lease.Starting(ctx, two, ref, wire.StartingRequest{Session: 1, Container: "w", Class: run.Write, Phase: run.PhaseApply}); err != nil {
		t.Fatal(err)
	}
	w.WantState(r.ID, run.Applying)
	w.End(two, ref, wire.Outcome{Container: "w", Class: run.Write, Phase: run.PhaseApply, HaveOutputs: true, Outputs: []wire.Output{
		{Name: "ip", Value: []byte(`"10.0.0.1"`)}, {Name: "key", Value: []byte(`"canary"`), Sensitive: true},
	}})
	w.WantState(r.ID, run.Finished)
	outputs, err := w.Runs.Outputs(w.Ctx(), st.Slug)
	if err != nil {
		t.Fatal(err)
	}
	if len(outputs) != 2 || string(outputs[0].Value) != `"10.0.0.1"` || outputs[1].Value != nil {
		t.Errorf("outputs are %+v", outputs)
	}
	var locks, leaked int
	w.Scan(`SELECT (SELECT COUNT(*) FROM state_lock), (SELECT COUNT(*) FROM run WHERE outputs LIKE '%canary%')`, &locks, &leaked)
	if locks != 0 || leaked != 0 {
		t.Errorf("after the end %d state locks are held and %d runs hold a sensitive output", locks, leaked)
	}
}

func TestWithAutodeployTheSameAttemptGoesOnInAWritingContainer(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	st := w.Stack("web", func(in *stack.Input) { in.Settings.Autodeploy = true })
	one := w.Worker("01WORKERONE")
	r := w.Trigger(st, run.Tracked)
	ref, d := w.Planned(one, r)
	if d.Next != wire.NextJob || d.Job == nil || d.Go == nil || d.Go.State != run.Applying {
		t.Fatalf("the plan is answered %+v, want the writing job and its start", d)
	}
	if job := w.OpenJob(one, d.Job); job.Class != run.Write || job.State != run.Applying {
		t.Errorf("the next job is of class %s in state %s", job.Class, job.State)
	}
	again, err := w.Lease.Outcome(ctx, one, ref, wire.Outcome{Session: 1, Container: "read-1", Class: run.Read, Result: wire.ResultOK, Nonce: "other", NextContainer: "write-1"})
	if err != nil || again.Next != wire.NextJob || again.StateVersion != d.StateVersion || again.Job == nil {
		t.Errorf("the same outcome again is answered %+v, %v", again, err)
	}
	if _, err := w.Lease.Starting(ctx, one, ref, wire.StartingRequest{Session: 1, Container: "write-1", Class: run.Write, Phase: run.PhaseApply}); err != nil {
		t.Errorf("the recorded start said again: %v", err)
	}
	w.End(one, ref, wire.Outcome{Container: "write-1", Class: run.Write, Phase: run.PhaseApply})
	w.WantState(r.ID, run.Finished)
}

func TestALockedStackIsNotDeployedByItself(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	st := w.Stack("web", func(in *stack.Input) { in.Settings.Autodeploy = true })
	one := w.Worker("01WORKERONE")
	r := w.Trigger(st, run.Tracked)
	if _, err := w.Stacks.Lock(w.Ctx(), st.Slug, ""); err != nil {
		t.Fatal(err)
	}
	if _, d := w.Planned(one, r); d.Next != wire.NextPark {
		t.Errorf("the plan of a locked stack is answered %q, want it parked", d.Next)
	}
}

func TestHowRunsEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		kind    run.Type
		outcome wire.Outcome
		want    run.State
		reason  string
	}{
		{"a proposed run ends with its plan", run.Proposed, wire.Outcome{Plan: leasetest.Plan()}, run.Finished, ""},
		{"a tracked run without changes ends with its plan", run.Tracked, wire.Outcome{Plan: &wire.Plan{}}, run.Finished, "no changes"},
		{"a tracked run without a report of changes fails", run.Tracked, wire.Outcome{}, run.Failed, "not reported"},
		{"a failed command fails the run", run.Tracked, wire.Outcome{Result: wire.ResultFailed, ExitCode: 3, Phase: run.PhasePlan}, run.Failed, "exit code 3"},
		{"a refusal fails the run with its reason", run.Tracked, wire.Outcome{Result: wire.ResultRefused, Reason: "core differs"}, run.Failed, "core differs"},
		{"a timeout fails the run", run.Tracked, wire.Outcome{Result: wire.ResultTimeout}, run.Failed, "too long"},
		{"an interrupted plan is stopped", run.Tracked, wire.Outcome{Result: wire.ResultStopped}, run.Stopped, "interrupted"},
		{"a container that died fails the run", run.Tracked, wire.Outcome{Result: wire.ResultDied}, run.Failed, "went away"},
		{"a fenced plan is queued again", run.Tracked, wire.Outcome{Result: wire.ResultFenced}, run.Preparing, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := leasetest.New(t)
			one := w.Worker("01WORKERONE")
			r := w.Trigger(w.Stack("web", nil), c.kind)
			ref := w.Ref(r)
			w.Start(one, ref, run.Read, run.PhaseInit, "c")
			w.Report(one, ref, run.PhasePlan, "c")
			c.outcome.Container, c.outcome.Class = "c", run.Read
			if d := w.End(one, ref, c.outcome); d.Next != wire.NextDone {
				t.Errorf("the outcome is answered %q", d.Next)
			}
			r = w.WantState(r.ID, c.want)
			if !strings.Contains(r.Reason, c.reason) {
				t.Errorf("the reason is %q, want %q in it", r.Reason, c.reason)
			}
		})
	}
}

func TestATaskGoesFromInitToItsCommand(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	one := w.Worker("01WORKERONE")
	r := w.Task(w.Stack("web", nil), false)
	ref := w.Ref(r)
	w.Start(one, ref, run.Read, run.PhaseInit, "c")
	d := w.End(one, ref, wire.Outcome{Container: "c", Class: run.Read, Phase: run.PhaseInit, NextContainer: "d", Nonce: "n"})
	if d.Next != wire.NextJob || d.State != run.Performing {
		t.Fatalf("init is answered %+v, want the writing job", d)
	}
	w.End(one, ref, wire.Outcome{Container: "d", Class: run.Write, Result: wire.ResultFailed, Reason: "exit 1"})
	w.WantState(r.ID, run.Failed)
}

func TestAStoppedRun(t *testing.T) {
	t.Parallel()
	t.Run("that nobody has accepted is cancelled at once", func(t *testing.T) {
		t.Parallel()
		w := leasetest.New(t)
		w.Worker("01WORKERONE")
		r := w.Trigger(w.Stack("web", nil), run.Tracked)
		if _, err := w.Runs.Stop(w.Ctx(), r.ID, "no"); err != nil {
			t.Fatal(err)
		}
		w.WantState(r.ID, run.Canceled)
	})
	t.Run("that was accepted and has not begun is cancelled and may not begin", func(t *testing.T) {
		t.Parallel()
		w := leasetest.New(t)
		one := w.Worker("01WORKERONE")
		r := w.Task(w.Stack("web", nil), true)
		ref := w.Ref(r)
		w.Accept(one, ref, run.Write)
		if _, err := w.Runs.Stop(w.Ctx(), r.ID, "no"); err != nil {
			t.Fatal(err)
		}
		_, err := w.Lease.Starting(ctx, one, ref, wire.StartingRequest{Session: 1, Container: "c", Class: run.Write, Phase: run.PhasePerform})
		if !fault.Is(err, fault.Conflict) {
			t.Fatalf("the start of a stopped task is answered %v, want a conflict", err)
		}
		w.End(one, ref, wire.Outcome{Class: run.Write, Result: wire.ResultStopped})
		if got := w.Run(r.ID); got.State != run.Canceled {
			t.Errorf("the run is %s (%s), want CANCELED", got.State, got.Reason)
		}
	})
	t.Run("in its plan ends STOPPED in the name of who asked", func(t *testing.T) {
		t.Parallel()
		w := leasetest.New(t)
		one := w.Worker("01WORKERONE")
		r := w.Trigger(w.Stack("web", nil), run.Tracked)
		ref := w.Ref(r)
		w.Start(one, ref, run.Read, run.PhaseInit, "c")
		for range 3 { // repeating an order changes nothing
			if _, err := w.Runs.Stop(w.Ctx(), r.ID, "enough"); err != nil {
				t.Fatal(err)
			}
		}
		beat, err := w.Lease.Beat(ctx, one, ref, wire.BeatRequest{Beat: 1})
		if err != nil || beat.Stop == nil || beat.Stop.Kill || !strings.Contains(beat.Stop.Reason, "enough") {
			t.Fatalf("the beat is answered %+v, %v; want the order to stop", beat.Stop, err)
		}
		w.End(one, ref, wire.Outcome{Container: "c", Class: run.Read, Result: wire.ResultStopped})
		w.WantState(r.ID, run.Stopped)
		history, err := w.Runs.History(w.Ctx(), r.ID)
		if err != nil || history[0].Who != "admin::ann" {
			t.Errorf("the history names %q, %v", history[0].Who, err)
		}
	})
	t.Run("in its apply is refused", func(t *testing.T) {
		t.Parallel()
		w := leasetest.New(t)
		one := w.Worker("01WORKERONE")
		r := w.Task(w.Stack("web", nil), true)
		w.Start(one, w.Ref(r), run.Write, run.PhasePerform, "c")
		if _, err := w.Runs.Stop(w.Ctx(), r.ID, ""); !fault.Is(err, fault.Conflict) {
			t.Errorf("stopping it is answered %v, want a conflict", err)
		}
	})
}
