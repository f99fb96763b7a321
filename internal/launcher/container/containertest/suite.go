package containertest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// canary stands for what the launcher's environment holds.
const canary = "canary-of-the-launcher"

// Run runs the suite; setup gives each test its own world. The caller's test
// must not be parallel, since a variable is set in this process.
func Run(t *testing.T, setup func(t *testing.T) Fixture) {
	t.Setenv("SPACELIFT_POOL_PRIVATE_KEY", canary)
	worker := BuildWorker(t)
	for name, test := range map[string]func(*testing.T, *world){
		"a worker's exit code comes through":                         exitCode,
		"a signal reaches the worker and nobody else":                signalReaches,
		"killing takes processes that left their session":            killTakesAll,
		"a background process that holds the output is ended":        backgroundEnds,
		"another launcher adopts a running container":                adoptRunning,
		"another launcher starts what was only created":              adoptCreated,
		"waiting for a dead container tells how it ended":            waitDead,
		"a cancelled wait leaves the container alone":                waitCancelled,
		"removing is idempotent and ends what runs":                  removeTwice,
		"calls out of order are conflicts":                           outOfOrder,
		"a container that isn't there is not found":                  notThere,
		"a read-only mount can't be written to":                      readOnlyMount,
		"the workspace is where plans expect it":                     workspacePlace,
		"a worker gets no secret, no input and no descriptor":        nothingPassed,
		"a worker that can't be executed is told":                    notExecutable,
		"a mount from outside the data directory is refused":         foreignMount,
		"the worker's own output can be read":                        output,
		"a container removed behind our back is noticed":             removedByOthers,
		"want of memory is told, with the limit it ran into":         outOfMemory,
		"a bomb of processes ends at its limit":                      forkBomb,
		"a missing image is named":                                   missingImage,
		"a tree of the run directory can be emptied whoever owns it": ownership,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, setup(t), worker))
		})
	}
}

func awaiting(r run) []string { return []string{"await", r.out} }

func exiting(code string) func(run) []string {
	return func(run) []string { return []string{"exit", code} }
}

func exitCode(t *testing.T, w *world) {
	r := w.start(t, exiting("7"))
	e := wait(t, w.Backend, r.ULID)
	if e.Code != 7 || e.Signal != "" || e.Lost || e.OOM || e.Finished.IsZero() {
		t.Errorf("it ended as %+v", e)
	}
	r = w.start(t, exiting("0"))
	if e := wait(t, w.Backend, r.ULID); e.Code != 0 || e.Lost {
		t.Errorf("it ended as %+v", e)
	}
}

func signalReaches(t *testing.T, w *world) {
	r := w.start(t, awaiting)
	appears(t, r.hostOut("ready"))
	if err := w.Backend.Signal(t.Context(), r.ULID, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, w.Backend, r.ULID); e.Code != 5 {
		t.Errorf("it ended as %+v", e)
	}
	if err := w.Backend.Signal(t.Context(), r.ULID, syscall.SIGINT); !fault.Is(err, fault.Conflict) {
		t.Errorf("a signal to the dead gave %v", err)
	}
}

func killTakesAll(t *testing.T, w *world) {
	m := marker()
	r := w.start(t, func(r run) []string { return []string{"litter", r.out, m, "stay"} })
	appears(t, r.hostOut("ready"))
	if !slices.ContainsFunc(alive(t, m), func(s string) bool { return strings.Contains(s, " sleep "+m) }) {
		t.Fatalf("no grandchild to kill: %q", alive(t, m))
	}
	for range 2 {
		if err := w.Backend.Kill(t.Context(), r.ULID); err != nil {
			t.Fatal(err)
		}
	}
	if e := wait(t, w.Backend, r.ULID); e.Code != 137 || e.Signal != "SIGKILL" {
		t.Errorf("it ended as %+v", e)
	}
	if left := alive(t, m); len(left) > 0 {
		t.Errorf("still alive: %q", left)
	}
	if err := w.Backend.Kill(t.Context(), r.ULID); err != nil {
		t.Errorf("killing the dead: %v", err)
	}
}

