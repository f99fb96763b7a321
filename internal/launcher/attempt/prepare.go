package attempt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/park"
	"github.com/spaceport-iac/spaceport/internal/launcher/source"
	"github.com/spaceport-iac/spaceport/internal/launcher/state"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// aliveEvery is how often a container in stand-by hears of its launcher.
const aliveEvery = 10 * time.Second

// prepared is a container that waits for its job.
type prepared struct {
	dir    *rundir.Dir
	rec    *Record
	commit wire.Commit
	// standby is the container that waited, if there was one.
	standby *standby
	worker  wire.WorkerJob // terms are filled in at the release
}

// refusal marks a failure that is a decision of the launcher.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// runUser is who a container's processes are.
func (r *Runner) runUser() (uid, gid int) {
	if !r.o.Backend.Capabilities().OwnUID {
		return os.Getuid(), os.Getgid()
	}
	return container.RunUID, container.RunGID
}

// prepare makes the run directory, fills the workspace and starts a container
// that waits. id is its name if that is fixed already. previous is the container
// before, whose workspace goes on.
func (t *task) prepare(ctx context.Context, job *wire.Job, id string, previous *left) (p *prepared, err error) {
	if err := checkJob(job); err != nil {
		return nil, refusal{err}
	}
	if err := state.Admit(job.Stack.ID, job.Store, t.o.Settings.Recovery, t.o.Marks); err != nil {
		return nil, refusal{err}
	}
	image := t.runner.image(job)
	// Before anything is fetched or opened, and before a container that waits is taken.
	if err := t.ask(ctx, job, image, previous != nil); err != nil {
		return nil, err
	}
	k := kind{class: job.Class, image: image, vendor: job.Vendor}
	var (
		waited *standby
		dir    *rundir.Dir
		heard  int64
	)
	if id == "" && t.elsewhere() == "" {
		waited = t.runner.take(ctx, k)
	}
	if waited != nil {
		dir, heard = waited.dir, waited.told
		id = dir.ID()
	} else {
		if id == "" {
			id = t.o.NewID()
		}
		if dir, err = rundir.Create(t.o.RunsDir, id, t.runner.dirOptions()); err != nil {
			return nil, err
		}
	}
	rec := &Record{V: 1, Ref: t.ref, Class: job.Class, Container: id, Step: Preparing, Job: stripped(*job)}
	p = &prepared{dir: dir, rec: rec, commit: job.Commit, standby: waited}
	alive, stopAlive := context.WithCancel(ctx)
	kept := make(chan struct{})
	t.spawn(func() {
		defer close(kept)
		defer stopAlive()
		keepAlive(alive, t.log, dir, heard+1)
	})
	defer func() {
		if err != nil {
			stopAlive()
			<-kept // it writes where the directory is to be removed
			t.discardUnreleased(dir, previous)
		}
	}()
	// A launcher that comes after can tell by it that nothing has run. It need not
	// survive the machine.
	if err := writeNote(dir, noteRecord, rec); err != nil {
		return nil, err
	}
	if dir.Foreign() {
		return nil, fault.New(fault.Unsupported, "the launcher must run as root or as user %d to give the workspace to its run", container.RunUID).Named("launcher_user")
	}
	rec.Workspace = dir.Workspace()
	if there := t.elsewhere(); there != "" {
		if err := os.MkdirAll(there, 0o700); err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "the workspace cannot be made at %s, where it must be on every worker: %v", there, err).Named("workspace_root")
		}
		rec.Workspace = there
	}
	var carried *park.Carry
	switch {
	case previous != nil:
		carried, err = t.carryOn(p, previous)
	case job.Parked == nil && job.Class == run.Write && len(run.Share(phases(job), run.Read)) > 0:
		err = fault.New(fault.NotFound, "the workspace of the phases before is not on this worker any more").Named("workspace")
	}
	if err != nil {
		return nil, err
	}
	if job.Parked != nil {
		if carried, err = t.unpark(ctx, p, job, image); err != nil {
			return nil, err
		}
	}
	group, gctx := errgroup.WithContext(ctx)
	if previous == nil && job.Parked == nil {
		group.Go(func() (err error) {
			p.commit, err = t.o.Source.Fetch(gctx, request(job), filepath.Join(rec.Workspace, wire.SourceDir), t.say)
			return err
		})
	}
	if name, _, _ := strings.Cut(image, "@"); rec.Image != "" {
		k.image = name + "@" + rec.Image // the very image that planned
	}
	group.Go(func() error { return t.createContainer(gctx, p, k) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if p.commit.SHA == "" {
		p.commit = job.Commit
	}
	job.Commit = p.commit
	if err := t.writeFiles(p, job); err != nil {
		return nil, err
	}
	core := jobCore(job, p.commit.SHA, image)
	if previous != nil {
		if before := (seal.Core{Lines: previous.rec.Core}).Digest(); before != core.Digest() {
			return nil, refusal{changedCore(fault.New(fault.Invalid, "the job core is %s, but the run began with %s", core.Digest(), before).Named(faultCore))}
		}
	}
	rec.Core = core.Lines
	rec.Job = stripped(*job)
	t.workerJob(p, job, carried)
	if err := t.askResolved(ctx, p, job, image, carried, previous != nil); err != nil {
		return nil, err
	}
	// The record is on the disk at the release alone: until then a launcher that
	// comes after asks for the job again.
	return p, nil
}

// request is the source that a job needs. A sparse checkout has the project root
// and the repository's own settings too: nothing could run without them.
func request(j *wire.Job) source.Request {
	r := source.Request{Repository: j.Repository, Branch: j.Branch, SHA: j.Commit.SHA, Credential: j.Credential}
	if len(j.Sparse) > 0 {
		r.Sparse = append(r.Sparse, j.Sparse...)
		r.Sparse = append(r.Sparse, settingsDir)
		if j.ProjectRoot != "" {
			r.Sparse = append(r.Sparse, j.ProjectRoot)
		}
	}
	return r
}

// settingsDir is where a repository says how its runs go.
const settingsDir = ".spacelift"

// checkJob refuses paths that would lead out of the workspace.
func checkJob(j *wire.Job) error {
	if j.Stack.ID == "" {
		return fault.New(fault.Invalid, "the job names no stack").Named("job_stack")
	}
	if j.ProjectRoot != "" && !filepath.IsLocal(j.ProjectRoot) {
		return fault.New(fault.Invalid, "the project root %q is not below the repository", j.ProjectRoot).Named("project_root")
	}
	for _, f := range j.Files {
		if !filepath.IsLocal(f.Path) || path.Clean(f.Path) == "." {
			return fault.New(fault.Invalid, "the mounted file %q is not below the workspace", f.Path).Named("file_path")
		}
	}
	return nil
}

// carryOn moves the workspace of the container before into this one.
func (t *task) carryOn(p *prepared, previous *left) (*park.Carry, error) {
	c, err := t.carried(previous.dir, previous.rec)
	if err != nil {
		return nil, err
	}
	p.rec.Image = previous.rec.Image
	// The carry first: without its workspace the old directory is worth nothing.
	p.rec.Carried = noted(*c)
	if previous.rec.Workspace == p.rec.Workspace {
		return c, nil
	}
	if err := os.Remove(p.rec.Workspace); err != nil {
		return nil, fmt.Errorf("move the workspace: %w", err)
	}
	if err := os.Rename(previous.rec.Workspace, p.rec.Workspace); err != nil {
		return nil, fmt.Errorf("move the workspace: %w", err)
	}
	return c, nil
}

// discardUnreleased discards a container that was never given its job. If it has
// taken over the workspace of the container before, that gets it back: it is all
// that the attempt, here or in a launcher that comes after, can go on from.
func (t *task) discardUnreleased(d *rundir.Dir, previous *left) {
	if previous != nil && previous.rec.Workspace == previous.dir.Workspace() {
		if err := t.remove(d.ID()); err != nil {
			t.log.Error("a container cannot be removed", "container", d.ID(), "err", err)
			t.undiscarded = append(t.undiscarded, d)
			return // it may still see the workspace
		}
		_, err := os.Lstat(previous.rec.Workspace)
		if errors.Is(err, os.ErrNotExist) {
			err = os.Rename(d.Workspace(), previous.rec.Workspace)
		}
		if err != nil {
			t.log.Error("the workspace cannot be given back", "container", d.ID(), "err", err)
		}
	}
	t.discard(d)
}

// carried is what a container hands on, with hooks and commands from the signed
// job and not from any file that the container could write.
func (t *task) carried(d *rundir.Dir, rec *Record) (*park.Carry, error) {
	c := rec.Carried
	c.Hooks, c.Command, c.Targets = rec.Job.Hooks, rec.Job.Command, rec.Job.Targets
	out, err := d.ReadCarry()
	if err != nil && !rundir.Missing(err) {
		return nil, fmt.Errorf("read what the container hands on: %w", err)
	}
	if out != nil {
		c.Set, c.Unset = out.Set, out.Unset
		t.masker.Add(out.Masks...)
	}
	c.Masks = t.masker.Secrets()
	if len(c.Workflow) == 0 {
		w, err := d.ReadWorkflow()
		if err != nil && !rundir.Missing(err) {
			return nil, fmt.Errorf("read the workflow: %w", err)
		}
		c.Workflow = w
	}
	return &c, nil
}

// unpark downloads the parked workspace, judges it, and only then unpacks it.
func (t *task) unpark(ctx context.Context, p *prepared, job *wire.Job, image string) (*park.Carry, error) {
	t.say("Downloading the sealed workspace")
	blob, err := os.OpenFile(filepath.Join(p.dir.Private(), noteParked), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer os.Remove(blob.Name())
	defer blob.Close()
	if err := t.o.Client.GetFile(ctx, job.Parked.URL, blob, job.Parked.Size); err != nil {
		if fault.Is(err, fault.Invalid) {
			err = refusal{err}
		}
		return nil, err
	}
	uid, gid := t.runner.runUser()
	var owner *seal.Owner
	if os.Getuid() == 0 {
		owner = &seal.Owner{UID: uid, GID: gid}
	}
	parcel := t.parcel(job, jobCore(job, job.Commit.SHA, image))
	if job.Store.Mode == wire.StateSealed && job.Class == run.Write {
		parcel.State = job.Store.Digest
	}
	c, imageDigest, err := park.Open(ctx, parcel, *job.Parked, blob, p.rec.Workspace, p.dir.Private(), owner)
	if err != nil {
		return nil, refusal{changedCore(err)}
	}
	p.rec.Image, p.rec.Carried = imageDigest, noted(c)
	t.say("The workspace's signature and content were verified; it is unpacked")
	return &c, nil
}

// faultCore names the fault of a job whose core is not that of the run's beginning.
const faultCore = "seal_core"

// changedCore says of such a fault what a person did to get it: digests tell them
// nothing. Any other error is returned as it is.
func changedCore(err error) error {
	if f := fault.As(err); f == nil || f.Code != "invalid."+faultCore {
		return err
	}
	return fault.Wrap(err, fault.Invalid, "the stack's settings, hooks or names of variables were changed since this run began, so its job core is another").
		Named(faultCore).WithHint("trigger a new run")
}

func (t *task) parcel(job *wire.Job, core seal.Core) park.Parcel {
	return park.Parcel{
		Key: t.o.Key, Earlier: t.o.Earlier, Recovery: t.o.Settings.Recovery, Origin: t.o.Origin, Pool: t.o.Pool,
		Stack: job.Stack.ID, Run: job.Run, Attempt: job.Attempt, Core: core,
	}
}

// writeFiles writes the mounted files over the repository's and gives everything
// to the run's user. What is there may be a restored workspace, full of links: a
// name is removed and made anew, within the workspace.
func (t *task) writeFiles(p *prepared, job *wire.Job) error {
	root, err := os.OpenRoot(p.rec.Workspace)
	if err != nil {
		return fmt.Errorf("write mounted files: %w", err)
	}
	defer root.Close()
	uid, gid := t.runner.runUser()
	give := os.Getuid() == 0 && uid != 0
	for _, f := range job.Files {
		name := filepath.FromSlash(path.Clean(f.Path))
		if err := makeDirs(root, filepath.Dir(name), give, uid, gid); err != nil {
			return fault.Wrap(err, fault.Invalid, "the mounted file %s cannot be written: %v", f.Path, err).Named("file_path")
		}
		mode := os.FileMode(0o644)
		if f.Secret {
			mode = 0o600
		}
		if err := root.RemoveAll(name); err != nil {
			return fault.Wrap(err, fault.Invalid, "the mounted file %s cannot be written: %v", f.Path, err).Named("file_path")
		}
		w, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "the mounted file %s cannot be written: %v", f.Path, err).Named("file_path")
		}
		_, err = w.Write(f.Content)
		if err == nil && give {
			err = w.Chown(uid, gid)
		}
		if cerr := w.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("write the mounted file %s: %w", f.Path, err)
		}
	}
	if !give || job.Parked != nil {
		return nil
	}
	// Nothing of the run has been started in this tree, or it is the run's own.
	return filepath.WalkDir(filepath.Join(p.rec.Workspace, wire.SourceDir), func(name string, _ os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.Lchown(name, uid, gid)
	})
}

func makeDirs(root *os.Root, dir string, give bool, uid, gid int) error {
	if dir == "." {
		return nil
	}
	if err := makeDirs(root, filepath.Dir(dir), give, uid, gid); err != nil {
		return err
	}
	err := root.Mkdir(dir, 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err == nil && give {
		err = root.Lchown(dir, uid, gid)
	}
	return err
}
