//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const benchmarking = false

// A newcomer clones the repository and runs one command.
func TestQuickstartFromACleanClone(t *testing.T) {
	t.Parallel()
	top, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	clone := filepath.Join(t.TempDir(), "spaceport")
	run(t, nil, "git", "clone", "-q", top, clone)
	build := exec.Command("make", "build")
	build.Dir = clone
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
	for _, backend := range []string{"docker", "process"} {
		t.Run(backend, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			quickstart := func(extra ...string) string {
				argv := append([]string{filepath.Join(clone, "bin", "spaceport"), "quickstart", "--yes", "--once", "--backend", backend, "--data", data}, extra...)
				out, err := tryRun(nil, argv...)
				if err != nil {
					t.Fatalf("quickstart: %v\n%s", err, out)
				}
				return out
			}
			first := quickstart()
			if !strings.Contains(first, "FINISHED") {
				t.Errorf("quickstart does not say that the run has FINISHED:\n%s", first)
			}
			second := quickstart("--json")
			for _, line := range strings.Split(strings.TrimSpace(second), "\n") {
				if !json.Valid([]byte(line)) {
					t.Errorf("--json printed a line that is no JSON: %q", line)
				}
			}
			if !strings.Contains(second, "FINISHED") {
				t.Errorf("started again, quickstart does not go on with what it finds:\n%s", second)
			}
		})
	}
	t.Run("without terraform and tofu", func(t *testing.T) {
		// Only what is linked here is on PATH.
		path := t.TempDir()
		for _, name := range []string{"git", "sh", "cat", "echo", "sleep", "date", "mkdir", "env", "id", "ls"} {
			full, err := exec.LookPath(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(full, filepath.Join(path, name)); err != nil {
				t.Fatal(err)
			}
		}
		out, err := tryRun([]string{"PATH=" + path}, filepath.Join(clone, "bin", "spaceport"), "quickstart", "--yes", "--once",
			"--backend", "process", "--data", filepath.Join(t.TempDir(), "data"))
		if err != nil {
			t.Fatalf("quickstart: %v\n%s", err, out)
		}
		if !strings.Contains(out, "FINISHED") || !strings.Contains(out, "terraform") {
			t.Errorf("quickstart should say that there is no terraform, and finish all the same:\n%s", out)
		}
	})
}
