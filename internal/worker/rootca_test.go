package worker

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

func TestARunBelievesItsImagesAuthoritiesAndTheLaunchers(t *testing.T) {
	t.Parallel()
	own := filepath.Join(t.TempDir(), "own.pem")
	if err := os.WriteFile(own, []byte("the image's"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bundle")
	image := []string{"PATH=/bin", "REQUESTS_CA_BUNDLE=" + own, "AWS_CA_BUNDLE=" + own}
	job := &wire.WorkerJob{RootCAs: "the launcher's\n", Environment: []wire.Variable{{Name: "GIT_SSL_CAINFO", Value: "/stack"}}}
	env, err := believe(job, image, path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"PATH=/bin", "SSL_CERT_FILE=" + path, "REQUESTS_CA_BUNDLE=" + path, "CURL_CA_BUNDLE=" + path} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is missing in %q", want, env)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(string(data), "the image's\nthe launcher's\n") || strings.Count(string(data), "the image's") != 1 {
		t.Errorf("the bundle ends with %q, %v", data[max(0, len(data)-60):], err)
	}
	if got := newEnviron(env, job, nil, "", "/home").now["GIT_SSL_CAINFO"]; got != "/stack" {
		t.Errorf("the stack's own is replaced by %q", got)
	}
	if same, err := believe(&wire.WorkerJob{}, image, path+"-none"); err != nil || !slices.Equal(same, image) {
		t.Errorf("without an authority: %q, %v", same, err)
	}
}
