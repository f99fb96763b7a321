package tool

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

func fake(t *testing.T, path, version string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho '{\"terraform_version\":%q}'\n", version)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

func setup(t *testing.T, images bool, host string, installed ...string) *Finder {
	t.Helper()
	data, bin := t.TempDir(), t.TempDir()
	for _, v := range installed {
		fake(t, filepath.Join(data, "tools", "terraform", v, "terraform"), v)
	}
	if host != "" {
		fake(t, filepath.Join(bin, "terraform"), host)
	}
	s, err := NewStore(filepath.Join(data, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(Options{DataDir: data, Path: bin, Images: images}, s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTheToolComesFromTheDirectoryElseTheHostElseTheImage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, host, asked string
		installed         []string
		images            bool
		version, from     string
		fault             string
	}{
		{name: "the newest that fits", asked: "~> 1.5", installed: []string{"1.5.7", "1.9.0", "2.0.0"}, host: "1.8.0", version: "1.9.0", from: "tools directory"},
		{name: "an exact one", asked: "1.5.7", installed: []string{"1.5.7", "1.9.0"}, version: "1.5.7", from: "tools directory"},
		{name: "a range with spaces", asked: ">= 1.6 < 1.9", installed: []string{"1.5.7", "1.9.0"}, host: "1.8.0", version: "1.8.0", from: "host"},
		{name: "any, from the host", asked: "", host: "1.8.0", version: "1.8.0", from: "host"},
		{name: "any, from the image", asked: "", images: true},
		{name: "any, from nowhere", asked: "", fault: "terraform in any version is not on this worker, which has none"},
		{name: "one that is nowhere", asked: "1.2.3", images: true, installed: []string{"1.5.7"}, host: "1.8.0", fault: "terraform 1.2.3 is not on this worker, which has 1.5.7 in the tools directory, 1.8.0 on the host"},
		{name: "no version at all", asked: "latest", fault: `"latest" is no version of terraform`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := setup(t, c.images, c.host, c.installed...).Find(t.Context(), wire.Vendor{Name: "terraform", Version: c.asked})
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Fatalf("got %+v, %v", got, err)
				}
				return
			}
			if err != nil || got.Version != c.version || got.From != c.from {
				t.Fatalf("got %+v, %v", got, err)
			}
			if got.Path != "" && !strings.Contains(got.Path, "/bin/") {
				t.Fatalf("%s is not in the store", got.Path)
			}
		})
	}
}

func TestABinaryIsKeptOnceByItsContent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := NewStore(filepath.Join(dir, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	fake(t, filepath.Join(dir, "a"), "1")
	fake(t, filepath.Join(dir, "b"), "1")
	one, err := s.Keep(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.Keep(filepath.Join(dir, "b"))
	if err != nil || one != two {
		t.Fatalf("%s and %s, %v", one, two, err)
	}
	fake(t, filepath.Join(dir, "a"), "22")
	if three, err := s.Keep(filepath.Join(dir, "a")); err != nil || three == one {
		t.Fatalf("%s after a change, %v", three, err)
	}
}
