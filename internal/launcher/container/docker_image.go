package container

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/client"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// EnsureImage implements Backend.
func (d *Docker) EnsureImage(ctx context.Context, ref string, progress func(line string)) (Image, error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return Image{}, fault.Wrap(err, fault.Invalid, "%q is not the name of an image", ref).Named("image_name")
	}
	img, err := d.localImage(ctx, ref, named)
	if err == nil || !errdefs.IsNotFound(err) {
		return img, err
	}
	if err := d.pull(ctx, ref, named, progress); err != nil {
		return Image{}, err
	}
	if img, err = d.localImage(ctx, ref, named); err != nil {
		return Image{}, d.failed("show image "+ref, err)
	}
	img.Pulled = true
	return img, nil
}

// localImage looks an image up in the engine. A missing one is an error that
// errdefs knows as not found.
func (d *Docker) localImage(ctx context.Context, ref string, named reference.Named) (Image, error) {
	found, err := d.api.ImageInspect(ctx, ref)
	if errdefs.IsNotFound(err) {
		return Image{}, err
	}
	if err != nil {
		return Image{}, d.failed("show image "+ref, err)
	}
	img := Image{ID: found.ID, Ref: ref, OS: found.Os, Arch: found.Architecture, Digest: registryDigest(found.RepoDigests, named)}
	arch, err := d.engineArch(ctx)
	if err != nil {
		return Image{}, err
	}
	// Without this the worker would end with "exec format error", or run under
	// an emulator that nobody asked for.
	if img.OS != "linux" || img.Arch != arch {
		return Image{}, fault.New(fault.Unsupported, "image %s is for %s/%s and this worker is linux/%s", ref, img.OS, img.Arch, arch).
			Named("image_platform").WithHint("use an image for linux/%s", arch)
	}
	return img, nil
}

// registryDigest picks the digest under which the named repository knows the
// image; an image may have come from several.
func registryDigest(digests []string, named reference.Named) string {
	for _, s := range digests {
		r, err := reference.ParseNormalizedNamed(s)
		if err != nil || r.Name() != named.Name() {
			continue
		}
		if digested, ok := r.(reference.Digested); ok {
			return digested.Digest().String()
		}
	}
	return ""
}

func (d *Docker) pull(ctx context.Context, ref string, named reference.Named, progress func(line string)) error {
	host := reference.Domain(named)
	options := client.ImagePullOptions{}
	if d.opts.Auth != nil {
		auth, err := d.opts.Auth(ctx, host)
		if err != nil {
			return fault.Wrap(err, fault.Forbidden, "no credentials could be had for the registry of image %s", ref).Named("image_credentials")
		}
		options.RegistryAuth = auth
	}
	if progress == nil {
		progress = func(string) {}
	}
	progress("Pulling image " + ref)
	resp, err := d.api.ImagePull(ctx, ref, options)
	if err != nil {
		return d.pullFailed(ref, host, err)
	}
	defer resp.Close()
	// The stream must be read to its end: the pull stops otherwise, and its
	// failure is told nowhere else.
	for m, err := range resp.JSONMessages(ctx) {
		if err != nil {
			return d.pullFailed(ref, host, err)
		}
		if m.Error != nil {
			return d.pullFailed(ref, host, m.Error)
		}
		// Byte counts arrive many times a second; only steps are for a log.
		if m.Progress == nil || m.Progress.Total == 0 {
			if line := pullLine(m.ID, m.Status); line != "" {
				progress(line)
			}
		}
	}
	return nil
}

func pullLine(id, status string) string {
	switch {
	case status == "":
		return ""
	case id == "":
		return status
	}
	return fmt.Sprintf("%s: %s", id, status)
}

// pullFailed sorts a registry's refusal. Registries answer "denied" for a
// repository that doesn't exist as well, so the sentence names both.
func (d *Docker) pullFailed(ref, host string, err error) error {
	if client.IsErrConnectionFailed(err) {
		return d.unreachable(err)
	}
	text := strings.ToLower(err.Error())
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("no matching manifest"):
		return fault.Wrap(err, fault.Unsupported, "image %s does not exist for this worker's platform (%s)", ref, engineText(err)).Named("image_platform")
	case errdefs.IsNotFound(err), has("manifest unknown", "not found", "name unknown"):
		return fault.Wrap(err, fault.NotFound, "image %s is neither on this worker nor in the registry %s", ref, host).
			Named("image").WithHint("check its name and tag")
	case errdefs.IsUnauthorized(err), errdefs.IsPermissionDenied(err), has("denied", "unauthorized", "no basic auth", "authentication required"):
		return fault.Wrap(err, fault.Forbidden, "the registry %s does not give out image %s: it does not exist there or needs credentials", host, ref).
			Named("image").WithHint("check its name, and the worker's registry credentials")
	}
	return fault.Wrap(err, fault.Unavailable, "image %s is not on this worker and could not be pulled (%s)", ref, engineText(err)).
		Named("image").WithHint("check that this worker's engine reaches the registry %s", host)
}
