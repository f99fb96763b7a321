package rundir

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

const id = "01JZ0000000000000000000000"

// setup makes a run's directory that belongs to whoever runs the tests.
func setup(t *testing.T, limits Limits) (*Dir, *Inside) {
	t.Helper()
	d, err := Create(t.TempDir(), id, Options{UID: os.Getuid(), GID: os.Getgid(), Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Remove(); err != nil {
			t.Error(err)
		}
	})
	i, err := OpenInside(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	return d, i
}

func TestTheTreesHaveTheirOwners(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root may give files away")
	}
	d, err := Create(t.TempDir(), id, Options{UID: 1983, GID: 1984})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Remove() }()
	if err := d.Lease(1); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		mode     os.FileMode
		uid, gid int
	}{
		".": {0o711, 0, 0}, "private": {0o700, 0, 0}, "in": {0o750, 0, 1984}, "in/answers": {0o750, 0, 1984},
		"in/lease": {0o640, 0, 1984}, "out": {0o700, 1983, 1984}, "out/log": {0o700, 1983, 1984}, "workspace": {0o700, 1983, 1984},
	} {
		st, err := os.Lstat(filepath.Join(d.Path(), name))
		if err != nil {
			t.Fatal(err)
		}
		uid, gid := owner(st)
		if st.Mode().Perm() != want.mode || uid != want.uid || gid != want.gid {
			t.Errorf("%s is %o %d:%d, want %o %d:%d", name, st.Mode().Perm(), uid, gid, want.mode, want.uid, want.gid)
		}
	}
}

