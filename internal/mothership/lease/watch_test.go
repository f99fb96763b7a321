package lease_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/lease"
	"github.com/spaceport-iac/spaceport/internal/mothership/lease/leasetest"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// watcher is a watcher that a test lets look by hand.
type watcher struct {
	*leasetest.World
	w *lease.Watcher
}

func watch(w *leasetest.World) watcher {
	return watcher{w, w.Lease.NewWatcher(func() bool { return true })}
}

// pass lets time go by with a look each second, and calls each after each look.
func (w watcher) pass(d time.Duration, each func()) {
	w.T.Helper()
	for range int(d / time.Second) {
		w.Clock.Advance(time.Second)
		if err := w.w.Look(ctx); err != nil {
			w.T.Fatal(err)
		}
		if each != nil {
			each()
		}
	}
}

func beat(w *leasetest.World, c pool.WorkerIdentity, ref wire.AttemptRef, n int64) {
	w.T.Helper()
	if _, err := w.Lease.Beat(ctx, c, ref, wire.BeatRequest{Beat: n}); err != nil {
		w.T.Fatal(err)
	}
}

func TestAnAttemptThatIsNotAcceptedInTimeGoesToAnotherWorker(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	one := w.Worker("01WORKERONE")
	r := w.Trigger(w.Stack("web", nil), run.Tracked)
	w.pass(2*time.Second, nil)
	w.WantState(r.ID, run.Preparing)
	w.pass(2*time.Second, nil)
	w.WantState(r.ID, run.Ready) // its worker is skipped and there is no other
	if _, err := w.Lease.Accept(ctx, one, wire.AttemptRef{Run: r.ID, Attempt: 1}, wire.AcceptRequest{Session: 1, Nonce: "n"}); err == nil {
		t.Error("the late acceptance was taken")
	}
	two := w.Worker("01WORKERTWO")
	orders, err := w.Lease.Orders(ctx, two, wire.OrdersRequest{Session: 1, Hints: true})
	if err != nil || orders.Assignment == nil || orders.Assignment.Attempt != 2 {
		t.Fatalf("the other worker's orders are %+v, %v; want attempt 2", orders, err)
	}
	var skipped bool
	w.Scan(`SELECT skipped FROM worker WHERE id = '01WORKERONE'`, &skipped)
	if !skipped {
		t.Error("the silent worker is not skipped")
	}
	if _, err := w.Lease.Orders(ctx, one, wire.OrdersRequest{Session: 1, Hints: true}); err != nil {
		t.Fatal(err)
	}
	w.Scan(`SELECT skipped FROM worker WHERE id = '01WORKERONE'`, &skipped)
	if skipped {
		t.Error("a worker that spoke is still skipped")
	}
}

func TestALostReaderIsQueuedAgainTwiceAndThenFails(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	r := w.Trigger(w.Stack("web", nil), run.Tracked)
	for i := range 3 {
		c := w.Worker(fmt.Sprintf("01WORKER%d", i))
		if _, err := w.Lease.Orders(ctx, c, wire.OrdersRequest{Session: 1, Hints: true}); err != nil {
			t.Fatal(err)
		}
		ref := w.Ref(r)
		w.Start(c, ref, run.Read, run.PhaseInit, "c")
		beats := int64(0)
		w.pass(time.Minute, func() { beats++; beat(w.World, c, ref, beats) })
		w.WantState(r.ID, run.Initializing)
		w.pass(44*time.Second, nil)
		w.WantState(r.ID, run.Initializing)
		w.pass(3*time.Second, nil)
		if i < 2 {
			w.WantState(r.ID, run.Ready)
		}
	}
	if r := w.WantState(r.ID, run.Failed); !strings.Contains(r.Reason, "not been heard of") {
		t.Errorf("the reason is %q", r.Reason)
	}
}

func TestAStackMayForbidRepetition(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	c := w.Worker("01WORKERONE")
	r := w.Trigger(w.Stack("web", func(in *stack.Input) { in.Settings.NoRetryLost = true }), run.Tracked)
	w.Start(c, w.Ref(r), run.Read, run.PhaseInit, "c")
	w.pass(50*time.Second, nil)
	w.WantState(r.ID, run.Failed)
}

func TestARunLostBeforeItsFirstStartIsQueuedAgainHoweverOften(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	r := w.Task(w.Stack("web", nil), true)
	for i := range 4 {
		c := w.Worker(fmt.Sprintf("01WORKER%d", i))
		if _, err := w.Lease.Orders(ctx, c, wire.OrdersRequest{Session: 1, Hints: true}); err != nil {
			t.Fatal(err)
		}
		w.Accept(c, w.Ref(r), run.Write)
		w.pass(50*time.Second, nil)
		w.WantState(r.ID, run.Ready)
	}
}

