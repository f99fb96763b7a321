package attempt

import (
	"errors"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func TestAssignmentsThatWouldLeadAstrayAreRefused(t *testing.T) {
	t.Parallel()
	good := func() wire.Assignment {
		return wire.Assignment{AttemptRef: wire.AttemptRef{Run: "01HRUN00000000000000000001", Attempt: 1}, Class: run.Write}
	}
	if err := checkAssignment(good()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*wire.Assignment){
		"a run that leads out of the directory": func(a *wire.Assignment) { a.Run = "../../../../../../etc/passw" },
		"a path of the right length":            func(a *wire.Assignment) { a.Run = "01HRUN/../../../../../../x" },
		"no run":                                func(a *wire.Assignment) { a.Run = "" },
		"attempt 0":                             func(a *wire.Assignment) { a.Attempt = 0 },
		"a container that is a path":            func(a *wire.Assignment) { a.Container = "../runs" },
		"no class":                              func(a *wire.Assignment) { a.Class = "" },
	} {
		a := good()
		change(&a)
		if err := checkAssignment(a); fault.As(err) == nil || fault.As(err).Code != "invalid.assignment" {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// It is asked before anything is done.
	r := &Runner{}
	bad := good()
	bad.Run = "../../../../../../etc/passw"
	if err := r.Run(t.Context(), bad, nil, nil); fault.As(err) == nil || fault.As(err).Code != "invalid.assignment" {
		t.Errorf("got %v", err)
	}
}

func TestTermsWithoutAFenceAreRefused(t *testing.T) {
	t.Parallel()
	good := wire.Terms{BeatMs: 10_000, AckWithinMs: 10_000, FenceMs: 300_000, GraceMs: 600_000, SlackMs: 30_000}
	if err := checkTerms(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*wire.Terms){
		"no fence":          func(w *wire.Terms) { w.FenceMs = 0 },
		"a fence in years":  func(w *wire.Terms) { w.FenceMs = 1 << 62 },
		"beats at once":     func(w *wire.Terms) { w.BeatMs = 0 },
		"a grace before":    func(w *wire.Terms) { w.GraceMs = -1 },
		"a slack before":    func(w *wire.Terms) { w.SlackMs = -300_000 },
		"no time to answer": func(w *wire.Terms) { w.AckWithinMs = 0 },
	} {
		bad := good
		change(&bad)
		if err := checkTerms(bad); fault.As(err) == nil || fault.As(err).Code != "invalid.lease_terms" {
			t.Errorf("%s: got %v", name, err)
		}
	}
	var no refusal
	if !errors.As(error(refusal{checkTerms(wire.Terms{})}), &no) {
		t.Error("a refusal is not found by its type")
	}
}
