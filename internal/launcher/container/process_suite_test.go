package container_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/container/containertest"
)

func processFixture(noMounts bool) func(t *testing.T) containertest.Fixture {
	return func(t *testing.T) containertest.Fixture {
		data := t.TempDir()
		f := containertest.Fixture{DataDir: data, RunsDir: filepath.Join(data, "runs")}
		f.Reopen = func(t *testing.T) container.Backend {
			b, err := container.NewProcess(container.ProcessOptions{DataDir: f.DataDir, RunsDir: f.RunsDir, NoMounts: noMounts})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = b.Close() })
			return b
		}
		f.Backend = f.Reopen(t)
		return f
	}
}

func TestTheProcessBackendConforms(t *testing.T) {
	f := processFixture(false)(t)
	if os.Geteuid() == 0 && !f.Backend.Capabilities().MountAt {
		t.Error("root should be able to make mounts here")
	}
	containertest.Run(t, processFixture(false))
}

func TestTheProcessBackendConformsWithoutMounts(t *testing.T) {
	containertest.Run(t, processFixture(true))
}

// Told nothing, the backend that can be told to fail keeps every promise: what a test
// sees with it is the mood's doing.
func TestTheFaultyBackendConforms(t *testing.T) {
	containertest.Run(t, func(t *testing.T) containertest.Fixture {
		f := processFixture(false)(t)
		reopen := f.Reopen
		f.Reopen = func(t *testing.T) container.Backend { return containertest.NewFaulty(reopen(t)) }
		f.Backend = containertest.NewFaulty(f.Backend)
		return f
	})
}
