//go:build docker

package launcher_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/testkit"
)

// The launcher may be root, to whom no file is closed, or the run's own user, to whom
// the container can close its files.
func TestAHostileContainerGainsNothingFromTheLauncher(t *testing.T) {
	t.Parallel()
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
	for name, user := range map[string]*syscall.Credential{
		"as root": nil,
		"as the run's user": {
			Uid: container.RunUID, Gid: container.RunGID, Groups: []uint32{st.Sys().(*syscall.Stat_t).Gid},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setupEngine(t, buildLauncher(t), nil)
			w.user = user
			if user != nil {
				for _, err := range []error{os.Chmod(filepath.Dir(w.repo), 0o755), os.Chown(w.data, container.RunUID, container.RunGID)} {
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			w.launch("SPACELIFT_STANDBY_ENABLED=true")
			w.hostile(filepath.Join(filepath.Dir(w.repo), "secret"))
		})
	}
}
