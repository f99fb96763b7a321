package container

import (
	"regexp"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// troubled marks a failure that may pass by itself.
type troubled struct {
	error
	cause error
}

func (t *troubled) Unwrap() error { return t.error }

// passing are words in an engine's error that speak of a registry, or the way to
// it, in trouble.
var passing = []string{
	"unexpected http status: 5", "status code 5", "status 5", "internal server error", "bad gateway", "service unavailable", "gateway timeout",
	"toomanyrequests", "too many requests", "unexpected http status: 429",
	"i/o timeout", "tls handshake timeout", "client.timeout", "deadline exceeded", "connection reset", "broken pipe", "unexpected eof", ": eof",
	"connection refused", "temporary failure in name resolution", "server misbehaving",
}

// pullFailed sorts a registry's refusal. Registries answer "denied" for a
// repository that doesn't exist as well, so the sentence names both.
func (d *Docker) pullFailed(ref, host string, err error) error {
	if client.IsErrConnectionFailed(err) {
		return d.unreachable(err)
	}
	text := strings.ToLower(withoutName(err.Error(), ref, host))
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	said := clean(engineText(err))
	switch {
	case has("no matching manifest"):
		return fault.Wrap(err, fault.Unsupported, "image %s does not exist for this worker's platform (%s)", ref, said).
			Named("image_platform").WithHint("build it for that platform, or use workers of the image's own")
	case has("x509:", "certificate signed by", "certificate is not"):
		return fault.Wrap(err, fault.Unavailable, "the container engine does not trust the certificate of registry %s (%s)", host, said).
			Named("image_certificate").WithHint("put the CA's certificate on this worker as /etc/docker/certs.d/%s/ca.crt", host)
	case has("server gave http response to https client"):
		return fault.Wrap(err, fault.Unavailable, "the registry %s speaks plain HTTP, which the container engine does not accept", host).
			Named("image_plain_http").WithHint("give the registry a certificate, or list it in the engine's insecure-registries")
	case has(passing...):
		f := fault.Wrap(err, fault.Unavailable, "image %s is not on this worker and could not be pulled (%s)", ref, said).
			Named("image").WithHint("see whether the registry %s is well; the run can be tried again", host)
		return &troubled{error: f, cause: err}
	case errdefs.IsNotFound(err), has("manifest unknown", "not found", "name unknown"):
		return fault.Wrap(err, fault.NotFound, "image %s is neither on this worker nor in the registry %s", ref, host).
			Named("image").WithHint("check its name and tag")
	case errdefs.IsUnauthorized(err), errdefs.IsPermissionDenied(err), has("denied", "unauthorized", "no basic auth", "authentication required"):
		return fault.Wrap(err, fault.Forbidden, "the registry %s does not give out image %s: it does not exist there, or this worker's credentials are missing or wrong", host, ref).
			Named("image").WithHint("check the image's name and the credentials in the directory that SPACELIFT_DOCKER_CONFIG_DIR names")
	case has("no space left"):
		return fault.Wrap(err, fault.Unavailable, "there is no room on this worker's disk for image %s", ref).
			Named("image_disk").WithHint("free space where the container engine keeps its images")
	}
	return fault.Wrap(err, fault.Unavailable, "image %s is not on this worker and could not be pulled (%s)", ref, said).
		Named("image").WithHint("check that this worker's engine reaches the registry %s", host)
}

// withoutName takes the image's own name, which may hold any word that an error is
// known by, out of a sentence. A short one alone is left: it may be a word.
func withoutName(text, ref, host string) string {
	name, _, _ := strings.Cut(ref, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	path := strings.TrimPrefix(name, host+"/")
	forms := []string{ref, "", "/v2/" + path + "/", ""}
	for _, form := range []string{name, path} {
		if strings.Contains(form, "/") {
			forms = append(forms, form, "")
		}
	}
	return strings.NewReplacer(forms...).Replace(text)
}

// Layers lie behind signed addresses and proxies behind ones with passwords; an
// engine's error may repeat either.
var (
	addressQuery = regexp.MustCompile(`\?[^\s"']+`)
	addressUser  = regexp.MustCompile(`://[^/\s"'@]+@`)
)

// clean takes what opens something out of an engine's sentence.
func clean(text string) string {
	return addressUser.ReplaceAllString(addressQuery.ReplaceAllString(text, "?…"), "://…@")
}
