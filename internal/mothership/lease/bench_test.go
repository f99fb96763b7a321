package lease_test

import (
	"testing"

	"github.com/spaceport-iac/spaceport/internal/mothership/lease/leasetest"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// BenchmarkATrivialRun is the mothership's share of a task that does nothing: all
// that it writes, on a real database with its fsyncs, and the job that it seals.
func BenchmarkATrivialRun(b *testing.B) {
	w := leasetest.New(b)
	st := w.Stack("web", nil)
	c := w.Worker("01WORKERONE")
	for b.Loop() {
		r := w.Task(st, true)
		ref := wire.AttemptRef{Run: r.ID, Attempt: r.Attempt}
		if _, err := w.Lease.Orders(ctx, c, wire.OrdersRequest{Session: 1, Hints: true}); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Lease.Accept(ctx, c, ref, wire.AcceptRequest{Session: 1, Nonce: "nonce", Class: run.Write}); err != nil {
			b.Fatal(err)
		}
		start, err := w.Lease.Starting(ctx, c, ref, wire.StartingRequest{Session: 1, Container: "c", Class: run.Write, Phase: run.PhasePerform})
		if err != nil {
			b.Fatal(err)
		}
		logs := wire.LogUpdate{
			Commits: []wire.LogCommit{{StateVersion: start.StateVersion, Length: 10}}, Closes: []wire.LogClose{{StateVersion: start.StateVersion, Bytes: 10}},
		}
		if _, err := w.Lease.Outcome(ctx, c, ref, wire.Outcome{Session: 1, Container: "c", Class: run.Write, Result: wire.ResultOK, Logs: logs}); err != nil {
			b.Fatal(err)
		}
	}
}
