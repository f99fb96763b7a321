package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/container/supervise"
)

// ProcessOptions configures the process backend.
type ProcessOptions struct {
	// DataDir is the launcher's data directory, RunsDir the directory of run
	// directories below it. Both are absolute.
	DataDir, RunsDir string
	// Supervisor is the command that ends up in supervise.Main; its argument,
	// a run directory, is appended. Empty: this executable with "supervise".
	Supervisor []string
	// NoMounts does without a mount namespace, as where none can be made.
	NoMounts bool
}

// Process runs workers as plain processes of this host. It isolates nothing. It
// is safe for concurrent use.
//
//	launcher ──pipe──► supervisor ──► worker ──► tool …
//	(may die)          subreaper      subreaper
//
// Create starts the supervisor, which prepares everything and waits on the
// pipe; Start writes one byte to it. A launcher that dies in between closes the
// pipe and so ends the supervisor; from that byte on the supervisor needs
// nobody. What it knows is in private/ of the run directory (see supervise.Notes).
type Process struct {
	layout
	opts   ProcessOptions
	mounts bool

	mu      sync.Mutex
	waiting map[string]*supervise.Supervisor // created here, not started yet
}

var _ Backend = (*Process)(nil)

// NewProcess makes the process backend.
func NewProcess(o ProcessOptions) (*Process, error) {
	l, err := newLayout(o.DataDir, o.RunsDir)
	if err != nil {
		return nil, err
	}
	if len(o.Supervisor) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the launcher's own binary: %w", err)
		}
		o.Supervisor = []string{self, "supervise"}
	}
	p := &Process{layout: l, opts: o, waiting: map[string]*supervise.Supervisor{}}
	p.mounts = !o.NoMounts && supervise.MountsWork()
	return p, nil
}

// Name implements Backend.
func (p *Process) Name() string { return "process" }

// Capabilities implements Backend.
func (p *Process) Capabilities() Capabilities {
	return Capabilities{SurvivesLauncher: true, MountAt: p.mounts}
}

// Close implements Backend. Containers that were created and not started end;
// they can still be started later.
func (p *Process) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, s := range p.waiting {
		s.Abandon()
		delete(p.waiting, id)
	}
	return nil
}

// Check implements Backend.
func (p *Process) Check(context.Context) error {
	if runtime.GOOS != "linux" {
		return fault.New(fault.Unsupported, "the process backend needs Linux").Named("process_os")
	}
	if _, err := supervise.BootID(); err != nil {
		return fault.Wrap(err, fault.Unavailable, "the process backend needs /proc, which cannot be read").Named("process_proc")
	}
	return nil
}

// EnsureImage implements Backend. There are no images: a run sees this host.
func (p *Process) EnsureImage(_ context.Context, ref string, _ func(string)) (Image, error) {
	return Image{Ref: ref, OS: runtime.GOOS, Arch: runtime.GOARCH}, nil
}

// Create implements Backend.
func (p *Process) Create(ctx context.Context, spec Spec) error {
	if err := p.check(spec); err != nil {
		return err
	}
	for _, m := range spec.Mounts {
		if _, err := os.Stat(m.Source); err != nil {
			return fault.Wrap(err, fault.NotFound, "container %s: the mount source %q does not exist", spec.ULID, m.Source).Named("container_mount")
		}
	}
	n := supervise.Notes{Dir: spec.RunDir}
	if err := os.MkdirAll(n.Path(""), 0o700); err != nil {
		return fmt.Errorf("create container %s: %w", spec.ULID, err)
	}
	if err := n.Create(supervise.Plan{Spec: superviseSpec(spec), Mounts: p.mounts}); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fault.Wrap(err, fault.Conflict, "container %s exists already", spec.ULID).Named("container_exists")
		}
		return fmt.Errorf("create container %s: %w", spec.ULID, err)
	}
	s, err := supervise.Start(p.opts.Supervisor, spec.RunDir, p.mounts)
	if err != nil {
		n.Forget()
		return fmt.Errorf("create container %s: %w", spec.ULID, err)
	}
	p.mu.Lock()
	p.waiting[spec.ULID] = s
	p.mu.Unlock()
	return nil
}

