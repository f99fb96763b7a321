package lease_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/lease/leasetest"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// look lets the queue look at the pool, as an event of a worker does.
func (w watcher) look() {
	w.T.Helper()
	if err := w.DB.Write(ctx, func(tx *db.Tx) error { return w.Queue.Pool(ctx, tx, leasetest.Pool) }); err != nil {
		w.T.Fatal(err)
	}
}

func TestAWorkspaceThatCannotBeKeptFailsTheRunWithItsReason(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	one := w.Worker("01WORKERONE")
	r := w.Trigger(w.Stack("web", nil), run.Tracked)
	ref, d := w.Planned(one, r)
	if d.Next != wire.NextPark {
		t.Fatalf("the plan is answered %q, want it parked", d.Next)
	}
	failed := wire.Outcome{Container: "read-1", Class: run.Read, Phase: run.PhasePlan, Result: wire.ResultFailed, Reason: "the disk is full"}
	for range 2 { // and again: the answer may have been lost
		d, err := w.Lease.Outcome(ctx, one, ref, failed)
		if err != nil || d.Next != wire.NextDone || d.State != run.Failed {
			t.Fatalf("a workspace that cannot be kept is answered %+v, %v; want the run FAILED", d, err)
		}
	}
	if r := w.WantState(r.ID, run.Failed); !strings.Contains(r.Reason, "disk is full") {
		t.Errorf("the reason is %q", r.Reason)
	}
	if _, err := w.Lease.Parked(ctx, one, ref, wire.ParkedRequest{Session: 1}); err == nil {
		t.Error("a workspace is taken for a run that has failed")
	}
}

func TestARunThatIsToStopIsNotGivenToAnotherWorker(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		begin func(w watcher, c pool.WorkerIdentity) string
		want  run.State
	}{
		{"a task that had not begun is cancelled", func(w watcher, c pool.WorkerIdentity) string {
			r := w.Task(w.Stack("web", nil), true)
			w.Accept(c, w.Ref(r), run.Write)
			return r.ID
		}, run.Canceled},
		{"a run that had not begun is cancelled", func(w watcher, c pool.WorkerIdentity) string {
			r := w.Trigger(w.Stack("web", nil), run.Tracked)
			w.Accept(c, w.Ref(r), run.Read)
			return r.ID
		}, run.Canceled},
		{"a run that was read is stopped", func(w watcher, c pool.WorkerIdentity) string {
			r := w.Trigger(w.Stack("web", nil), run.Tracked)
			w.Start(c, w.Ref(r), run.Read, run.PhaseInit, "c")
			return r.ID
		}, run.Stopped},
		{"a run that may not be repeated is stopped too", func(w watcher, c pool.WorkerIdentity) string {
			r := w.Trigger(w.Stack("web", func(in *stack.Input) { in.Settings.NoRetryLost = true }), run.Tracked)
			w.Start(c, w.Ref(r), run.Read, run.PhaseInit, "c")
			return r.ID
		}, run.Stopped},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := watch(leasetest.New(t))
			one := w.Worker("01WORKERONE")
			id := c.begin(w, one)
			if _, err := w.Runs.Stop(w.Ctx(), id, "enough"); err != nil {
				t.Fatal(err)
			}
			w.Worker("01WORKERTWO")
			w.pass(50*time.Second, nil)
			if r := w.WantState(id, c.want); !strings.Contains(r.Reason, "enough") {
				t.Errorf("the reason is %q, want what the person said", r.Reason)
			}
			history, err := w.Runs.History(w.Ctx(), id)
			if err != nil || history[0].Who != "admin::ann" {
				t.Errorf("the history names %q, %v", history[0].Who, err)
			}
		})
	}
}

func TestAReadingContainerThatEndsBeforeItsPlanFailsTheRun(t *testing.T) {
	t.Parallel()
	for _, kind := range []run.Type{run.Proposed, run.Tracked} {
		w := leasetest.New(t)
		one := w.Worker("01WORKERONE")
		r := w.Trigger(w.Stack("web", nil), kind)
		ref := w.Ref(r)
		w.Start(one, ref, run.Read, run.PhaseInit, "c")
		w.End(one, ref, wire.Outcome{Container: "c", Class: run.Read, Phase: run.PhaseInit})
		if r := w.WantState(r.ID, run.Failed); !strings.Contains(r.Reason, "before there was a plan") {
			t.Errorf("the reason of the %s run is %q", kind, r.Reason)
		}
	}
}

