package launcher_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/container/containertest"
	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// faulty has launchers that are started from now on use a backend with moods, which
// arrange sets.
func (w *world) faulty(arrange func(*containertest.Faulty)) func() *containertest.Faulty {
	var made atomic.Pointer[containertest.Faulty]
	w.wrap = func(b container.Backend) container.Backend {
		f := containertest.NewFaulty(b)
		arrange(f)
		made.Store(f)
		return f
	}
	return made.Load
}

// settled fails if the run was given twice to a container, or has another end than
// the wanted one, or if the launcher cannot go on as if nothing had been.
func (w *world) settled(r *launchertest.Run, want wire.Result, ran int) {
	w.t.Helper()
	o := w.over(r)
	if n := strings.Count(w.text(r), "\nran\n"); o.Result != want || n != ran || (want != wire.ResultOK && o.Reason == "") {
		w.t.Errorf("got %+v, and it ran %d times, want %s and %d\n%s", o, n, want, ran, w.text(r))
	}
	w.ran(w.job("echo next"))
	w.empty(w.data)
}

func TestWhateverCallToABackendFailsARunEndsAsItWasAndTheNextOneRuns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		call  containertest.Call
		moods []containertest.Mood
		want  wire.Result
		ran   int
	}{
		{containertest.EnsureImage, []containertest.Mood{containertest.Failing}, wire.ResultFailed, 0},
		{containertest.Create, []containertest.Mood{containertest.Failing}, wire.ResultFailed, 0},
		{containertest.Create, []containertest.Mood{containertest.Mute}, wire.ResultFailed, 0},
		{containertest.Start, []containertest.Mood{containertest.Failing}, wire.ResultFailed, 0},
		{containertest.Start, []containertest.Mood{containertest.Mute}, wire.ResultFailed, 0},
		{containertest.Start, []containertest.Mood{containertest.Losing}, wire.ResultFailed, 0},
		{containertest.Wait, []containertest.Mood{containertest.Failing, containertest.Mute}, wire.ResultOK, 1},
		{containertest.Wait, []containertest.Mood{containertest.Hanging}, wire.ResultOK, 1},
		{containertest.List, []containertest.Mood{containertest.Failing}, wire.ResultOK, 1},
		{containertest.Remove, []containertest.Mood{containertest.Failing, containertest.Failing}, wire.ResultOK, 1},
		{containertest.Remove, []containertest.Mood{containertest.Mute}, wire.ResultOK, 1},
		{containertest.Check, []containertest.Mood{containertest.Well, containertest.Failing}, wire.ResultOK, 1},
	} {
		t.Run(fmt.Sprintf("%s %v", c.call, c.moods), func(t *testing.T) {
			t.Parallel()
			w := setup(t, nil)
			backend := w.faulty(func(f *containertest.Faulty) { f.Be(c.call, c.moods...) })
			r := w.Enqueue(&launchertest.Run{Job: w.job("echo ran")})
			w.start(w.data)
			w.settled(r, c.want, c.ran)
			if c.call != containertest.Check && backend().Left(c.call) > 0 {
				t.Errorf("%s was called %d times only, so this shows nothing", c.call, backend().Calls(c.call))
			}
		})
	}
}

// An engine that hangs must not keep a run from being stopped.
func TestARunWhoseEngineHangsCanBeStopped(t *testing.T) {
	t.Parallel()
	for _, call := range []containertest.Call{containertest.EnsureImage, containertest.Create, containertest.Start} {
		t.Run(string(call), func(t *testing.T) {
			t.Parallel()
			w := setup(t, nil)
			backend := w.faulty(func(f *containertest.Faulty) { f.Be(call, containertest.Hanging) })
			r := w.Enqueue(&launchertest.Run{Job: w.job("echo ran")})
			w.start(w.data)
			w.wait("the engine hangs", func() (bool, string) { return backend() != nil && len(backend().Hangs()) == 1, "it does not" })
			w.With(func() { r.Stop = &wire.Stop{AttemptRef: r.Ref, Reason: "somebody said so"} })
			w.settled(r, wire.ResultStopped, 0)
		})
	}
}

// What waits for a run is asked about, made and removed like any other container.
func TestAContainerInWaitingWhoseEngineFailsCostsNoRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		call containertest.Call
		mood containertest.Mood
	}{
		{containertest.Inspect, containertest.Failing},
		{containertest.Inspect, containertest.Losing},
		{containertest.Create, containertest.Failing},
		{containertest.Start, containertest.Failing},
		{containertest.Start, containertest.Mute},
	} {
		t.Run(fmt.Sprintf("%s %v", c.call, c.mood), func(t *testing.T) {
			t.Parallel()
			w := setup(t, nil)
			backend := w.faulty(func(f *containertest.Faulty) {
				if c.call != containertest.Inspect {
					f.Be(c.call, containertest.Well, c.mood) // the second is the one that waits
				}
			})
			w.start(w.data)
			w.ran(w.job("echo first"))
			if c.call == containertest.Inspect {
				w.idle()
				backend().Be(c.call, c.mood)
			} else {
				w.wait("it was tried", func() (bool, string) { return backend().Left(c.call) == 0, "not yet" })
			}
			w.settled(w.Enqueue(&launchertest.Run{Job: w.job("echo ran")}), wire.ResultOK, 1)
			if backend().Left(c.call) > 0 {
				t.Error("the call was not made, so this shows nothing")
			}
		})
	}
}

// The container is gone while its run is in it: that is seen, told, and nothing is
// run again.
func TestAContainerThatIsLostWhileItRunsEndsItsRun(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	backend := w.faulty(func(f *containertest.Faulty) { f.Be(containertest.Wait, containertest.Hanging) })
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo ran; while :; do sleep 0.02; done")})
	w.start(w.data)
	w.wait("it is up", func() (bool, string) { return strings.Contains(string(r.Text[4]), "ran\n"), string(r.Text[4]) })
	var id string
	w.With(func() { id = r.Container })
	if err := backend().Backend.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	backend().Recover() // as a connection that breaks at last
	if o := w.over(r); o.Result != wire.ResultDied || !strings.Contains(o.Reason, "removed") {
		t.Errorf("got %+v", o)
	}
	w.ran(w.job("echo next"))
	w.empty(w.data)
}

// An attempt that ends with an error is looked for on the disk again. What waits for
// the next run is nobody's yet, and must not be taken for something left over.
func TestWhatWaitsForARunIsNotTakenForLeftovers(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	var refuse atomic.Bool
	w.Before = func(r *http.Request) int {
		if strings.HasSuffix(r.URL.Path, "/outcome") && refuse.CompareAndSwap(true, false) {
			return http.StatusBadRequest
		}
		return 0
	}
	l := w.start(w.data)
	w.ran(w.job("echo first"))
	w.idle()
	refuse.Store(true)
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo ran")})
	w.over(r)
	if !strings.Contains(l.log.String(), "will be taken up again") {
		t.Fatalf("the attempt did not end with an error\n%s", l.log.String())
	}
	waiting := w.idle()
	if o := w.ran(w.job("echo next")); o.Container != waiting {
		t.Errorf("%s waited, and the run was in %s", waiting, o.Container)
	}
	w.empty(w.data)
}
