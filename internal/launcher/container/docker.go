package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moby/moby/client"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// DockerOptions configures the docker backend.
type DockerOptions struct {
	// DataDir is the launcher's data directory, RunsDir the directory of run
	// directories below it. Both are absolute.
	DataDir, RunsDir string
	// Host is the engine's address ("unix:///…", "tcp://…"). Empty: DOCKER_HOST
	// and its companions, else the default socket.
	Host string
	// Auth returns the credentials for a registry host in the header's own
	// encoding, or "" for none. It may be nil.
	Auth func(ctx context.Context, host string) (string, error)
	// Wanted is what the launcher's settings want of the engine. Check refuses
	// an engine that does not have it.
	Wanted Wanted
	// Now is the clock for notes about images; the host's if nil.
	Now func() time.Time
	// ProgressEvery is how often a pull says how far it is, PullRetry the first
	// pause after a registry's trouble, PullSilence how long a pull may make no
	// progress at all. Three seconds, one second and ten minutes if zero.
	ProgressEvery, PullRetry, PullSilence time.Duration
}

// Docker runs containers in an engine. It is safe for concurrent use.
type Docker struct {
	layout
	opts DockerOptions
	api  *client.Client

	pulled  pulledImages
	pulling sync.WaitGroup

	mu     sync.Mutex
	arch   string           // the engine's architecture, once it was asked
	pulls  map[string]*pull // by reference
	wanted bool             // the engine has what is wanted of it
}

var _ Backend = (*Docker)(nil)

// NewDocker makes the docker backend. It doesn't contact the engine, which may
// come up later than the launcher; Check does.
func NewDocker(o DockerOptions) (*Docker, error) {
	l, err := newLayout(o.DataDir, o.RunsDir)
	if err != nil {
		return nil, err
	}
	settings := []client.Opt{client.FromEnv}
	if o.Host != "" {
		settings = append(settings, client.WithHost(o.Host))
	}
	api, err := client.New(settings...)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the container engine's address cannot be used (%v)", err).
			Named("docker_host").WithHint("set DOCKER_HOST to something like unix:///var/run/docker.sock, or leave it out")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ProgressEvery <= 0 {
		o.ProgressEvery = 3 * time.Second
	}
	if o.PullRetry <= 0 {
		o.PullRetry = time.Second
	}
	if o.PullSilence <= 0 {
		o.PullSilence = 10 * time.Minute
	}
	return &Docker{layout: l, opts: o, api: api, pulled: pulledImages{filepath.Join(l.data, "images")}, pulls: map[string]*pull{}}, nil
}

// Name implements Backend.
func (d *Docker) Name() string { return "docker" }

// Capabilities implements Backend.
func (d *Docker) Capabilities() Capabilities {
	return Capabilities{Isolated: true, SurvivesLauncher: true, Images: true, MountAt: true, OwnUID: true, Limits: true}
}

// Close implements Backend.
func (d *Docker) Close() error {
	d.mu.Lock()
	for _, p := range d.pulls {
		p.cancel()
	}
	d.mu.Unlock()
	d.pulling.Wait()
	return d.api.Close()
}

func (d *Docker) now() time.Time { return d.opts.Now() }

// Client is the connection to the engine, for importing an image.
func (d *Docker) Client() *client.Client { return d.api }

// Check implements Backend.
func (d *Docker) Check(ctx context.Context) error {
	if _, err := d.api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return d.unreachable(err)
	}
	version, err := d.api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return d.unreachable(err)
	}
	for _, c := range version.Components {
		if strings.Contains(strings.ToLower(c.Name), "podman") {
			return unsupportedEngine("it is Podman", "podman")
		}
	}
	if version.Os != "linux" {
		return unsupportedEngine(fmt.Sprintf("it runs %s containers", version.Os), "os")
	}
	info, err := d.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return d.unreachable(err)
	}
	// Both kinds map the uids of a container to others on the host. Files of a
	// run would belong to nobody we know, and the check "owned by the run's
	// uid", on which reading out/ rests, would be worth nothing.
	for _, option := range info.Info.SecurityOptions {
		for _, part := range strings.Split(option, ",") {
			switch part {
			case "name=userns":
				return unsupportedEngine("it remaps users (userns-remap)", "userns_remap")
			case "name=rootless":
				return unsupportedEngine("it runs rootless and so remaps users", "rootless")
			}
		}
	}
	d.mu.Lock()
	d.arch = version.Arch
	d.mu.Unlock()
	return d.checkWanted(ctx)
}

