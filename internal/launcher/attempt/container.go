package attempt

import (
	"cmp"
	"context"
	"log/slog"
	"path"
	"path/filepath"
	"time"

	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/park"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// createTime bounds making and starting a container.
const createTime = 5 * time.Minute

// maxPids is how many processes and threads a container may have, where the backend
// keeps limits: far more than tools need, and fewer than the 32768 that a host may have,
// so that a bomb leaves room for the launcher.
const maxPids = 16384

// toolName is what the mounted tool is called in the container.
func toolName(vendor string) string {
	if vendor == "opentofu" {
		return "tofu"
	}
	return "terraform"
}

// image is the name of a job's runner image: its own, else the operator's default
// for its vendor; "" where there are no images.
func (r *Runner) image(job *wire.Job) string {
	switch {
	case !r.o.Backend.Capabilities().Images:
		return ""
	case job.Image != "":
		return job.Image
	case job.Vendor.Name == "ansible":
		return r.o.Settings.DefaultAnsibleImage
	}
	return r.o.Settings.DefaultImage
}

// shape is a container as settings, image and tool make it, and what the worker
// has to know of that.
type shape struct {
	spec            container.Spec
	digest          string // of the image in its registry, or ""
	workspace, tool string // as the container sees them
	said            string // about the tool
}

// shape resolves image and tool. Every mount is fixed here, and none of them
// comes from the job.
func (r *Runner) shape(ctx context.Context, k kind, dir *rundir.Dir, workspace string, say func(string)) (shape, error) {
	caps := r.o.Backend.Capabilities()
	found, err := r.o.Tools.Find(ctx, k.vendor)
	if err != nil {
		return shape{}, err
	}
	resolved, err := r.o.Backend.EnsureImage(ctx, k.image, say)
	if err != nil {
		return shape{}, err
	}
	uid, gid := r.runUser()
	mounts := []container.Mount{
		{Source: dir.In(), Target: wire.ContainerIn, ReadOnly: true},
		{Source: dir.Out(), Target: wire.ContainerOut},
		{Source: workspace, Target: wire.ContainerWorkspace, Operator: workspace != dir.Workspace()},
	}
	s := shape{digest: resolved.Digest, workspace: caps.Path(mounts[2])}
	if found.Path != "" {
		m := container.Mount{Source: found.Path, Target: path.Join(wire.ContainerTools, toolName(k.vendor.Name)), ReadOnly: true}
		mounts = append(mounts, m)
		s.tool = caps.Path(m)
		s.said = "Using " + toolName(k.vendor.Name) + " " + found.Version + " from the " + found.From
	}
	for _, m := range r.o.Settings.Mounts {
		if granted(m.In, k.class) {
			mounts = append(mounts, container.Mount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly, Operator: true})
		}
	}
	root := wire.ContainerRoot
	if !caps.MountAt {
		root = dir.Path()
	}
	s.spec = container.Spec{
		ULID: dir.ID(), Image: resolved.ID, RunDir: dir.Path(), Binary: r.o.Binary,
		Args: []string{"worker", "--dir", root}, Mounts: mounts, UID: uid, GID: gid,
		Network: r.o.Settings.Network, Runtime: r.o.Settings.Runtime, Pids: maxPids,
	}
	return s, nil
}

// createContainer starts a container that waits for its job, unless one that
// waits already is the same.
func (t *task) createContainer(ctx context.Context, p *prepared, k kind) error {
	s, err := t.runner.shape(ctx, k, p.dir, p.rec.Workspace, t.say)
	if err != nil {
		return err
	}
	if p.rec.Image == "" {
		p.rec.Image = s.digest
	}
	p.worker.WorkspaceRoot, p.worker.Tool = s.workspace, s.tool
	if s.spec.Image != "" {
		t.say("Using image " + k.image + " (" + cmp.Or(s.digest, s.spec.Image) + ")")
	}
	if s.said != "" {
		t.say(s.said)
	}
	if t.runner.fits(ctx, p.standby, s.spec) {
		return nil
	}
	// Pulling may take long; what follows does not, unless the engine hangs.
	ctx, cancel := context.WithTimeout(ctx, createTime)
	defer cancel()
	if p.standby != nil {
		if err := t.o.Backend.Remove(ctx, s.spec.ULID); err != nil {
			return err
		}
	}
	if err := t.o.Backend.Create(ctx, s.spec); err != nil {
		return err
	}
	return t.o.Backend.Start(ctx, p.rec.Container)
}