func backgroundEnds(t *testing.T, w *world) {
	m := marker()
	r := w.start(t, func(r run) []string { return []string{"litter", r.out, m, "leave"} })
	if e := wait(t, w.Backend, r.ULID); e.Code != 0 {
		t.Errorf("it ended as %+v", e)
	}
	if _, err := os.Stat(r.hostOut("ready")); err != nil {
		t.Errorf("the worker did nothing: %v", err)
	}
	if left := alive(t, m); len(left) > 0 {
		t.Errorf("still alive: %q", left)
	}
}

func adoptRunning(t *testing.T, w *world) {
	r := w.start(t, awaiting)
	appears(t, r.hostOut("ready"))
	if err := w.Backend.Close(); err != nil {
		t.Fatal(err)
	}
	second := w.Reopen(t)
	if ids, err := second.List(t.Context()); err != nil || !slices.Equal(ids, []string{r.ULID}) {
		t.Fatalf("it lists %q, %v", ids, err)
	}
	if st, err := second.Inspect(t.Context(), r.ULID); err != nil || !st.Exists || !st.Started || !st.Running {
		t.Fatalf("it sees %+v, %v", st, err)
	}
	if err := second.Start(t.Context(), r.ULID); !fault.Is(err, fault.Conflict) {
		t.Errorf("starting it again gave %v", err)
	}
	if err := second.Signal(t.Context(), r.ULID, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, second, r.ULID); e.Code != 5 {
		t.Errorf("it ended as %+v", e)
	}
}

func adoptCreated(t *testing.T, w *world) {
	r := w.prepare(t, exiting("9"))
	if err := w.Backend.Create(t.Context(), r.Spec); err != nil {
		t.Fatal(err)
	}
	if err := w.Backend.Close(); err != nil {
		t.Fatal(err)
	}
	second := w.Reopen(t)
	if st, err := second.Inspect(t.Context(), r.ULID); err != nil || !st.Exists || st.Started || st.Running {
		t.Fatalf("it sees %+v, %v", st, err)
	}
	if err := second.Start(t.Context(), r.ULID); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, second, r.ULID); e.Code != 9 {
		t.Errorf("it ended as %+v", e)
	}
}

func waitDead(t *testing.T, w *world) {
	r := w.start(t, exiting("3"))
	first := wait(t, w.Backend, r.ULID)
	for _, b := range []container.Backend{w.Backend, w.Reopen(t)} {
		if e := wait(t, b, r.ULID); e != first || e.Code != 3 {
			t.Errorf("first %+v, then %+v", first, e)
		}
		st, err := b.Inspect(t.Context(), r.ULID)
		if err != nil || !st.Exists || !st.Started || st.Running || st.Exit.Code != 3 {
			t.Errorf("it sees %+v, %v", st, err)
		}
	}
}

func waitCancelled(t *testing.T, w *world) {
	r := w.start(t, awaiting)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := w.Backend.Wait(ctx, r.ULID)
		done <- err
	}()
	appears(t, r.hostOut("ready"))
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the wait gave %v", err)
	}
	if st, err := w.Backend.Inspect(t.Context(), r.ULID); err != nil || !st.Running {
		t.Errorf("afterwards it is %+v, %v", st, err)
	}
}

func removeTwice(t *testing.T, w *world) {
	m := marker()
	r := w.start(t, func(r run) []string { return []string{"litter", r.out, m, "stay"} })
	appears(t, r.hostOut("ready"))
	for range 2 {
		if err := w.Backend.Remove(t.Context(), r.ULID); err != nil {
			t.Fatal(err)
		}
	}
	if left := alive(t, m); len(left) > 0 {
		t.Errorf("still alive: %q", left)
	}
	if st, err := w.Backend.Inspect(t.Context(), r.ULID); err != nil || st != (container.Status{}) {
		t.Errorf("it sees %+v, %v", st, err)
	}
	if ids, err := w.Backend.List(t.Context()); err != nil || len(ids) > 0 {
		t.Errorf("it lists %q, %v", ids, err)
	}
	if err := w.Backend.Kill(t.Context(), r.ULID); err != nil {
		t.Errorf("killing the removed: %v", err)
	}
	if _, err := os.Stat(r.hostOut("ready")); err != nil {
		t.Errorf("the run directory's trees must stay: %v", err)
	}
	unstarted := w.prepare(t, awaiting)
	if err := w.Backend.Create(t.Context(), unstarted.Spec); err != nil {
		t.Fatal(err)
	}
	if err := w.Backend.Remove(t.Context(), unstarted.ULID); err != nil {
		t.Errorf("removing one never started: %v", err)
	}
}

