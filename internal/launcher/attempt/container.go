package attempt

import (
	"context"
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

// toolName is what the mounted tool is called in the container.
func toolName(vendor string) string {
	if vendor == "opentofu" {
		return "tofu"
	}
	return "terraform"
}

// createContainer resolves image and tool and starts a container that waits for
// its job. Every mount is fixed here, and none of them comes from the job.
func (t *task) createContainer(ctx context.Context, p *prepared, job *wire.Job, image string) error {
	caps := t.o.Backend.Capabilities()
	found, err := t.o.Tools.Find(ctx, job.Vendor)
	if err != nil {
		return err
	}
	resolved, err := t.o.Backend.EnsureImage(ctx, image, t.say)
	if err != nil {
		return err
	}
	if p.rec.Image == "" {
		p.rec.Image = resolved.Digest
	}
	uid, gid := t.runUser()
	mounts := []container.Mount{
		{Source: p.dir.In(), Target: wire.ContainerIn, ReadOnly: true},
		{Source: p.dir.Out(), Target: wire.ContainerOut},
		{Source: p.rec.Workspace, Target: wire.ContainerWorkspace, Operator: t.elsewhere() != ""},
	}
	p.worker.WorkspaceRoot = caps.Path(mounts[2])
	if found.Path != "" {
		m := container.Mount{Source: found.Path, Target: path.Join(wire.ContainerTools, toolName(job.Vendor.Name)), ReadOnly: true}
		mounts = append(mounts, m)
		p.worker.Tool = caps.Path(m)
		t.say("Using " + toolName(job.Vendor.Name) + " " + found.Version + " from the " + found.From)
	}
	for _, m := range t.o.Settings.Mounts {
		if granted(m.In, job.Class) {
			mounts = append(mounts, container.Mount{Source: m.Source, Target: m.Target, Operator: true})
		}
	}
	dir := wire.ContainerRoot
	if !caps.MountAt {
		dir = p.dir.Path()
	}
	// Pulling may take long; these two do not, unless the engine hangs.
	ctx, cancel := context.WithTimeout(ctx, createTime)
	defer cancel()
	err = t.o.Backend.Create(ctx, container.Spec{
		ULID: p.rec.Container, Image: resolved.ID, RunDir: p.dir.Path(), Binary: t.o.Binary,
		Args: []string{"worker", "--dir", dir}, Mounts: mounts, UID: uid, GID: gid,
		Network: t.o.Settings.Network, Runtime: t.o.Settings.Runtime,
	})
	if err != nil {
		return err
	}
	return t.o.Backend.Start(ctx, p.rec.Container)
}

// keepAlive tells a container in stand-by that its launcher is there.
func (t *task) keepAlive(ctx context.Context, d *rundir.Dir) {
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for n := int64(1); ; n++ {
		// A disk that is full now may have room at the next try, long before the
		// container takes its launcher for gone.
		if err := d.Alive(n); err != nil && ctx.Err() == nil {
			t.log.Warn("the sign of life cannot be written", "err", err)
		}
		select {
		case <-ctx.Done():
			return
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
	w.StateMode, w.StateExists = job.Store.Mode, job.Store.Sequence > 0
	w.TimeoutMs, w.SilenceMs = t.o.Settings.RunTimeout.Milliseconds(), t.o.Settings.LogsTimeout.Milliseconds()
}

// discard ends a container, if there is one, and removes its run directory.
func (t *task) discard(d *rundir.Dir) {
	// What is being cleaned up may be cleaned up because its context ended.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	id := d.ID()
	if err := t.o.Backend.Remove(ctx, id); err != nil {
		t.log.Error("a container cannot be removed", "container", id, "err", err)
		return // its directory is still in use
	}
	if err := d.Remove(); err != nil {
		t.log.Error("a run directory cannot be removed", "container", id, "err", err)
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