// keepAlive tells a container that waits that its launcher is there, and returns
// what it said last. What it says must differ from what was said before.
func keepAlive(ctx context.Context, log *slog.Logger, d *rundir.Dir, n int64) int64 {
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for ; ; n++ {
		// A disk that is full now may have room at the next try, long before the
		// container takes its launcher for gone.
		if err := d.Alive(n); err != nil && ctx.Err() == nil {
			log.Warn("the sign of life cannot be written", "err", err)
		}
		select {
		case <-ctx.Done():
			return n
		case <-tick.C:
		}
	}
}

// workerJob fills in what the worker has to know, but for its terms.
func (t *task) workerJob(p *prepared, job *wire.Job, carried *park.Carry) {
	env := resolve(job, t.o.Settings, p.worker.WorkspaceRoot, carried)
	t.masker.Add(env.secrets...)
	hooks, command, targets := job.Hooks, job.Command, job.Targets
	w := &p.worker
	if carried != nil {
		// The core is the same, so these are too; they are taken from where no
		// mothership could have changed them since.
		hooks, command = carried.Hooks, carried.Command
		w.Workflow = carried.Workflow
	}
	all := phases(job)
	share := run.Share(all, job.Class)
	w.V, w.Run, w.Attempt, w.Container, w.Class = 1, job.Run, job.Attempt, p.rec.Container, job.Class
	w.Phases = nil
	for _, phase := range share {
		w.Phases = append(w.Phases, wire.WorkerPhase{Phase: phase, Before: hooks["before_"+string(phase)], After: hooks["after_"+string(phase)]})
	}
	w.AfterRun = hooks["after_run"]
	// A tracked run that plans no change ends in the reading container.
	w.Final = share[len(share)-1] == all[len(all)-1] || (job.Type == run.Tracked && job.Class == run.Read)
	w.RunType, w.Command, w.Targets, w.Vendor, w.ProjectRoot = job.Type, command, targets, job.Vendor, job.ProjectRoot
	w.Environment, w.Unset, w.Masks, w.Debug = env.vars, env.unset, t.masker.Secrets(), t.o.Settings.Debug
	w.MaskWellKnown = job.MaskWellKnown
	w.RootCAs = string(t.o.Settings.Roots.PEM())
	w.LogBytes, w.UnackedLogBytes = t.o.Settings.LogLimit, t.o.Settings.LogBacklog
	w.StateMode, w.StateExists = job.Store.Mode, job.Store.Sequence > 0
	w.TimeoutMs, w.SilenceMs = t.o.Settings.RunTimeout.Milliseconds(), t.o.Settings.LogsTimeout.Milliseconds()
}

// remove ends a container and has the backend forget it.
func (t *task) remove(id string) error { return t.runner.remove(id) }

// discard ends a container, if there is one, and removes its run directory; what
// cannot be removed now is tried again once the attempt is over.
func (t *task) discard(d *rundir.Dir) {
	if !t.runner.discard(d) {
		t.undiscarded = append(t.undiscarded, d)
	}
}

// elsewhere is where the workspace is kept when it cannot be mounted and the
// operator named a root that is the same on all workers; "" in all other cases.
func (t *task) elsewhere() string {
	root := t.o.Settings.WorkspaceRoot
	if root == "" || t.o.Backend.Capabilities().MountAt {
		return ""
	}
	return filepath.Join(root, t.ref.Run)
}
