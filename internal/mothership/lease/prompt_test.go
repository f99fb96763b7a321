package lease_test

import (
	"testing"

	"github.com/spaceport-iac/spaceport/internal/mothership/lease/leasetest"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func TestALauncherThatAsksWithANonceGetsItsJobAtOnce(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	c := w.Worker("01WORKER")
	r := w.Trigger(w.Stack("web", nil), run.Tracked)
	busy := wire.AttemptRef{Run: "another", Attempt: 1}
	for name, req := range map[string]wire.OrdersRequest{
		"without a nonce": {Session: 1},
		"while it leaves": {Session: 1, Nonce: "n", Leaving: true},
		"while unwell":    {Session: 1, Nonce: "n", Unwell: "the disk is full"},
		"while busy":      {Session: 1, Nonce: "n", Busy: &busy},
	} {
		o, err := w.Lease.Orders(ctx, c, req)
		if err != nil || o.Job != nil || o.Assignment == nil || o.Assignment.Accepted {
			t.Errorf("%s it got %+v, %v", name, o, err)
		}
	}
	o, err := w.Lease.Orders(ctx, c, wire.OrdersRequest{Session: 1, Nonce: "n"})
	if err != nil || o.Job == nil || o.Assignment == nil || !o.Assignment.Accepted || o.Assignment.Run != r.ID {
		t.Fatalf("it got %+v, %v", o, err)
	}
	// The answer may be lost: then the attempt is accepted and its job asked for.
	o, err = w.Lease.Orders(ctx, c, wire.OrdersRequest{Session: 1, Nonce: "m"})
	if err != nil || o.Job != nil || o.Assignment == nil || !o.Assignment.Accepted {
		t.Fatalf("the second time it got %+v, %v", o, err)
	}
	if job, err := w.Lease.Job(ctx, c, o.Assignment.AttemptRef, wire.AcceptRequest{Session: 1, Nonce: "m"}); err != nil || job == nil {
		t.Fatalf("the job asked for is %v, %v", job, err)
	}
}

func TestAStoppedAttemptIsNotAcceptedByANonce(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	c := w.Worker("01WORKER")
	w.Trigger(w.Stack("web", nil), run.Tracked)
	w.Exec(`UPDATE attempt SET stop = 'interrupt', stop_reason = 'enough'`)
	o, err := w.Lease.Orders(ctx, c, wire.OrdersRequest{Session: 1, Nonce: "n"})
	if err != nil || o.Job != nil || o.Stop == nil {
		t.Errorf("it got %+v, %v", o, err)
	}
}
