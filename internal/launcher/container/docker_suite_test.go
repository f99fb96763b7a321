//go:build docker

package container_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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

// The image's own user may be the launcher's too, as on the machine images that
// start it with the docker group and nothing else.
func TestBothBackendsConformWhereTheLauncherIsTheRunsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test becomes another user: run it as root")
	}
	socket, found := strings.CutPrefix(testkit.Docker(t).DaemonHost(), "unix://")
	if !found {
		t.Fatal("this test needs an engine on a socket: run scripts/dockerd.sh start without DOCKER_HOST")
	}
	st, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	// Everything that the other user needs, in a directory of its own.
	dir, err := os.MkdirTemp("", "spaceport-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for from, name := range map[string]string{self: "suite", containertest.BuildWorker(t): "worker"} {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, container.RunUID, container.RunGID); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "suite"), "-test.run", "^TestThe(Docker|Process)BackendConforms$", "-test.v")
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "DOCKER_HOST=unix://" + socket,
		containertest.WorkerVariable + "=" + filepath.Join(dir, "worker"),
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{
		Uid: container.RunUID, Gid: container.RunGID, Groups: []uint32{st.Sys().(*syscall.Stat_t).Gid},
	}}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "\n--- PASS: TestThe") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
}