// superviseSpec is the part of a spec that a supervisor needs.
func superviseSpec(s Spec) supervise.Spec {
	o := supervise.Spec{Binary: s.Binary, Args: s.Args, WorkDir: s.WorkDir}
	for _, m := range s.Mounts {
		o.Mounts = append(o.Mounts, supervise.Mount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	return o
}

// exitOf is how a container ended whose supervisor is gone.
func exitOf(n supervise.Notes) (Exit, error) {
	e, lost, err := n.Exit()
	switch {
	case err != nil:
		return Exit{}, err
	case lost:
		return Exit{Code: -1, Lost: true}, nil
	}
	return Exit{Code: e.Code, Signal: e.Signal, Err: e.Err, Finished: e.Finished}, nil
}

// take returns the supervisor that waits for its container's start, if any.
func (p *Process) take(id string) *supervise.Supervisor {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.waiting[id]
	delete(p.waiting, id)
	return s
}

// Start implements Backend.
func (p *Process) Start(ctx context.Context, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	n := supervise.Notes{Dir: p.runDir(id)}
	pl, err := n.Plan()
	if errors.Is(err, fs.ErrNotExist) {
		return errMissing(id)
	}
	if err != nil {
		return fmt.Errorf("start container %s: %w", id, err)
	}
	s := p.take(id)
	if s == nil {
		// Another launcher created it. Its supervisor, if still there, holds
		// the lock that the new one needs, so there is never a second worker.
		if started, err := n.Started(); err != nil || started {
			return either(err, errStarted(id))
		}
		if s, err = supervise.Start(p.opts.Supervisor, n.Dir, pl.Mounts && p.mounts); err != nil {
			return fmt.Errorf("start container %s: %w", id, err)
		}
	}
	answer, err := s.Release(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("start container %s: %w", id, err)
	case answer == supervise.AnswerStarted:
		return errStarted(id)
	case answer != supervise.AnswerOK:
		return fault.New(fault.Internal, "the worker of container %s could not be started: %s", id, answer).Named("process_start")
	}
	return nil
}

func either(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// Inspect implements Backend.
func (p *Process) Inspect(_ context.Context, id string) (Status, error) {
	if err := checkID(id); err != nil {
		return Status{}, err
	}
	n := supervise.Notes{Dir: p.runDir(id)}
	if _, err := n.Plan(); errors.Is(err, fs.ErrNotExist) {
		return Status{}, nil
	} else if err != nil {
		return Status{}, fmt.Errorf("inspect container %s: %w", id, err)
	}
	proc, err := n.Process()
	if errors.Is(err, fs.ErrNotExist) {
		return Status{Exists: true}, nil
	}
	if err != nil {
		return Status{}, fmt.Errorf("inspect container %s: %w", id, err)
	}
	st := Status{Exists: true, Started: true, Running: proc.Supervisor.Alive(proc.Boot)}
	if !st.Running {
		proc.Supervisor.Reap()
		st.Exit, err = exitOf(n)
	}
	return st, err
}

// Wait implements Backend.
func (p *Process) Wait(ctx context.Context, id string) (Exit, error) {
	st, err := p.Inspect(ctx, id)
	switch {
	case err != nil:
		return Exit{}, err
	case !st.Exists:
		return Exit{}, errMissing(id)
	case !st.Started:
		return Exit{}, errNotStarted(id)
	case !st.Running:
		return st.Exit, nil
	}
	n := supervise.Notes{Dir: p.runDir(id)}
	proc, err := n.Process()
	if err != nil {
		return Exit{}, fmt.Errorf("wait for container %s: %w", id, err)
	}
	// The supervisor ends last, when nothing of the container is left.
	if err := proc.Supervisor.Wait(ctx, proc.Boot); err != nil {
		return Exit{}, fmt.Errorf("wait for container %s: %w", id, err)
	}
	proc.Supervisor.Reap()
	return exitOf(n)
}

// List implements Backend.
func (p *Process) List(context.Context) ([]string, error) {
	entries, err := os.ReadDir(p.runs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if checkID(e.Name()) != nil {
			continue
		}
		if _, err := os.Stat(supervise.Notes{Dir: p.runDir(e.Name())}.Path(supervise.PlanFile)); err == nil {
			ids = append(ids, e.Name())
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Signal implements Backend.
func (p *Process) Signal(ctx context.Context, id string, sig syscall.Signal) error {
	st, err := p.Inspect(ctx, id)
	switch {
	case err != nil:
		return err
	case !st.Exists:
		return errMissing(id)
	case !st.Running:
		return errNotRunning(id)
	}
	proc, err := supervise.Notes{Dir: p.runDir(id)}.Process()
	if err != nil {
		return fmt.Errorf("signal container %s: %w", id, err)
	}
	if err := proc.Worker.Signal(sig, proc.Boot); errors.Is(err, os.ErrProcessDone) {
		return errNotRunning(id)
	} else if err != nil {
		return fmt.Errorf("signal container %s: %w", id, err)
	}
	return nil
}

// Kill implements Backend. The order goes to the supervisor, which alone can
// tell when nothing is left.
func (p *Process) Kill(ctx context.Context, id string) error {
	st, err := p.Inspect(ctx, id)
	if err != nil || !st.Running {
		return err
	}
	proc, err := supervise.Notes{Dir: p.runDir(id)}.Process()
	if err != nil {
		return fmt.Errorf("kill container %s: %w", id, err)
	}
	err = proc.Supervisor.Signal(syscall.SIGTERM, proc.Boot)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err == nil {
		// A stopped one would never see the order.
		err = proc.Supervisor.Signal(syscall.SIGCONT, proc.Boot)
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill container %s: %w", id, err)
	}
	return nil
}

// removeTime bounds how long Remove waits for the processes to be gone: one
// that hangs in the kernel can't be killed.
const removeTime = 30 * time.Second

// Remove implements Backend.
func (p *Process) Remove(ctx context.Context, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	if s := p.take(id); s != nil {
		s.Abandon()
	}
	if err := p.Kill(ctx, id); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	if _, err := p.Wait(ctx, id); err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Conflict) {
		return err
	}
	supervise.Notes{Dir: p.runDir(id)}.Forget()
	return nil
}

// Output implements Backend.
func (p *Process) Output(_ context.Context, id string, limit int) ([]byte, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(supervise.Notes{Dir: p.runDir(id)}.Path(supervise.OutputFile)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the output of container %s: %w", id, err)
	}
	defer f.Close()
	size, err := f.Seek(0, 2)
	if err != nil {
		return nil, fmt.Errorf("read the output of container %s: %w", id, err)
	}
	b := make([]byte, min(size, int64(max(limit, 0))))
	if _, err := f.ReadAt(b, size-int64(len(b))); err != nil {
		return nil, fmt.Errorf("read the output of container %s: %w", id, err)
	}
	return b, nil
}
