package container

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/distribution/reference"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// fakeEngine answers on a socket as an engine with these properties would.
func fakeEngine(t *testing.T, version, info string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "engine.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/version"):
			_, _ = fmt.Fprint(w, version)
		case strings.HasSuffix(r.URL.Path, "/info"):
			_, _ = fmt.Fprint(w, info)
		}
	}))
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	return path
}

func check(t *testing.T, host string) error {
	t.Helper()
	d, err := NewDocker(DockerOptions{DataDir: "/data", RunsDir: "/data/runs", Host: host})
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = d.Close() })
	return d.Check(t.Context())
}

func TestAnEngineThatCannotBeUsedIsNamedInOneSentence(t *testing.T) {
	t.Parallel()
	const linux = `{"Os":"linux","Arch":"amd64","ApiVersion":"1.41"}`
	dead := filepath.Join(t.TempDir(), "dead.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	for name, c := range map[string]struct {
		host string
		code fault.Code
		says string
	}{
		"no socket":       {"unix:///nowhere/engine.sock", "unavailable.docker_missing", "/nowhere/engine.sock"},
		"a dead socket":   {"unix://" + dead, "unavailable.docker_down", dead},
		"a closed port":   {"tcp://127.0.0.1:1", "unavailable.docker_unreachable", "127.0.0.1:1"},
		"no address":      {"engine", "invalid.docker_host", "DOCKER_HOST"},
		"remapped users":  {"unix://" + fakeEngine(t, linux, `{"SecurityOptions":["name=seccomp,profile=default","name=userns"]}`), "unsupported.docker_userns_remap", "userns-remap"},
		"rootless":        {"unix://" + fakeEngine(t, linux, `{"SecurityOptions":["name=rootless"]}`), "unsupported.docker_rootless", "rootless"},
		"podman":          {"unix://" + fakeEngine(t, `{"Os":"linux","Arch":"amd64","Components":[{"Name":"Podman Engine"}]}`, `{}`), "unsupported.docker_podman", "Podman"},
		"another system":  {"unix://" + fakeEngine(t, `{"Os":"windows","Arch":"amd64"}`, `{}`), "unsupported.docker_os", "windows"},
		"a usable engine": {"unix://" + fakeEngine(t, linux, `{"SecurityOptions":["name=seccomp,profile=default"]}`), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := check(t, c.host)
			if c.code == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if f := fault.As(err); f == nil || f.Code != c.code || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestASocketThatMayNotBeOpenedIsNamedWithTheUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("this test becomes another user: run it as root")
	}
	socket := fakeEngine(t, `{}`, `{}`)
	if err := os.Chmod(socket, 0o660); err != nil {
		t.Fatal(err)
	}
	// The other user must be able to execute this binary and to see the socket.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "spaceport-check-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program := filepath.Join(dir, "check")
	// By another program: a child that is started at this moment would hold a file
	// that we write open, and one that is open for writing cannot be executed.
	if out, err := exec.CommandContext(t.Context(), "cp", self, program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	moved := filepath.Join(dir, "engine.sock")
	for _, err := range []error{os.Chmod(dir, 0o755), os.Rename(socket, moved)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program, "check-docker", "unix://"+moved)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1983, Gid: 1983}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, word := range []string{moved, "uid 1983", "gid 1983", "belongs to uid 0, gid 0", "0660"} {
		if !strings.Contains(string(out), word) {
			t.Errorf("%q is missing in: %s", word, out)
		}
	}
}

func TestADigestIsThatOfTheNamedRepository(t *testing.T) {
	t.Parallel()
	const a = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	const b = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	digests := []string{"registry.test/mirror/tool@" + b, "tool@" + a}
	for ref, want := range map[string]string{
		"tool:1": a, "docker.io/library/tool": a, "registry.test/mirror/tool:2": b, "registry.test/other": "",
	} {
		named, err := reference.ParseDockerRef(ref)
		if err != nil {
			t.Fatal(err)
		}
		if got := registryDigest(digests, named); got != want {
			t.Errorf("%s: got %q", ref, got)
		}
	}
}