func TestADirectoryIsNamedByAULID(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "..", "../x", "run", id + "0"} {
		if _, err := Create(t.TempDir(), name, Options{}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestADirectoryIsMadeOnce(t *testing.T) {
	t.Parallel()
	d, _ := setup(t, Limits{})
	if _, err := Create(filepath.Dir(d.Path()), id, d.o); err == nil {
		t.Error("the same directory can be made twice")
	}
	if _, err := os.Stat(d.In()); err != nil {
		t.Errorf("the second attempt harmed the first: %v", err)
	}
}

func TestRemovalFollowsNoLinkAndStopsAtNothing(t *testing.T) {
	t.Parallel()
	parent, outside := t.TempDir(), t.TempDir()
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Create(parent, id, Options{UID: os.Getuid(), GID: os.Getgid()})
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := List(parent); err != nil || !slices.Equal(ids, []string{id}) {
		t.Errorf("listed %q, %v", ids, err)
	}
	locked := filepath.Join(d.Workspace(), "cache", "deep")
	if err := os.MkdirAll(locked, 0o700); err != nil {
		t.Fatal(err)
	}
	_ = os.Symlink(outside, filepath.Join(locked, "link"))
	_ = os.Symlink(outside, filepath.Join(d.Workspace(), "link"))
	_ = os.Chmod(locked, 0o500)
	_ = os.Chmod(filepath.Dir(locked), 0)
	if err := d.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := Remove(parent, id); err != nil {
		t.Errorf("a second removal: %v", err)
	}
	if _, err := os.Stat(victim); err != nil {
		t.Errorf("what a link pointed to is gone: %v", err)
	}
	if left, _ := os.ReadDir(parent); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAnInterruptedRemovalIsFinished(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	if err := os.MkdirAll(filepath.Join(parent, id+gone, "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	if ids, _ := List(parent); len(ids) != 0 {
		t.Errorf("listed %q", ids)
	}
	if err := Sweep(parent); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(parent); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestWhatTheLauncherGivesArrives(t *testing.T) {
	t.Parallel()
	d, i := setup(t, Limits{})
	if _, err := i.Job(); !Missing(err) {
		t.Errorf("a job before the release: %v", err)
	}
	if d.HandedOut() {
		t.Error("released before the release")
	}
	if err := d.Release(wire.WorkerJob{Run: "r"}); err != nil {
		t.Fatal(err)
	}
	job, err := i.Job()
	if err != nil || job.Run != "r" || !d.HandedOut() {
		t.Errorf("job %+v, %v", job, err)
	}
	if err := errors.Join(d.ForgetJob(), d.ForgetJob(), d.Lease(7), d.Ack(8), d.Alive(9), d.Stop(true, "because\nof this")); err != nil {
		t.Fatal(err)
	}
	kill, reason, ordered := i.Stop()
	if i.Lease() != 7 || i.Acked() != 8 || i.Alive() != 9 || !kill || reason != "because of this" || !ordered {
		t.Error(i.Lease(), i.Acked(), i.Alive(), kill, reason, ordered)
	}
	if _, err := i.Job(); !Missing(err) {
		t.Errorf("the job is still there: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(d.In(), ".new-*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestARequestIsAnswered(t *testing.T) {
	t.Parallel()
	d, i := setup(t, Limits{})
	if err := i.Request(wire.Request{ID: "1", Op: wire.OpStatePut, Lock: "l"}, []byte("state")); err != nil {
		t.Fatal(err)
	}
	rs, err := d.Requests()
	if err != nil || len(rs) != 1 || rs[0] != (wire.Request{ID: "1", Op: wire.OpStatePut, Lock: "l", Body: true}) {
		t.Fatalf("requests %+v, %v", rs, err)
	}
	body, err := d.RequestBody("1")
	if err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(body)
	_ = body.Close()
	if string(got) != "state" {
		t.Errorf("body %q", got)
	}
	if rs, _ := d.Requests(); len(rs) != 0 {
		t.Errorf("returned again: %+v", rs)
	}
	if _, _, err := i.Answer("1"); !Missing(err) {
		t.Errorf("an answer before the answer: %v", err)
	}
	for range 2 {
		if err := d.Answer(wire.Answer{ID: "1", Status: 200}, strings.NewReader("reply")); err != nil {
			t.Fatal(err)
		}
	}
	a, reply, err := i.Answer("1")
	if err != nil || a.Status != 200 || string(reply) != "reply" {
		t.Errorf("answer %+v %q %v", a, reply, err)
	}
	// An adopting launcher sees those that are still open.
	if err := i.Request(wire.Request{ID: "2", Op: wire.OpStateGet}, nil); err != nil {
		t.Fatal(err)
	}
	again, err := Open(filepath.Dir(d.Path()), id, Options{UID: os.Getuid()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if rs, err := again.Requests(); err != nil || len(rs) != 1 || rs[0].ID != "2" {
		t.Errorf("after adoption: %+v, %v", rs, err)
	}
}

func TestEventsAreReadInOrder(t *testing.T) {
	t.Parallel()
	d, i := setup(t, Limits{})
	w, err := i.EventWriter()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	r := d.EventReader(EventPosition{})
	defer func() { _ = r.Close() }()
	for n := range 3 {
		if err := w.Write(wire.Event{Type: wire.EventMessage, LogBytes: int64(n)}); err != nil {
			t.Fatal(err)
		}
		e, err := r.Next()
		if err != nil || e.Seq != int64(n+1) || e.LogBytes != int64(n) {
			t.Errorf("event %+v, %v", e, err)
		}
	}
	on := d.EventReader(r.Position())
	defer func() { _ = on.Close() }()
	if _, err := on.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after a restart: %v", err)
	}
	if err := w.Write(wire.Event{Type: wire.EventMessage}); err != nil {
		t.Fatal(err)
	}
	if e, err := on.Next(); err != nil || e.Seq != 4 {
		t.Errorf("after a restart: %+v %v", e, err)
	}
}

func TestAWatcherTicksAtOnceAndAnyway(t *testing.T) {
	t.Parallel()
	for name, dirs := range map[string][]string{"with notification": {t.TempDir()}, "by polling": {"/no/such/directory"}} {
		w := Watch(dirs...)
		for range 3 {
			select {
			case <-w.C:
			case <-time.After(time.Minute):
				t.Errorf("%s: no tick", name)
			}
		}
		w.Close()
	}
}