func TestNoJumpOfTheWallClockMovesTheEndOfAQuarantine(t *testing.T) {
	t.Parallel()
	const years = 20 * 365 * 24 * time.Hour
	for name, jump := range map[string]time.Duration{"forward": years, "back": -years} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := watch(leasetest.New(t))
			st := w.Stack("web", nil)
			_, _, ref := writing(w.World, st)
			id := pool.WorkerIdentity{Pool: leasetest.Pool, Worker: "01WRITER", Session: 1}
			if _, err := w.Lease.Gone(ctx, id, ref, wire.GoneRequest{Session: 1}); err != nil {
				t.Fatal(err)
			}
			next := w.Trigger(st, run.Tracked)
			w.pass(time.Minute, nil)
			w.Clock.Jump(jump)
			w.pass(83*time.Minute, nil)
			w.WantState(next.ID, run.Queued)
			w.pass(2*time.Minute, nil)
			if r := w.Run(next.ID); r.State == run.Queued {
				t.Error("the stack is still in quarantine after the hard limit")
			}
		})
	}
}

func TestAfterARestartAQuarantineStaysForATermWhateverTheClockSays(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	st := w.Stack("web", nil)
	_, _, ref := writing(w.World, st)
	id := pool.WorkerIdentity{Pool: leasetest.Pool, Worker: "01WRITER", Session: 1}
	if _, err := w.Lease.Gone(ctx, id, ref, wire.GoneRequest{Session: 1}); err != nil {
		t.Fatal(err)
	}
	next := w.Trigger(st, run.Tracked)
	w.Clock.Jump(20 * 365 * 24 * time.Hour)
	w.Open()
	w = watch(w.World)
	w.pass(16*time.Minute, nil)
	w.WantState(next.ID, run.Queued)
	w.pass(2*time.Minute, nil)
	if r := w.Run(next.ID); r.State == run.Queued {
		t.Error("the stack is still in quarantine after a full term")
	}
}

func TestAnUploadedWorkspaceThatNoRunWaitsWithIsRemoved(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(w watcher, c pool.WorkerIdentity, ref wire.AttemptRef)
	}{
		{"since its attempt was lost", func(w watcher, _ pool.WorkerIdentity, _ wire.AttemptRef) { w.pass(50*time.Second, nil) }},
		{"since the run was stopped", func(w watcher, c pool.WorkerIdentity, ref wire.AttemptRef) {
			if _, err := w.Runs.Stop(w.Ctx(), ref.Run, ""); err != nil {
				w.T.Fatal(err)
			}
			w.End(c, ref, wire.Outcome{Container: "read-1", Class: run.Read, Result: wire.ResultStopped})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := watch(leasetest.New(t))
			one := w.Worker("01WORKERONE")
			r := w.Trigger(w.Stack("web", func(in *stack.Input) { in.Settings.NoRetryLost = true }), run.Tracked)
			ref, d := w.Planned(one, r)
			if err := w.Blob.Put(ctx, d.Park.Blob, bytes.NewReader([]byte("sealed"))); err != nil {
				t.Fatal(err)
			}
			c.end(w, one, ref)
			if !w.Run(r.ID).State.Terminal() {
				t.Fatalf("the run is %s", w.Run(r.ID).State)
			}
			// The URL is good for an hour: what it still may bring must go as well.
			w.Clock.Advance(2 * time.Hour)
			w.pass(2*time.Minute, nil)
			if o, err := w.Blob.Get(ctx, d.Park.Blob); err == nil {
				_ = o.Close()
				t.Error("the workspace is still there")
			}
			var left int
			w.Scan(`SELECT COUNT(*) FROM upload`, &left)
			if left != 0 {
				t.Errorf("%d uploads are still looked after", left)
			}
		})
	}
}

func TestAWorkspaceThatARunWaitsWithIsKept(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	one := w.Worker("01WORKERONE")
	st := w.Stack("web", nil)
	r := w.Trigger(st, run.Tracked)
	ref, d := w.Planned(one, r)
	w.Park(one, ref, st.ID, d.Park)
	w.Clock.Advance(3 * time.Hour)
	w.pass(2*time.Minute, nil)
	w.WantState(r.ID, run.Unconfirmed)
	o, err := w.Blob.Get(ctx, d.Park.Blob)
	if err != nil {
		t.Fatal(err)
	}
	_ = o.Close()
}

