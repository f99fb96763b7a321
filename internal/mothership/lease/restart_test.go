package lease_test

import (
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/lease/leasetest"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func TestARunOutlivesRestartsOfTheMothershipAtEachStep(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	c := w.Worker("01A")
	st := w.Stack("web", nil)
	r := w.Trigger(st, run.Tracked)
	ref := w.Ref(r)
	w.Open()
	w.Accept(c, ref, run.Read)
	w.Open()
	w.Start(c, ref, run.Read, run.PhaseInit, "c")
	w.Open()
	beat(w, c, ref, 1)
	w.Open()
	w.Report(c, ref, run.PhasePlan, "c")
	w.Open()
	outcome := wire.Outcome{Container: "c", Class: run.Read, Phase: run.PhasePlan, Plan: leasetest.Plan()}
	d := w.End(c, ref, outcome)
	w.Open()
	if again := w.End(c, ref, outcome); again.Next != wire.NextPark || again.Park.Blob != d.Park.Blob || again.Park.Sequence != d.Park.Sequence {
		t.Fatalf("after a restart the outcome is answered %+v, before it was %+v", again, d)
	}
	req := w.Parked(ref, st.ID, d.Park)
	for range 2 {
		w.Open()
		if d, err := w.Lease.Parked(ctx, c, ref, req); err != nil || d.State != run.Unconfirmed {
			t.Fatalf("parked is answered %+v, %v", d, err)
		}
	}
	w.Open()
	if _, err := w.Runs.Confirm(w.Ctx(), r.ID, ""); err != nil {
		t.Fatal(err)
	}
	ref = w.Ref(r)
	w.Open()
	w.Start(c, ref, run.Write, run.PhaseApply, "d")
	w.Open()
	outcome = wire.Outcome{Container: "d", Class: run.Write, Phase: run.PhaseApply}
	w.End(c, ref, outcome)
	w.Open()
	outcome.Session = 1
	if d, err := w.Lease.Outcome(ctx, c, ref, outcome); err != nil || d.Next != wire.NextDone || d.State != run.Finished {
		t.Errorf("after all of it the outcome is answered %+v, %v", d, err)
	}
	if got := w.Run(r.ID); got.Attempt != 2 || got.Lost != 0 {
		t.Errorf("the run took %d attempts and was lost %d times", got.Attempt, got.Lost)
	}
}

func TestAWrongStatementParksNothing(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	c := w.Worker("01A")
	st := w.Stack("web", nil)
	r := w.Trigger(st, run.Tracked)
	ref, d := w.Planned(c, r)
	for name, change := range map[string]func(stackID *string, order *wire.ParkOrder, req *wire.ParkedRequest){
		"of another stack": func(s *string, _ *wire.ParkOrder, _ *wire.ParkedRequest) { *s = "01OTHER" },
		"of another sequence": func(_ *string, o *wire.ParkOrder, _ *wire.ParkedRequest) {
			o.Sequence = 2
			o.Previous = leasetest.Digest(nil)
		},
		"of other bytes":     func(_ *string, _ *wire.ParkOrder, req *wire.ParkedRequest) { req.Ciphertext = leasetest.Digest(nil) },
		"of another object":  func(_ *string, _ *wire.ParkOrder, req *wire.ParkedRequest) { req.Blob = "parked/else" },
		"with a forged name": func(_ *string, _ *wire.ParkOrder, req *wire.ParkedRequest) { req.Signature[0] ^= 1 },
	} {
		id, order := st.ID, *d.Park
		var none wire.ParkedRequest
		none.Signature = []byte{0}
		change(&id, &order, &none)
		req := w.Parked(ref, id, &order)
		change(&id, &order, &req)
		if _, err := w.Lease.Parked(ctx, c, ref, req); !fault.Is(err, fault.Invalid) {
			t.Errorf("a workspace %s is answered %v", name, err)
		}
	}
	w.WantState(r.ID, run.Planning)
	missing := w.Parked(ref, st.ID, d.Park)
	if err := w.Blob.Delete(ctx, d.Park.Blob); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Lease.Parked(ctx, c, ref, missing); !fault.Is(err, fault.Conflict) {
		t.Errorf("a workspace that is not there is answered %v", err)
	}
}

