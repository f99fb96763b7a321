//go:build docker

package container_test

import (
	"path/filepath"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/container/containertest"
	"github.com/spaceport-iac/spaceport/internal/testkit"
)

func TestTheDockerBackendConforms(t *testing.T) {
	image := testkit.RunnerImage(t)
	containertest.Run(t, func(t *testing.T) containertest.Fixture {
		data := t.TempDir()
		f := containertest.Fixture{DataDir: data, RunsDir: filepath.Join(data, "runs"), Image: image}
		f.Reopen = func(t *testing.T) container.Backend {
			b, err := container.NewDocker(container.DockerOptions{DataDir: f.DataDir, RunsDir: f.RunsDir})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = b.Close() })
			return b
		}
		f.Backend = f.Reopen(t)
		return f
	})
}
