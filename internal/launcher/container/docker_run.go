package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/container/supervise"
	"github.com/spaceport-iac/spaceport/internal/launcher/sleep"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Create implements Backend.
func (d *Docker) Create(ctx context.Context, spec Spec) error {
	if err := d.check(spec); err != nil {
		return err
	}
	if !supervise.Within(d.data, spec.Binary) {
		return fault.New(fault.Invalid, "the worker's binary %q is outside the data directory", spec.Binary).Named("container_spec")
	}
	if spec.Image == "" {
		return fault.New(fault.Invalid, "container %s has no image", spec.ULID).Named("container_spec")
	}
	mounts := []mount.Mount{bind(Mount{Source: spec.Binary, Target: wire.ContainerBinary, ReadOnly: true})}
	for _, m := range spec.Mounts {
		mounts = append(mounts, bind(m))
	}
	return d.create(ctx, spec.ULID, container.Config{
		Image:      spec.Image,
		User:       fmt.Sprintf("%d:%d", spec.UID, spec.GID),
		Entrypoint: append([]string{wire.ContainerBinary}, spec.Args...),
		WorkingDir: spec.WorkDir,
		Labels:     map[string]string{Label: spec.ULID},
	}, container.HostConfig{
		Mounts:      mounts,
		NetworkMode: container.NetworkMode(or(spec.Network, "bridge")),
		Runtime:     spec.Runtime,
		Resources:   limits(spec),
	})
}

// create adds what is the same for every container of ours. Each setting that
// an engine's own configuration could change is given explicitly.
func (d *Docker) create(ctx context.Context, name string, cfg container.Config, host container.HostConfig) error {
	noInit := false // an engine may put an init of its own in front otherwise
	// No Env: the job and its secrets go by files, so inspect has nothing to
	// show. Standard input is closed, which the engine makes /dev/null.
	cfg.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}}
	cfg.WorkingDir = or(cfg.WorkingDir, "/")
	host.Init = &noInit
	host.AutoRemove = false // the exit status must outlive it
	host.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyDisabled}
	host.CapDrop = []string{"ALL"}
	host.SecurityOpt = []string{"no-new-privileges"}
	host.IpcMode = container.IPCModePrivate
	// The worker's own few lines. The log of a run goes through out/.
	host.LogConfig = container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m", "max-file": "1"}}

	// An engine goes on making a container whose caller has gone, and nobody would
	// remove it: its answer is waited for though the caller gives up.
	answer, cancel := outlive(ctx, lastAnswer)
	defer cancel()
	_, err := d.api.ContainerCreate(answer, client.ContainerCreateOptions{Config: &cfg, HostConfig: &host, Name: name})
	switch {
	case err == nil && ctx.Err() != nil:
		return errors.Join(ctx.Err(), d.remove(answer, name))
	case err == nil:
		return nil
	case errdefs.IsConflict(err):
		return fault.Wrap(err, fault.Conflict, "container %s exists already", name).Named("container_exists")
	case errdefs.IsNotFound(err) && strings.Contains(err.Error(), "image"):
		return fault.Wrap(err, fault.NotFound, "image %s is not on this worker", cfg.Image).Named("image").
			WithHint("it was removed after it had been found; run again")
	case badRuntime(err):
		return noRuntime(host.Runtime, err)
	case strings.Contains(err.Error(), "bind source path does not exist"):
		return fault.Wrap(err, fault.Invalid, "container %s: %s", name, engineText(err)).
			Named("docker_mount").WithHint("make it on this worker, or change the setting of extra mounts")
	}
	return d.failed("create container "+name, err)
}

// lastAnswer is how long an engine's answer is waited for after the caller gave up.
const lastAnswer = 10 * time.Second

// outlive returns a context that ends later than ctx does, by that time.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		late := time.AfterFunc(by, cancel)
		context.AfterFunc(longer, func() { late.Stop() })
	})
	return longer, func() {
		stop()
		cancel()
	}
}

func bind(m Mount) mount.Mount {
	// Mount, unlike a bind string, fails on a missing source instead of making
	// a directory that belongs to root. Private: nothing mounted in there
	// later shows on the other side.
	return mount.Mount{
		Type: mount.TypeBind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly,
		BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate},
	}
}

func limits(spec Spec) container.Resources {
	r := container.Resources{Memory: spec.Memory}
	if spec.Memory > 0 {
		r.MemorySwap = spec.Memory // no swap on top: the limit is the limit
	}
	if spec.Pids > 0 {
		pids := spec.Pids
		r.PidsLimit = &pids
	}
	return r
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Start implements Backend.
func (d *Docker) Start(ctx context.Context, id string) error {
	found, err := d.inspect(ctx, id)
	if err != nil {
		return err
	}
	if found == nil {
		return errMissing(id)
	}
	// The engine would run an ended container once more.
	if found.State.Status != container.StateCreated {
		return errStarted(id)
	}
	if _, err := d.api.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		if errdefs.IsNotFound(err) && strings.Contains(err.Error(), "network") {
			return noNetwork(string(found.HostConfig.NetworkMode), err)
		}
		return d.failed("start container "+id, err)
	}
	return nil
}

// inspect returns the engine's view of a container of ours, nil if there is
// none.
func (d *Docker) inspect(ctx context.Context, id string) (*container.InspectResponse, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	found, err := d.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, d.failed("show container "+id, err)
	}
	c := found.Container
	// A stranger's container that has our name is none of ours.
	if c.Config == nil || c.Config.Labels[Label] != id || c.State == nil {
		return nil, nil
	}
	return &c, nil
}

