package launcher_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// unwell is the process backend with an engine's moods.
type unwell struct {
	container.Backend
	mu      sync.Mutex
	wait    int // how many times Wait fails
	inspect int
	dead    bool                             // Remove fails: nothing is cleaned up
	start   func(ctx context.Context, n int) // before the nth Start
	starts  int
}

var errEngine = fault.New(fault.Internal, "the engine is out of order").Named("docker")

func (u *unwell) count(n *int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	*n--
	return *n >= 0
}

func (u *unwell) Wait(ctx context.Context, id string) (container.Exit, error) {
	if u.count(&u.wait) {
		return container.Exit{}, errEngine
	}
	return u.Backend.Wait(ctx, id)
}

func (u *unwell) Inspect(ctx context.Context, id string) (container.Status, error) {
	if u.count(&u.inspect) {
		return container.Status{}, errEngine
	}
	return u.Backend.Inspect(ctx, id)
}

func (u *unwell) Remove(ctx context.Context, id string) error {
	u.mu.Lock()
	dead := u.dead
	u.mu.Unlock()
	if dead {
		return errEngine
	}
	return u.Backend.Remove(ctx, id)
}

func (u *unwell) Start(ctx context.Context, id string) error {
	u.mu.Lock()
	u.starts++
	n, start := u.starts, u.start
	u.mu.Unlock()
	if start != nil {
		start(ctx, n)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return u.Backend.Start(ctx, id)
}

func TestAnEngineThatDoesNotTellLosesNoRun(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	wait, open := gate(t)
	w.wrap = func(b container.Backend) container.Backend { return &unwell{Backend: b, wait: 2, inspect: 2} }
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo up; " + wait + "; echo ran")})
	l := w.start(w.data)
	w.wait("it is up", func() (bool, string) { return strings.Contains(string(r.Text[4]), "up\n"), string(r.Text[4]) })
	l.kill()
	w.start(w.data)
	open()
	if o := w.over(r); o.Result != wire.ResultOK || strings.Count(w.text(r), "\nran\n") != 1 {
		t.Fatalf("got %+v\n%s", o, w.text(r))
	}
	w.empty(w.data)
}

func TestARunWhoseContainerSomebodyRemovedIsOverAtOnce(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	var backend atomic.Pointer[unwell]
	w.wrap = func(b container.Backend) container.Backend {
		u := &removed{unwell: &unwell{Backend: b}}
		backend.Store(u.unwell)
		return u
	}
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo up; while :; do sleep 0.02; done")})
	w.start(w.data)
	w.wait("it is up", func() (bool, string) { return strings.Contains(string(r.Text[4]), "up\n"), string(r.Text[4]) })
	var id string
	w.With(func() { id = r.Container })
	if err := backend.Load().Backend.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if o := w.over(r); o.Result != wire.ResultDied || !strings.Contains(o.Reason, "removed") {
		t.Fatalf("got %+v", o)
	}
	w.empty(w.data)
}

// removed says of a container that has ended what an engine says of one that it
// does not know.
type removed struct{ *unwell }

func (r *removed) Wait(ctx context.Context, id string) (container.Exit, error) {
	e, err := r.unwell.Wait(ctx, id)
	if err == nil {
		err = fault.New(fault.NotFound, "container %s does not exist", id).Named("container")
	}
	return e, err
}

// A launcher that is ended between the decision that a run goes on and the release
// of its writing container leaves everything to the next one, whether or not it
// could still clean up.
func TestALauncherThatEndsBeforeTheWriterIsReleasedLeavesTheWorkspace(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{true, false} {
		t.Run(map[bool]string{true: "killed", false: "told to leave"}[killed], func(t *testing.T) {
			t.Parallel()
			w, j := tracked(t)
			reached := make(chan struct{})
			w.wrap = func(b container.Backend) container.Backend {
				u := &unwell{Backend: b}
				u.start = func(ctx context.Context, n int) {
					if n == 2 {
						u.mu.Lock()
						u.dead = killed
						u.mu.Unlock()
						close(reached)
						<-ctx.Done()
					}
				}
				return u
			}
			r := w.Enqueue(&launchertest.Run{Job: j})
			l := w.start(w.data)
			<-reached
			l.kill()
			w.wrap = nil
			w.start(w.data)
			applied(t, w, r, w.over(r))
			if n := strings.Count(w.text(r), "\napplying\n"); n != 1 {
				t.Fatalf("applied %d times\n%s", n, w.text(r))
			}
			w.empty(w.data)
		})
	}
}

func TestAContainerWhoseStartIsRecordedAndThatHadNoJobIsMadeAgain(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	var lost atomic.Bool
	lost.Store(true)
	reached := make(chan struct{}, 100)
	w.After = func(r *http.Request) int {
		if strings.HasSuffix(r.URL.Path, "/starting") && lost.Load() {
			reached <- struct{}{}
			return http.StatusBadGateway // it is recorded, and the launcher does not know
		}
		return 0
	}
	w.wrap = func(b container.Backend) container.Backend { return &unwell{Backend: b, dead: true} }
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo ran")})
	l := w.start(w.data)
	<-reached
	l.kill()
	lost.Store(false)
	w.wrap = nil
	w.start(w.data)
	if o := w.over(r); o.Result != wire.ResultOK || strings.Count(w.text(r), "\nran\n") != 1 || len(r.Gone) != 0 {
		t.Fatalf("got %+v, gone %v\n%s", o, r.Gone, w.text(r))
	}
	w.empty(w.data)
}

// The start is recorded, and the order comes while its answer is under way: the job
// must not be handed out any more.
func TestAnOrderThatComesJustBeforeTheReleaseHoldsTheJobBack(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo ran")})
	var l atomic.Pointer[running]
	w.After = func(q *http.Request) int {
		if strings.HasSuffix(q.URL.Path, "/starting") {
			w.With(func() { r.Stop = &wire.Stop{AttemptRef: r.Ref, Reason: "somebody said so"} })
			for l.Load() == nil || !strings.Contains(l.Load().log.String(), "the run is to stop") {
				select {
				case <-q.Context().Done():
					return 0
				case <-time.After(time.Millisecond):
				}
			}
		}
		return 0
	}
	l.Store(w.start(w.data))
	if o := w.over(r); o.Result != wire.ResultStopped || o.Container == "" || strings.Contains(w.text(r), "\nran\n") {
		t.Fatalf("got %+v\n%s", o, w.text(r))
	}
	if strings.Contains(l.Load().log.String(), "the run was released") {
		t.Error("the job was handed out")
	}
	w.empty(w.data)
}

// Without the mothership the buffer of the log fills up and its reader waits. A
// state must get past it.
func TestAStateIsDeliveredThoughTheLogHasNoRoom(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	var full atomic.Bool
	full.Store(true)
	w.Before = func(r *http.Request) int {
		if strings.HasPrefix(r.URL.Path, "/objects/logs/") && strings.Contains(r.URL.Path, "/4/") && full.Load() {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	self := executable(t)
	j := w.job("head -c 9500000 /dev/zero | tr '\\0' x | fold -w 4000; " + self + " put-state '{\"serial\":1}' && echo; echo ran")
	j.Store.Mode = wire.StateManaged
	r := w.Enqueue(&launchertest.Run{Job: j})
	w.start(w.data)
	w.wait("the state is there", func() (bool, string) { return w.State(j.Stack.ID).Sequence == 1, "no state" })
	full.Store(false)
	if o := w.over(r); o.Result != wire.ResultOK || !strings.HasSuffix(w.text(r), "\nran\n") {
		t.Fatalf("got %+v", o)
	}
	w.empty(w.data)
}

// What a tool wrote while there was no launcher lies in its requests, and the
// attempt is over when a launcher comes again.
func TestAStateThatNobodyWasThereForIsDeliveredThoughItsAttemptIsOver(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	wait, open := gate(t)
	j := w.job("echo up; " + wait + "; " + executable(t) + " put-state '{\"serial\":1}'")
	j.Store.Mode = wire.StateManaged
	r := w.Enqueue(&launchertest.Run{Job: j})
	l := w.start(w.data)
	w.wait("it is up", func() (bool, string) { return strings.Contains(string(r.Text[4]), "up\n"), string(r.Text[4]) })
	l.kill()
	w.Lost(r)
	open()
	w.wait("the tool's request", func() (bool, string) {
		found, _ := filepath.Glob(filepath.Join(w.data, "slots", "0", "runs", "*", "out", "requests", "*.json"))
		return len(found) == 1, "no request"
	})
	w.start(w.data)
	w.wait("it is gone", func() (bool, string) { return len(r.Gone) == 1 && r.Gone[0].Delivered, "not yet" })
	w.With(func() {
		if st := w.State(j.Stack.ID); len(st.Recovery) != 1 || string(st.Recovery[0]) != `{"serial":1}` {
			t.Errorf("the states to be recovered are %q", st.Recovery)
		}
	})
	w.empty(w.data)
}

// What crosses from the reading container to the writing one has every secret in it.
func TestNoNoteOfAWritingContainerHoldsASecret(t *testing.T) {
	t.Parallel()
	w, j := tracked(t)
	wait, open := gate(t)
	j.Hooks["before_init"] = append(j.Hooks["before_init"], "export MADE=canary-$((77+1))")
	j.Hooks["before_apply"] = []string{"echo hooked", wait}
	r := w.Enqueue(&launchertest.Run{Job: j})
	w.start(w.data)
	w.wait("it applies", func() (bool, string) {
		return strings.Contains(string(r.Text[r.Version]), "hooked\n"), string(r.Text[r.Version])
	})
	notes, err := filepath.Glob(filepath.Join(w.data, "slots", "0", "runs", "*", "private", "*.json"))
	if err != nil || len(notes) == 0 {
		t.Fatalf("notes %v, %v", notes, err)
	}
	for _, name := range notes {
		if data, err := os.ReadFile(name); err != nil || strings.Contains(string(data), "canary-77") || strings.Contains(string(data), "canary-78") {
			t.Errorf("%s holds a secret, or cannot be read (%v)", name, err)
		}
	}
	open()
	applied(t, w, r, w.over(r))
	w.empty(w.data)
}
