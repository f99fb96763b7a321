//go:build docker

package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestARunnerImageRunsAShellAsTheRunsUserWithTheToolsAskedFor(t *testing.T) {
	t.Parallel()
	// A tool of the test's own: the image of it differs from all others, so
	// this is also what a first import does.
	tool := filepath.Join(t.TempDir(), "my-tool")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\necho \"$(id -un) $(id -u)\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	image := RunnerImage(t, tool)
	t.Cleanup(func() {
		if b, err := exec.Command("docker", "rmi", image).CombinedOutput(); err != nil {
			t.Errorf("remove the image: %v\n%s", err, b)
		}
	})
	b, err := exec.Command("docker", "run", "--rm", "--network", "none", image, "sh", "-c", tool).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if string(b) != "spacelift 1983\n" {
		t.Errorf("it said %q", b)
	}
}
