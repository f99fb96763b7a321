package container

import (
	"context"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// EnsureImage implements Backend. Calls for one reference at the same time share
// one pull.
func (d *Docker) EnsureImage(ctx context.Context, ref string, progress func(line string)) (Image, error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return Image{}, fault.Wrap(err, fault.Invalid, "%q is not the name of an image", ref).Named("image_name")
	}
	if progress == nil {
		progress = func(string) {}
	}
	img, err := d.useImage(ctx, ref, named)
	if err == nil || !errdefs.IsNotFound(err) {
		return img, err
	}
	if err := d.pull(ctx, ref, named, progress); err != nil {
		return Image{}, err
	}
	if img, err = d.useImage(ctx, ref, named); errdefs.IsNotFound(err) {
		return Image{}, d.failed("show image "+ref, err)
	}
	img.Pulled = err == nil
	return img, err
}

// useImage looks an image up and notes that it is used, in one step as far as
// anybody is concerned who removes unused images: what is returned stays for the
// time of retention at least.
func (d *Docker) useImage(ctx context.Context, ref string, named reference.Named) (Image, error) {
	unlock, err := d.pulled.lock(ctx)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	img, err := d.localImage(ctx, ref, named)
	if err != nil {
		return Image{}, err
	}
	return img, d.pulled.used(img.ID, d.now())
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