// writing is a task in its writing container.
func writing(w *leasetest.World, st stack.Stack) (pool.WorkerIdentity, *runs.Run, wire.AttemptRef) {
	w.T.Helper()
	c := w.Worker("01WRITER")
	r := w.Task(st, true)
	ref := w.Ref(r)
	w.Start(c, ref, run.Write, run.PhasePerform, "c")
	return c, r, ref
}

func TestALostWriterFailsAndLeavesAQuarantine(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	st := w.Stack("web", nil)
	c, r, ref := writing(w.World, st)
	w.pass(17*time.Minute-5*time.Second, nil)
	w.WantState(r.ID, run.Performing)
	w.pass(10*time.Second, nil)
	w.WantState(r.ID, run.Failed)

	w.Worker("01OTHER")
	next := w.Trigger(st, run.Tracked)
	if next.State != run.Queued {
		t.Fatalf("a new writer is %s during a quarantine", next.State)
	}
	if why, err := w.Runs.WhyWaiting(w.Ctx(), next.ID); err != nil || len(why) != 1 || why[0].Code != "quarantine" || why[0].Run != r.ID {
		t.Errorf("it waits because %+v, %v", why, err)
	}
	if proposed := w.Trigger(st, run.Proposed); proposed.State != run.Preparing {
		t.Errorf("a run that only reads is %s during a quarantine", proposed.State)
	}
	gone := wire.GoneRequest{Session: 1, Container: "c", Delivered: false}
	if _, err := w.Lease.Gone(ctx, c, ref, gone); err != nil {
		t.Fatal(err)
	}
	w.WantState(next.ID, run.Queued) // its journal may hold a state yet
	w.Worker("01THIRD")
	gone.Delivered = true
	if _, err := w.Lease.Gone(ctx, c, ref, gone); err != nil {
		t.Fatal(err)
	}
	w.WantState(next.ID, run.Preparing)
}

func TestAQuarantineEndsAtTheHardLimit(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	st := w.Stack("web", nil)
	_, _, ref := writing(w.World, st)
	if _, err := w.Lease.Gone(ctx, pool.WorkerIdentity{Pool: leasetest.Pool, Worker: "01WRITER", Session: 1}, ref, wire.GoneRequest{Session: 1}); err != nil {
		t.Fatal(err)
	}
	next := w.Trigger(st, run.Tracked)
	w.pass(84*time.Minute, nil)
	w.WantState(next.ID, run.Queued)
	w.pass(2*time.Minute, nil)
	if r := w.Run(next.ID); r.State == run.Queued {
		t.Error("the stack is still in quarantine after the hard limit")
	}
}

func TestAnAttemptGetsAFullTermWhateverTheClocksDid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		outage func(w watcher)
	}{
		{"after a restart of the mothership", func(w watcher) {
			w.Clock.Advance(10 * time.Minute)
			w.Open()
		}},
		{"after the wall clock jumped by years", func(w watcher) { w.Clock.Jump(20 * 365 * 24 * time.Hour) }},
		{"after the wall clock jumped back by years", func(w watcher) { w.Clock.Jump(-20 * 365 * 24 * time.Hour) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			world := leasetest.New(t)
			w := watch(world)
			worker := w.Worker("01WORKERONE")
			r := w.Trigger(w.Stack("web", nil), run.Proposed)
			ref := w.Ref(r)
			w.Start(worker, ref, run.Read, run.PhaseInit, "c")
			w.pass(20*time.Second, nil)
			c.outage(w)
			w.w = world.Lease.NewWatcher(func() bool { return true })
			w.pass(40*time.Second, nil)
			w.WantState(r.ID, run.Initializing)
			w.pass(10*time.Second, nil)
			if got := w.Run(r.ID); got.State == run.Initializing {
				t.Error("the attempt is not lost after a full term")
			}
		})
	}
}

func TestAStandstillGivesTheSameWatcherAFullTermAgain(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	worker := w.Worker("01WORKERONE")
	r := w.Trigger(w.Stack("web", nil), run.Proposed)
	w.Start(worker, w.Ref(r), run.Read, run.PhaseInit, "c")
	w.pass(20*time.Second, nil)
	w.Clock.Advance(10 * time.Minute)
	w.pass(40*time.Second, nil)
	w.WantState(r.ID, run.Initializing)
}