func TestOnlyTheNewestSessionIsBelieved(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	c := w.Worker("01A")
	r := w.Trigger(w.Stack("web", nil), run.Tracked)
	ref := w.Ref(r)
	w.Start(c, ref, run.Read, run.PhaseInit, "c")
	w.Exec(`UPDATE worker SET session = 2`)
	if _, err := w.Lease.Gone(ctx, c, ref, wire.GoneRequest{Session: 1}); !fault.Is(err, fault.Stale) {
		t.Errorf("an older session's word that the container is gone is answered %v", err)
	}
	w.WantState(r.ID, run.Initializing)
	if _, err := w.Lease.Job(ctx, c, ref, wire.AcceptRequest{Session: 1, Nonce: "n", Class: run.Read}); !fault.Is(err, fault.Stale) {
		t.Errorf("an older session's wish for the job is answered %v", err)
	}
	c.Session = 2
	if _, err := w.Lease.Job(ctx, c, ref, wire.AcceptRequest{Session: 2, Nonce: "n", Class: run.Read}); err != nil {
		t.Errorf("the newer session's is answered %v", err)
	}
	orders, err := w.Lease.Orders(ctx, c, wire.OrdersRequest{Session: 2, Hints: true})
	if err != nil || orders.Assignment == nil || !orders.Assignment.Accepted || orders.Assignment.Container != "c" {
		t.Errorf("the newer session's orders are %+v, %v", orders, err)
	}
	if _, err := w.Lease.Gone(ctx, c, ref, wire.GoneRequest{Session: 2}); err != nil {
		t.Errorf("the newer session's word is answered %v", err)
	}
}

func TestWhatALauncherHoldsThatIsNotItsIsToEnd(t *testing.T) {
	t.Parallel()
	w := watch(leasetest.New(t))
	c := w.Worker("01A")
	r := w.Trigger(w.Stack("web", func(in *stack.Input) { in.Settings.NoRetryLost = true }), run.Tracked)
	ref := w.Ref(r)
	w.Start(c, ref, run.Read, run.PhaseInit, "c")
	w.pass(50*time.Second, nil)
	orders, err := w.Lease.Orders(ctx, c, wire.OrdersRequest{Session: 1, Busy: &ref})
	if err != nil || orders.Stop == nil || orders.Stop.AttemptRef != ref || orders.Stop.Kill || orders.Assignment != nil {
		t.Errorf("its orders are %+v, %v; want it to stop that attempt", orders, err)
	}
}

func TestTwoContainersOfOneClassDoNotStart(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	c := w.Worker("01A")
	r := w.Trigger(w.Stack("web", nil), run.Tracked)
	ref := w.Ref(r)
	w.Start(c, ref, run.Read, run.PhaseInit, "c")
	for name, req := range map[string]wire.StartingRequest{
		"a second container": {Session: 1, Container: "d", Class: run.Read, Phase: run.PhaseInit},
		"a writing one":      {Session: 1, Container: "d", Class: run.Write, Phase: run.PhaseApply},
	} {
		if _, err := w.Lease.Starting(ctx, c, ref, req); !fault.Is(err, fault.Conflict) {
			t.Errorf("%s is answered %v", name, err)
		}
	}
	if _, err := w.Lease.Report(ctx, c, ref, wire.ReportRequest{Container: "c", Phase: run.PhaseApply}); !fault.Is(err, fault.Conflict) {
		t.Errorf("an apply in a reading container is answered %v", err)
	}
	if _, err := w.Lease.Report(ctx, c, ref, wire.ReportRequest{Container: "d", Phase: run.PhasePlan}); !fault.Is(err, fault.Stale) {
		t.Errorf("a phase in a container that was never started is answered %v", err)
	}
}