func outOfOrder(t *testing.T, w *world) {
	r := w.prepare(t, exiting("0"))
	if err := w.Backend.Create(t.Context(), r.Spec); err != nil {
		t.Fatal(err)
	}
	if err := w.Backend.Create(t.Context(), r.Spec); !fault.Is(err, fault.Conflict) {
		t.Errorf("creating twice gave %v", err)
	}
	if _, err := w.Backend.Wait(t.Context(), r.ULID); !fault.Is(err, fault.Conflict) {
		t.Errorf("waiting before the start gave %v", err)
	}
	if err := w.Backend.Start(t.Context(), r.ULID); err != nil {
		t.Fatal(err)
	}
	wait(t, w.Backend, r.ULID)
	if err := w.Backend.Start(t.Context(), r.ULID); !fault.Is(err, fault.Conflict) {
		t.Errorf("starting what has ended gave %v", err)
	}
}

func notThere(t *testing.T, w *world) {
	const id = "01JDZZZZZZZZZZZZZZZZZZZZZZ"
	if _, err := w.Backend.Wait(t.Context(), id); !fault.Is(err, fault.NotFound) {
		t.Errorf("wait gave %v", err)
	}
	if err := w.Backend.Start(t.Context(), id); !fault.Is(err, fault.NotFound) {
		t.Errorf("start gave %v", err)
	}
	if err := w.Backend.Remove(t.Context(), id); err != nil {
		t.Errorf("remove gave %v", err)
	}
	if _, err := w.Backend.Inspect(t.Context(), "../"+id); !fault.Is(err, fault.Invalid) {
		t.Errorf("a name that is a path gave %v", err)
	}
}

func readOnlyMount(t *testing.T, w *world) {
	if !w.Backend.Capabilities().MountAt {
		return // there are no mounts to be read-only
	}
	r := w.start(t, func(r run) []string { return []string{"write", filepath.Join(r.in, "lease")} })
	if e := wait(t, w.Backend, r.ULID); e.Code != 30 {
		t.Errorf("writing into in/ ended as %+v", e)
	}
	if _, err := os.Stat(filepath.Join(r.RunDir, wire.DirIn, "lease")); err == nil {
		t.Error("it wrote into in/")
	}
}

func workspacePlace(t *testing.T, w *world) {
	if w.Backend.Capabilities().MountAt {
		if _, err := os.Stat(wire.ContainerWorkspace); err == nil {
			t.Fatalf("%s exists on this host, so this test shows nothing", wire.ContainerWorkspace)
		}
	}
	r := w.start(t, func(r run) []string { return []string{"write", filepath.Join(r.workspace, "plan")} })
	if e := wait(t, w.Backend, r.ULID); e.Code != 0 {
		out, _ := w.Backend.Output(t.Context(), r.ULID, 500)
		t.Fatalf("it ended as %+v: %s", e, out)
	}
	st, err := os.Stat(filepath.Join(r.RunDir, wire.DirWorkspace, "plan"))
	if err != nil {
		t.Fatal(err)
	}
	uid := os.Geteuid()
	if w.Backend.Capabilities().OwnUID {
		uid = r.UID
	}
	if got := int(st.Sys().(*syscall.Stat_t).Uid); got != uid {
		t.Errorf("the file belongs to uid %d, expected %d", got, uid)
	}
	if w.Backend.Capabilities().MountAt {
		if _, err := os.Stat(wire.ContainerWorkspace); err == nil {
			t.Errorf("%s was made on the host", wire.ContainerWorkspace)
		}
	}
}

func nothingPassed(t *testing.T, w *world) {
	r := w.start(t, func(r run) []string { return []string{"tell", r.out} })
	if e := wait(t, w.Backend, r.ULID); e.Code != 0 {
		t.Fatalf("it ended as %+v", e)
	}
	b, err := os.ReadFile(r.hostOut("told"))
	if err != nil {
		t.Fatal(err)
	}
	told := string(b)
	for _, word := range []string{canary, "SPACELIFT", "fd "} {
		if strings.Contains(told, word) {
			t.Errorf("%q was passed:\n%s", word, told)
		}
	}
	for _, line := range []string{"stdin 0 EOF\n", "dir /\n", "PATH="} {
		if !strings.Contains(told, line) {
			t.Errorf("%q is missing:\n%s", line, told)
		}
	}
}