func TestWhileTheListenerIsDownNobodyIsMissed(t *testing.T) {
	t.Parallel()
	world := leasetest.New(t)
	up := false
	w := watcher{world, world.Lease.NewWatcher(func() bool { return up })}
	worker := w.Worker("01WORKERONE")
	r := w.Trigger(w.Stack("web", nil), run.Proposed)
	w.Start(worker, w.Ref(r), run.Read, run.PhaseInit, "c")
	w.pass(2*time.Minute, nil)
	w.WantState(r.ID, run.Initializing)
	up = true
	w.pass(50*time.Second, nil)
	if got := w.Run(r.ID); got.State == run.Initializing {
		t.Error("with the listener up the attempt is not lost")
	}
}

func TestIfMostWorkersFallSilentAtOnceOneMoreTermPasses(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	refs := map[string]wire.AttemptRef{}
	for i := range 6 {
		c := w.Worker(fmt.Sprintf("01WORKER%d", i))
		r := w.Trigger(w.Stack(fmt.Sprintf("web%d", i), func(in *stack.Input) { in.Settings.NoRetryLost = true }), run.Proposed)
		refs[c.Worker] = w.Ref(r)
		w.Start(c, refs[c.Worker], run.Read, run.PhaseInit, "c")
	}
	n := int64(0)
	well := func() { // two of six go on
		n++
		for _, name := range []string{"01WORKER0", "01WORKER1"} {
			beat(w.World, pool.WorkerIdentity{Pool: leasetest.Pool, Worker: name, Session: 1}, refs[name], n)
		}
	}
	w.pass(80*time.Second, well)
	w.WantState(refs["01WORKER5"].Run, run.Initializing)
	w.pass(15*time.Second, well)
	w.WantState(refs["01WORKER5"].Run, run.Failed)
	w.WantState(refs["01WORKER0"].Run, run.Initializing)
}

func TestTheHardLimitEndsEvenAnAttemptThatBeats(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	c := w.Worker("01WORKERONE")
	r := w.Trigger(w.Stack("web", nil), run.Proposed)
	ref := w.Ref(r)
	w.Accept(c, ref, run.Read)
	_, err := w.Lease.Starting(ctx, c, ref, wire.StartingRequest{
		Session: 1, Container: "c", Class: run.Read, Phase: run.PhaseInit, TimeoutMs: (2 * time.Minute).Milliseconds(),
	})
	if err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	alive := func() {
		if w.Run(r.ID).State == run.Initializing {
			n++
			beat(w.World, c, ref, n)
		}
	}
	w.pass(7*time.Minute+55*time.Second, alive)
	w.WantState(r.ID, run.Initializing)
	w.pass(10*time.Second, alive)
	if r := w.WantState(r.ID, run.Failed); !strings.Contains(r.Reason, "hard limit") {
		t.Errorf("the reason is %q", r.Reason)
	}
	// The worker has that container yet: it gets nothing until it says otherwise.
	next := w.Trigger(w.Stack("api", nil), run.Proposed)
	w.WantState(next.ID, run.Ready)
	for _, busy := range []*wire.AttemptRef{&ref, nil} {
		if _, err := w.Lease.Orders(ctx, c, wire.OrdersRequest{Session: 1, Hints: true, Busy: busy}); err != nil {
			t.Fatal(err)
		}
		w.look()
		if state := w.Run(next.ID).State; (state == run.Preparing) != (busy == nil) {
			t.Errorf("with a worker that holds %v the next run is %s", busy, state)
		}
	}
}

func TestAPlanThatNobodyConfirmsIsDiscarded(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	st := w.Stack("web", nil)
	c := w.Worker("01WORKERONE")
	r := w.Trigger(st, run.Tracked)
	ref, d := w.Planned(c, r)
	w.Park(c, ref, st.ID, d.Park)
	w.Clock.Advance(6 * 24 * time.Hour)
	w.pass(2*time.Second, nil)
	w.WantState(r.ID, run.Unconfirmed)
	w.Clock.Advance(25 * time.Hour)
	w.pass(2*time.Minute, nil)
	if r := w.WantState(r.ID, run.Discarded); !strings.Contains(r.Reason, "7 days") {
		t.Errorf("the reason is %q", r.Reason)
	}
	if _, err := w.Blob.Get(ctx, d.Park.Blob); err == nil {
		t.Error("the workspace of the discarded run is still there")
	}
}