func TestAnAttemptThatCannotBeEndedHoldsNothingElseUp(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	one, two := w.Worker("01WORKERONE"), w.Worker("01WORKERTWO")
	bad := w.Trigger(w.Stack("bad", nil), run.Proposed)
	w.Start(two, w.Ref(bad), run.Read, run.PhaseInit, "c")
	st := w.Stack("old", nil)
	old := w.Trigger(st, run.Tracked)
	ref, d := w.Planned(one, old)
	w.Park(one, ref, st.ID, d.Park)
	w.pass(time.Second, nil)
	w.Exec(`UPDATE run SET state_at = 0 WHERE id = $1`, old.ID)
	w.Exec(`UPDATE run SET commit_data = 'broken' WHERE id = $1`, bad.ID)
	failed := false
	for range 90 {
		w.Clock.Advance(time.Second)
		failed = w.w.Look(ctx) != nil || failed
	}
	if !failed {
		t.Error("nobody is told of the attempt that cannot be ended")
	}
	w.WantState(old.ID, run.Discarded)
}

func TestALauncherThatStillHoldsARunGetsNoOther(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	one := w.Worker("01WORKERONE")
	st := w.Stack("web", nil)
	r := w.Trigger(st, run.Proposed)
	ref := w.Ref(r)
	w.Start(one, ref, run.Read, run.PhaseInit, "c")
	w.pass(50*time.Second, nil)
	w.WantState(r.ID, run.Ready)
	// It is there again, and is still ending the container.
	orders, err := w.Lease.Orders(ctx, one, wire.OrdersRequest{Session: 1, Hints: true, Busy: &ref})
	if err != nil || orders.Stop == nil || orders.Assignment != nil {
		t.Fatalf("its orders are %+v, %v; want the end of what it holds", orders, err)
	}
	w.look()
	w.WantState(r.ID, run.Ready)
	orders, err = w.Lease.Orders(ctx, one, wire.OrdersRequest{Session: 1, Hints: true})
	if err != nil || orders.Assignment == nil {
		t.Fatalf("its orders are %+v, %v; want the run once it holds nothing", orders, err)
	}
}

func TestABeatThatCountsFromTheStartAgainIsASignOfLife(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	one := w.Worker("01WORKERONE")
	r := w.Trigger(w.Stack("web", nil), run.Proposed)
	ref := w.Ref(r)
	w.Start(one, ref, run.Read, run.PhaseInit, "c")
	beat(w.World, one, ref, 100)
	n := int64(0)
	w.pass(2*time.Minute, func() { n++; beat(w.World, one, ref, min(n, 50)) })
	w.WantState(r.ID, run.Initializing)
}

func TestWhatALauncherSaysIsBounded(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	one := w.Worker("01WORKERONE")
	long := strings.Repeat("ü", 100_000)
	if _, err := w.Lease.Orders(ctx, one, wire.OrdersRequest{Session: 1, Hints: true, Unwell: long}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Lease.Orders(ctx, one, wire.OrdersRequest{Session: 1, Hints: true}); err != nil {
		t.Fatal(err)
	}
	r, err := w.Runs.Trigger(w.Ctx(), runs.TriggerInput{Stack: w.Stack("web", nil).Slug, Type: run.Tracked})
	if err != nil {
		t.Fatal(err)
	}
	ref := w.Ref(r)
	w.Accept(one, ref, run.Read)
	start := wire.StartingRequest{Session: 1, Container: "c", Class: run.Read, Phase: run.PhaseInit, TimeoutMs: 1 << 62}
	for _, sha := range []string{"", "main", "--upload-pack=x", strings.Repeat("0", 41), strings.Repeat("A", 40)} {
		start.Commit = &wire.Commit{SHA: sha}
		if _, err := w.Lease.Starting(ctx, one, ref, start); !fault.Is(err, fault.Invalid) {
			t.Errorf("a start at commit %q is answered %v, want it refused", sha, err)
		}
	}
	start.Commit = &wire.Commit{SHA: strings.Repeat("0", 40), Author: long, Message: long}
	if _, err := w.Lease.Starting(ctx, one, ref, start); err != nil {
		t.Fatal(err)
	}
	w.End(one, ref, wire.Outcome{Container: "c", Class: run.Read, Result: wire.ResultFailed, Reason: long})
	var longest, timeout int64
	w.Scan(`SELECT MAX(n) FROM (SELECT LENGTH(commit_data) AS n FROM run UNION ALL SELECT LENGTH(reason) FROM run UNION ALL SELECT LENGTH(note) FROM run_history
		UNION ALL SELECT LENGTH(data) FROM event UNION ALL SELECT LENGTH(unwell) FROM worker UNION ALL SELECT LENGTH(end_reason) FROM attempt)`, &longest)
	if longest > 20_000 {
		t.Errorf("a text of %d characters is kept", longest)
	}
	w.Scan(`SELECT timeout_ms FROM attempt`, &timeout)
	if limit := 30 * 24 * time.Hour; time.Duration(timeout)*time.Millisecond > limit {
		t.Errorf("the run timeout is %d ms, more than %s", timeout, limit)
	}
}