func unsupportedEngine(why, name string) error {
	return fault.New(fault.Unsupported, "this container engine is not supported: %s", why).
		Named("docker_" + name).WithHint("use a Docker engine that runs as root and maps users one to one")
}

// unreachable turns a failed connection into one sentence that says which path
// was tried as whom.
func (d *Docker) unreachable(err error) error {
	host := d.api.DaemonHost()
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(err, fault.Unavailable, "the container engine at %s does not answer in time", host).Named("docker_timeout")
	}
	path := socketPath(host)
	if path == "" {
		return fault.Wrap(err, fault.Unavailable, "the container engine at %s cannot be reached (%v)", host, err).
			Named("docker_unreachable").WithHint("start the engine, or set DOCKER_HOST")
	}
	st, serr := os.Stat(path)
	switch {
	case errors.Is(serr, fs.ErrNotExist):
		return fault.Wrap(err, fault.Unavailable, "there is no container engine: the socket %s does not exist", path).
			Named("docker_missing").WithHint("start the engine, or set DOCKER_HOST to its address")
	case errors.Is(serr, fs.ErrPermission), serr == nil && denied(path):
		return fault.Wrap(err, fault.Forbidden, "the engine's socket %s may not be opened by this launcher (uid %d, gid %d, groups %v)%s",
			path, os.Geteuid(), os.Getegid(), groups(), ownerOf(st)).
			Named("docker_permission").WithHint("add the launcher's user to the socket's group and start it anew")
	}
	return fault.Wrap(err, fault.Unavailable, "nobody answers on the engine's socket %s", path).
		Named("docker_down").WithHint("start the engine")
}

func socketPath(host string) string {
	u, err := url.Parse(host)
	if err != nil || u.Scheme != "unix" {
		return ""
	}
	return u.Path
}

// denied asks the kernel whether this process may write to path. W_OK is 2.
func denied(path string) bool {
	return errors.Is(syscall.Access(path, 2), syscall.EACCES)
}

func groups() []int {
	g, err := os.Getgroups()
	if err != nil {
		return nil
	}
	return g
}

// ownerOf describes a socket's owner, as far as it could be seen.
func ownerOf(st fs.FileInfo) string {
	if st == nil {
		return ""
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("; it belongs to uid %d, gid %d with mode %04o", sys.Uid, sys.Gid, st.Mode().Perm())
}

// engineArch is the engine's architecture in Go's spelling.
func (d *Docker) engineArch(ctx context.Context) (string, error) {
	d.mu.Lock()
	arch := d.arch
	d.mu.Unlock()
	if arch != "" {
		return arch, nil
	}
	version, err := d.api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return "", d.failed("ask the container engine for its version", err)
	}
	if version.Arch == "" {
		version.Arch = runtime.GOARCH
	}
	d.mu.Lock()
	d.arch = version.Arch
	d.mu.Unlock()
	return version.Arch, nil
}

// failed wraps an engine's error: a fault where it cannot be reached, else what
// the engine said, which is written for people.
func (d *Docker) failed(what string, err error) error {
	if client.IsErrConnectionFailed(err) {
		return d.unreachable(err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fault.Wrap(err, fault.Internal, "the container engine refused to %s: %s", what, engineText(err)).Named("docker")
}

// engineText is the engine's own sentence without the client's prefix.
func engineText(err error) string {
	return strings.TrimSpace(strings.TrimPrefix(err.Error(), "Error response from daemon: "))
}