// Inspect implements Backend.
func (d *Docker) Inspect(ctx context.Context, id string) (Status, error) {
	found, err := d.inspect(ctx, id)
	if err != nil || found == nil {
		return Status{}, err
	}
	return status(found.State), nil
}

func status(s *container.State) Status {
	st := Status{Exists: true, Running: s.Running || s.Paused}
	// A start that failed leaves "created" behind, with its reason.
	st.Started = s.Status != container.StateCreated || s.Error != ""
	if st.Started && !st.Running {
		st.Exit = exit(s)
	}
	return st
}

func exit(s *container.State) Exit {
	e := Exit{Code: s.ExitCode, OOM: s.OOMKilled, Err: s.Error}
	if t, err := time.Parse(time.RFC3339Nano, s.FinishedAt); err == nil && t.Year() > 1 {
		e.Finished = t
	}
	if s.ExitCode > 128 {
		e.Signal = unix.SignalName(syscall.Signal(s.ExitCode - 128))
	}
	return e
}

// Wait implements Backend.
func (d *Docker) Wait(ctx context.Context, id string) (Exit, error) {
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		e, err := d.waitOnce(ctx, id)
		// An engine that restarts is no news about the container: ask again.
		if err == nil || !fault.Is(err, fault.Unavailable) || ctx.Err() != nil {
			return e, err
		}
		if sleep.For(ctx, delay) != nil {
			return Exit{}, err
		}
	}
}

func (d *Docker) waitOnce(ctx context.Context, id string) (Exit, error) {
	found, err := d.inspect(ctx, id)
	if err != nil {
		return Exit{}, err
	}
	if found == nil {
		return Exit{}, errMissing(id)
	}
	// The engine answers for a created container at once, with status 0.
	if !status(found.State).Started {
		return Exit{}, errNotStarted(id)
	}
	wait := d.api.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case err := <-wait.Error:
		switch {
		case errdefs.IsNotFound(err):
			return Exit{}, errMissing(id)
		case ctx.Err() != nil:
			return Exit{}, fmt.Errorf("wait for container %s: %w", id, ctx.Err())
		}
		return Exit{}, fault.Wrap(err, fault.Unavailable, "the container engine broke off while container %s was waited for", id).Named("docker_down")
	case <-wait.Result:
	}
	// The answer has a code only. When, and whether memory was the reason, is
	// told by inspect.
	if found, err = d.inspect(ctx, id); err != nil {
		return Exit{}, err
	}
	if found == nil {
		return Exit{}, errMissing(id)
	}
	return exit(found.State), nil
}

// List implements Backend.
func (d *Docker) List(ctx context.Context) ([]string, error) {
	found, err := d.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", Label)})
	if err != nil {
		return nil, d.failed("list containers", err)
	}
	var ids []string
	for _, c := range found.Items {
		id := c.Labels[Label]
		if checkID(id) != nil {
			continue
		}
		// Several launchers may share an engine. The label is the ULID alone,
		// so what tells them apart is whose run directory is mounted.
		if slices.ContainsFunc(c.Mounts, func(m container.MountPoint) bool { return supervise.Within(d.runDir(id), filepath.Clean(m.Source)) }) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Signal implements Backend.
func (d *Docker) Signal(ctx context.Context, id string, sig syscall.Signal) error {
	found, err := d.inspect(ctx, id)
	if err != nil {
		return err
	}
	if found == nil {
		return errMissing(id)
	}
	if _, err := d.api.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: strconv.Itoa(int(sig))}); err != nil {
		if errdefs.IsConflict(err) || errdefs.IsNotFound(err) || strings.Contains(err.Error(), "is not running") {
			return errNotRunning(id)
		}
		return d.failed("signal container "+id, err)
	}
	return nil
}

// Kill implements Backend. The engine ends PID 1 and with it, by the kernel's
// hand, its whole PID namespace.
func (d *Docker) Kill(ctx context.Context, id string) error {
	err := d.Signal(ctx, id, syscall.SIGKILL)
	if fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// Remove implements Backend.
func (d *Docker) Remove(ctx context.Context, id string) error {
	found, err := d.inspect(ctx, id)
	if err != nil || found == nil {
		return err
	}
	return d.remove(ctx, id)
}

// remove ends and forgets a container by its name.
func (d *Docker) remove(ctx context.Context, id string) error {
	for {
		// Volumes: an image may declare some, and they would stay for ever.
		_, err := d.api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		switch {
		case err == nil, errdefs.IsNotFound(err):
			return nil
		case !errdefs.IsConflict(err):
			return d.failed("remove container "+id, err)
		}
		// Somebody else is removing it: wait for the end of that.
		if sleep.For(ctx, 20*time.Millisecond) != nil {
			return d.failed("remove container "+id, err)
		}
	}
}

// Output implements Backend.
func (d *Docker) Output(ctx context.Context, id string, limit int) ([]byte, error) {
	found, err := d.inspect(ctx, id)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, errMissing(id)
	}
	return d.output(ctx, id, limit)
}

func (d *Docker) output(ctx context.Context, name string, limit int) ([]byte, error) {
	logs, err := d.api.ContainerLogs(ctx, name, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "200"})
	if err != nil {
		return nil, d.failed("read the output of container "+name, err)
	}
	defer logs.Close()
	var b bytes.Buffer
	// The driver keeps 1 MiB; the margin is for the framing.
	if _, err := stdcopy.StdCopy(&b, &b, io.LimitReader(logs, 4<<20)); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("read the output of container %s: %w", name, err)
	}
	out := b.Bytes()
	return out[max(0, len(out)-max(limit, 0)):], nil
}
