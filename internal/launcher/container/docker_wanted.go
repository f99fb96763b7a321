package container

import (
	"context"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Wanted is what a launcher's settings want of an engine for every container.
type Wanted struct {
	Network, Runtime string // empty: the engine's own
	Mounts           []WantedMount
}

// WantedMount is a mount of the operator's, and the setting it comes from.
type WantedMount struct {
	Mount
	Setting string
}

// probeImage is a name that no image has: the top-level domain "invalid" is
// reserved for that.
const probeImage = "spaceport.invalid/probe:none"

// checkWanted finds out whether the engine has what the settings want, so that a
// wrong one stops the start and not each run. Once it was there it is not asked
// for again.
func (d *Docker) checkWanted(ctx context.Context) error {
	d.mu.Lock()
	done := d.wanted
	d.mu.Unlock()
	if done {
		return nil
	}
	w := d.opts.Wanted
	if w.Network != "" {
		_, err := d.api.NetworkInspect(ctx, w.Network, client.NetworkInspectOptions{})
		switch {
		case errdefs.IsNotFound(err):
			return noNetwork(w.Network, err)
		case err != nil:
			return d.failed("show network "+w.Network, err)
		}
	}
	if w.Runtime != "" {
		if err := d.probe(ctx, w.Runtime, nil); err != nil {
			return noRuntime(w.Runtime, err)
		}
	}
	for _, m := range w.Mounts {
		if err := d.probe(ctx, "", []mount.Mount{bind(m.Mount)}); err != nil {
			return fault.Wrap(err, fault.Invalid, "%s: the container engine cannot mount %s at %s (%s)", m.Setting, m.Source, m.Target, engineText(err)).
				Named("docker_mount").WithHint("make it on this worker, or change the setting")
		}
	}
	d.mu.Lock()
	d.wanted = true
	d.mu.Unlock()
	return nil
}

// probe asks the engine for a container of an image that does not exist. It looks
// at the settings first, on its own side of whatever lies between it and us, and
// makes nothing: that the image is missing means that all else is well.
func (d *Docker) probe(ctx context.Context, runtime string, mounts []mount.Mount) error {
	made, err := d.api.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config:     &container.Config{Image: probeImage},
		HostConfig: &container.HostConfig{Runtime: runtime, Mounts: mounts, NetworkMode: "none"},
	})
	switch {
	case err == nil: // somebody gave an image that name
		return d.remove(ctx, made.ID)
	case errdefs.IsInvalidArgument(err), badRuntime(err):
		return err
	}
	// The engine's other troubles are found out and told elsewhere.
	return nil
}

func badRuntime(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "unknown runtime") || strings.Contains(text, "unknown or invalid runtime")
}

func noRuntime(runtime string, err error) error {
	return fault.Wrap(err, fault.Unsupported, "SPACELIFT_WORKER_RUNTIME: the container engine does not know the runtime %q", runtime).
		Named("docker_runtime").WithHint("install it, or change the setting")
}

func noNetwork(network string, err error) error {
	return fault.Wrap(err, fault.Invalid, "SPACELIFT_WORKER_NETWORK: the container engine has no network %q", network).
		Named("docker_network").WithHint("make it with docker network create %s, or change the setting", network)
}
