package container

import (
	"errors"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/jsonstream"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

func TestWhatAnEngineSaysOfAPullIsSortedAndShownWithoutSecrets(t *testing.T) {
	t.Parallel()
	d, err := NewDocker(DockerOptions{DataDir: "/data", RunsDir: "/data/runs"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	const host = "registry.test"
	for text, c := range map[string]struct {
		ref   string
		code  fault.Code
		again bool
	}{
		"received unexpected HTTP status: 502 Bad Gateway":                                          {"a", "unavailable.image", true},
		"toomanyrequests: You have reached your pull rate limit":                                    {"a", "unavailable.image", true},
		`Get "https://registry.test/v2/": net/http: TLS handshake timeout`:                          {"a", "unavailable.image", true},
		`Get "https://s3.test/layer?X-Amz-Signature=canary": dial tcp: i/o timeout`:                 {"a", "unavailable.image", true},
		`Get "https://user:canary@registry.test/v2/": EOF`:                                          {"a", "unavailable.image", true},
		`Get "https://registry.test/v2/": x509: certificate signed by unknown authority`:            {"a", "unavailable.image_certificate", false},
		`Get "https://registry.test/v2/": http: server gave HTTP response to HTTPS client`:          {"a", "unavailable.image_plain_http", false},
		`Get "https://registry.test/v2/": no basic auth credentials`:                                {"a", "forbidden.image", false},
		"pull access denied for registry.test/a, repository does not exist":                         {"a", "forbidden.image", false},
		"manifest for registry.test/a:latest not found: manifest unknown: manifest unknown":         {"a", "not_found.image", false},
		"manifest for registry.test/denied/eof/x509:1 not found":                                    {"denied/eof/x509:1", "not_found.image", false},
		`Head "https://registry.test/v2/denied/manifests/1": manifest unknown`:                      {"denied:1", "not_found.image", false},
		"no matching manifest for linux/arm64/v8 in the manifest list entries":                      {"a", "unsupported.image_platform", false},
		"failed to register layer: write /usr/lib/x: no space left on device":                       {"a", "unavailable.image_disk", false},
		`Get "https://registry.test/v2/": dial tcp: lookup registry.test on 10.0.0.2: no such host`: {"a", "unavailable.image", false},
		"something that no version has said before":                                                 {"a", "unavailable.image", false},
	} {
		err := d.pullFailed(host+"/"+c.ref, host, errors.New("Error response from daemon: "+text))
		f := fault.As(err)
		var again *troubled
		if f == nil || f.Code != c.code || errors.As(err, &again) != c.again {
			t.Errorf("%s: got %v", text, err)
			continue
		}
		if s := err.Error(); strings.Contains(s, "canary") || !strings.Contains(s, host) {
			t.Errorf("%s: got %s", text, s)
		}
	}
}

func TestTheStateOfAPullIsTheSumOfItsLayers(t *testing.T) {
	t.Parallel()
	var p pullProgress
	steps := []struct {
		m    jsonstream.Message
		want string
	}{
		{jsonstream.Message{ID: "1.2", Status: "Pulling from team/image"}, ""},
		{jsonstream.Message{ID: "a", Status: "Already exists"}, "1 of 1 layers, 0.0 kB of 0.0 kB"},
		{jsonstream.Message{ID: "b", Status: "Pulling fs layer"}, "1 of 2 layers, 0.0 kB of 0.0 kB"},
		{jsonstream.Message{ID: "b", Status: "Downloading", Progress: &jsonstream.Progress{Current: 1_500_000, Total: 3_000_000_000}}, "1 of 2 layers, 1.5 MB of 3.0 GB"},
		{jsonstream.Message{ID: "b", Status: "Download complete"}, "1 of 2 layers, 3.0 GB of 3.0 GB"},
		{jsonstream.Message{ID: "b", Status: "Extracting", Progress: &jsonstream.Progress{Current: 5, Total: 10}}, "1 of 2 layers, 3.0 GB of 3.0 GB"},
		{jsonstream.Message{ID: "b", Status: "Pull complete"}, "2 of 2 layers, 3.0 GB of 3.0 GB"},
		{jsonstream.Message{Status: "Digest: sha256:0"}, "2 of 2 layers, 3.0 GB of 3.0 GB"},
	}
	for _, s := range steps {
		p.heard(s.m)
		if got := p.line(); got != s.want {
			t.Errorf("after %+v: %q", s.m, got)
		}
	}
	p.status("trying again")
	if p.line() != "trying again" || p.total() != " (3.0 GB)" {
		t.Errorf("got %q, %q", p.line(), p.total())
	}
	// Once the engine is heard again, so is how far the layers are.
	p.heard(jsonstream.Message{Status: "Digest: sha256:0"})
	if p.line() != "2 of 2 layers, 3.0 GB of 3.0 GB" {
		t.Errorf("got %q", p.line())
	}
}
