package containertest

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// patience is how long anything here may take on a busy machine.
const patience = 60 * time.Second

// Fixture is one backend with a data directory of its own.
type Fixture struct {
	Backend container.Backend
	// Reopen makes another value over the same directories, as a launcher does
	// that is started again.
	Reopen func(t *testing.T) container.Backend
	// DataDir and RunsDir are those that the backend was made with.
	DataDir, RunsDir string
	// Image is a reference that the backend has; empty where it has no images.
	Image string
}

// world is a fixture with the suite's worker in it.
type world struct {
	Fixture
	binary, image string
}

// WorkerVariable names an environment variable with the path of a worker that
// BuildWorker made, for a test process that cannot build one itself.
const WorkerVariable = "CONTAINERTEST_WORKER"

// BuildWorker builds the suite's worker and returns its path.
func BuildWorker(t *testing.T) string {
	t.Helper()
	if built := os.Getenv(WorkerVariable); built != "" {
		return built
	}
	_, here, _, _ := runtime.Caller(0)
	out := filepath.Join(t.TempDir(), "worker")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", out, ".")
	cmd.Dir = filepath.Join(filepath.Dir(here), "testdata", "worker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the worker: %v\n%s", err, b)
	}
	return out
}

func newWorld(t *testing.T, f Fixture, worker string) *world {
	t.Helper()
	w := &world{Fixture: f, binary: filepath.Join(f.DataDir, "bin", "worker")}
	b, err := os.ReadFile(worker)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.MkdirAll(filepath.Dir(w.binary), 0o755),
		os.MkdirAll(f.RunsDir, 0o700),
		os.WriteFile(w.binary, b, 0o755),
		f.Backend.Check(context.Background()),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	img, err := f.Backend.EnsureImage(t.Context(), f.Image, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.image = img.ID
	return w
}

// run is a container's spec with the paths as its worker sees them.
type run struct {
	container.Spec
	in, out, workspace string
}

// hostOut is a file of out/ on the host.
func (r run) hostOut(name string) string { return filepath.Join(r.RunDir, wire.DirOut, name) }

// prepare makes a run directory and a spec; args come from the paths in it.
func (w *world) prepare(t *testing.T, args func(r run) []string) run {
	t.Helper()
	id := ulid.MustNew(ulid.Now(), rand.Reader).String()
	r := run{Spec: container.Spec{
		ULID: id, Image: w.image, RunDir: filepath.Join(w.RunsDir, id), Binary: w.binary,
		UID: container.RunUID, GID: container.RunGID, Network: "none",
	}}
	if !w.Backend.Capabilities().Images {
		r.Network = ""
	}
	for _, tree := range []struct {
		dir, target string
		readOnly    bool
		path        *string
	}{
		{wire.DirIn, wire.ContainerIn, true, &r.in},
		{wire.DirOut, wire.ContainerOut, false, &r.out},
		{wire.DirWorkspace, wire.ContainerWorkspace, false, &r.workspace},
	} {
		m := container.Mount{Source: filepath.Join(r.RunDir, tree.dir), Target: tree.target, ReadOnly: tree.readOnly}
		if err := os.MkdirAll(m.Source, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := w.Backend.Own(t.Context(), container.Ownership{Dir: m.Source, UID: r.UID, GID: r.GID}); err != nil {
			t.Fatal(err)
		}
		r.Mounts = append(r.Mounts, m)
		*tree.path = w.Backend.Capabilities().Path(m)
	}
	if err := os.MkdirAll(filepath.Join(r.RunDir, wire.DirPrivate), 0o700); err != nil {
		t.Fatal(err)
	}
	r.Args = args(r)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		b := w.Reopen(t)
		if err := b.Remove(ctx, id); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return r
}

// start prepares, creates and starts.
func (w *world) start(t *testing.T, args func(r run) []string) run {
	t.Helper()
	r := w.prepare(t, args)
	if err := w.Backend.Create(t.Context(), r.Spec); err != nil {
		t.Fatal(err)
	}
	if err := w.Backend.Start(t.Context(), r.ULID); err != nil {
		t.Fatal(err)
	}
	return r
}

// wait waits for the end, not for ever.
func wait(t *testing.T, b container.Backend, id string) container.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	e, err := b.Wait(ctx, id)
	if err != nil {
		t.Fatalf("wait: %v", err)
	}
	return e
}

// appears polls for a file that the worker writes.
func appears(t *testing.T, path string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		_, err := os.Stat(path)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s did not appear; last: %v", filepath.Base(path), err)
		}
	}
}

// alive lists the processes of this host that have the marker as an argument.
func alive(t *testing.T, marker string) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range dirs {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), marker) {
			found = append(found, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return found
}

func marker() string { return "marker-" + rand.Text() }
