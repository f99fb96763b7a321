//go:build docker

package launcher_test

import (
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/oklog/ulid/v2"

	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/testkit"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// engineWorld is a mothership, a repository and launchers that are processes of
// their own, with runs in a real engine.
type engineWorld struct {
	*world
	binary string
	image  string
	args   []string
	user   *syscall.Credential // of the launchers; this process's own if nil
}

// process is a launcher.
type process struct {
	cmd  *exec.Cmd
	log  *logged
	done chan struct{}
}

// buildLauncher builds the real launcher, which is the worker too.
func buildLauncher(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "spacelift-launcher")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", out, "../../cmd/spacelift-launcher")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the launcher: %v\n%s", err, b)
	}
	return out
}

func setupEngine(t *testing.T, binary string, files map[string]string) *engineWorld {
	t.Helper()
	w := &engineWorld{world: setup(t, files), binary: binary, image: testkit.RunnerImage(t)}
	t.Cleanup(func() {
		for _, b := range w.backends(t) {
			ids, err := b.List(context.Background())
			if err != nil {
				t.Error(err)
			}
			for _, id := range ids {
				if err := b.Remove(context.Background(), id); err != nil {
					t.Error(err)
				}
			}
			_ = b.Close()
		}
	})
	return w
}

// backends looks at the engine with the eyes of each of the world's launchers.
func (w *engineWorld) backends(t *testing.T) []*container.Docker {
	t.Helper()
	dirs, _ := filepath.Glob(filepath.Join(w.data, "slots", "*", "runs"))
	var all []*container.Docker
	for _, dir := range dirs {
		b, err := container.NewDocker(container.DockerOptions{DataDir: w.data, RunsDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

func (w *engineWorld) command(ctx context.Context, env ...string) (*exec.Cmd, *logged) {
	cmd := exec.CommandContext(ctx, w.binary, append([]string{"--data", w.data, "--allow-file-source"}, w.args...)...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nowhere", "SPACELIFT_TOKEN=" + w.Token.Encode(), "SPACELIFT_POOL_PRIVATE_KEY=" + w.KeyB64,
		"SPACELIFT_DEFAULT_RUNNER_IMAGE=" + w.image, "SPACELIFT_STANDBY_ENABLED=false",
	}
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		cmd.Env = append(cmd.Env, "DOCKER_HOST="+host)
	}
	cmd.Env = append(cmd.Env, env...)
	if w.user != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: w.user}
	}
	log := &logged{}
	cmd.Stdout, cmd.Stderr = log, log
	return cmd, log
}

// launch starts a launcher. It is told to leave at the test's end.
func (w *engineWorld) launch(env ...string) *process {
	w.t.Helper()
	cmd, log := w.command(context.Background(), env...)
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	p := &process{cmd: cmd, log: log, done: make(chan struct{})}
	go func() { defer close(p.done); _ = cmd.Wait() }()
	w.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(time.Minute):
			w.t.Error("the launcher did not leave")
			_ = cmd.Process.Kill()
			<-p.done
		}
		if w.t.Failed() {
			w.t.Log(log.String())
		}
	})
	return p
}

// refusesToStart fails unless a launcher exits with code 2 and one sentence.
func (w *engineWorld) refusesToStart(words []string, env ...string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cmd, log := w.command(ctx, env...)
	_ = cmd.Run()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	last := lines[len(lines)-1]
	if cmd.ProcessState.ExitCode() != 2 || !strings.HasPrefix(last, "spacelift-launcher: ") {
		w.t.Errorf("%v: exit code %d: %s", env, cmd.ProcessState.ExitCode(), log)
	}
	for _, word := range words {
		if !strings.Contains(last, word) {
			w.t.Errorf("%v: %q is missing in: %s", env, word, last)
		}
	}
}

// fifoGate is a directory that a run waits in until it is opened: reading the FIFO in
// it blocks.
func fifoGate(t *testing.T) (dir string, open func()) {
	t.Helper()
	dir = t.TempDir()
	for _, err := range []error{syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644), os.Chmod(dir, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f := make(chan *os.File, 1)
	go func() { // blocks until a run reads
		w, err := os.OpenFile(filepath.Join(dir, "fifo"), os.O_WRONLY, 0)
		if err == nil {
			f <- w
		}
	}()
	return dir, func() {
		t.Helper()
		select {
		case w := <-f:
			_ = w.Close()
		case <-time.After(time.Minute):
			t.Fatal("no run came to the gate")
		}
	}
}

const classes = `
init: "true"
workspaceSelect: "true"
workspaceNew: "true"
plan: sh look plan
showState: "true"
showPlan: cat plan.json
getOutputs: echo '{}'
apply: sh look apply
destroy: "true"
`

const look = `
echo "$1 file=$(cat /x/file) dir=$(cat /x/dir/in) ro=$(cat /x/ro/f 2>/dev/null) wo=$(cat /x/wo/f 2>/dev/null)"
echo "$1 both=$BOTH for-ro=$RONLY for-wo=$WONLY other=$OTHER hidden=$HIDDEN token=$SPACELIFT_TOKEN"
echo "$1" > /x/dir/by-$1
(echo "$1" > /x/locked/f) 2>/dev/null || echo "$1 may not write"
`

func TestEachSettingMeansSomethingToARealEngine(t *testing.T) {
	t.Parallel()
	binary := buildLauncher(t)

	t.Run("worker network", func(t *testing.T) {
		t.Parallel()
		w, api := setupEngine(t, binary, nil), testkit.Docker(t)
		name := "spaceport-test-" + strings.ToLower(ulid.MustNew(ulid.Now(), rand.Reader).String())
		if _, err := api.NetworkCreate(t.Context(), name, client.NetworkCreateOptions{Driver: "bridge"}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := api.NetworkRemove(context.Background(), name, client.NetworkRemoveOptions{}); err != nil {
				t.Error(err)
			}
		})
		found, err := api.NetworkInspect(t.Context(), name, client.NetworkInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		subnet := found.Network.IPAM.Config[0].Subnet
		r := w.Enqueue(&launchertest.Run{Job: w.job("cat /proc/net/fib_trie")})
		l := w.launch("SPACELIFT_WORKER_NETWORK=" + name)
		w.fine(r)
		inside := false
		for _, a := range regexp.MustCompile(`\d+\.\d+\.\d+\.\d+`).FindAllString(w.text(r), -1) {
			ip, err := netip.ParseAddr(a)
			inside = inside || err == nil && subnet.Contains(ip) && ip != subnet.Addr()
		}
		if !inside {
			t.Errorf("no address of %s in:\n%s", subnet, w.text(r))
		}
		_ = l.cmd.Process.Signal(syscall.SIGTERM) // before its network is removed
		<-l.done
		w.refusesToStart([]string{"SPACELIFT_WORKER_NETWORK", `"no-such-network"`}, "SPACELIFT_WORKER_NETWORK=no-such-network")
	})

	t.Run("worker runtime", func(t *testing.T) {
		t.Parallel()
		w, api := setupEngine(t, binary, nil), testkit.Docker(t)
		const other = "io.containerd.runc.v2" // which each engine has under this name
		dir, open := fifoGate(t)
		r := w.Enqueue(&launchertest.Run{Job: w.job("cat /gate/fifo")})
		w.launch("SPACELIFT_WORKER_RUNTIME="+other, "SPACELIFT_WORKER_EXTRA_MOUNTS="+dir+":/gate:ro")
		var id string
		w.wait("the container is known", func() (bool, string) { id = r.Container; return id != "", summary(r) })
		found, err := api.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
		if err != nil || found.Container.HostConfig.Runtime != other {
			t.Errorf("its runtime is %+v, %v", found.Container.HostConfig, err)
		}
		open()
		w.fine(r)
		w.refusesToStart([]string{"SPACELIFT_WORKER_RUNTIME", `"no-such-runtime"`}, "SPACELIFT_WORKER_RUNTIME=no-such-runtime")
	})

	t.Run("mounts and variables and tags", func(t *testing.T) {
		t.Parallel()
		w := setupEngine(t, binary, map[string]string{".spacelift/workflow.yml": classes, "look": look, "plan.json": plan})
		host := t.TempDir()
		for name, content := range map[string]string{"file": "a-file", "dir/in": "a-dir", "ro/f": "for-reading", "wo/f": "for-writing", "locked/f": "old"} {
			path := filepath.Join(host, name)
			for _, err := range []error{os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o666), os.Chmod(path, 0o666), os.Chmod(filepath.Dir(path), 0o777)} {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		j := w.job("")
		j.Type, j.SkipInit = run.Tracked, false
		r := w.Enqueue(&launchertest.Run{Job: j})
		w.launch(
			"SPACELIFT_WORKER_EXTRA_MOUNTS="+host+"/file:/x/file,"+host+"/dir:/x/dir,"+host+"/locked:/x/locked:ro",
			"SPACELIFT_WORKER_RO_EXTRA_MOUNTS="+host+"/ro:/x/ro", "SPACELIFT_WORKER_WO_EXTRA_MOUNTS="+host+"/wo:/x/wo",
			"SPACELIFT_WHITELIST_ENVS=BOTH,ro_RONLY,wo_WONLY,HIDDEN", "SPACELIFT_MASK_ENVS=HIDDEN",
			"BOTH=1", "RONLY=2", "WONLY=3", "OTHER=4", "HIDDEN=canary-of-the-host", "SPACELIFT_METADATA_instance_id=i-77",
		)
		w.fine(r)
		text := w.text(r)
		for _, want := range []string{
			"plan file=a-file dir=a-dir ro=for-reading wo=\n", "apply file=a-file dir=a-dir ro= wo=for-writing\n",
			"plan both=1 for-ro=2 for-wo= other= hidden=***** token=\n", "apply both=1 for-ro= for-wo=3 other= hidden=***** token=\n",
			"plan may not write\n", "apply may not write\n",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing in\n%s", want, text)
			}
		}
		if strings.Contains(text, "canary") {
			t.Error("a masked value is in the log")
		}
		for _, name := range []string{"by-plan", "by-apply"} {
			if _, err := os.Stat(filepath.Join(host, "dir", name)); err != nil {
				t.Error(err)
			}
		}
		w.With(func() {
			for _, x := range w.Workers() {
				if x.Metadata["instance_id"] != "i-77" {
					t.Errorf("its tags are %v", x.Metadata)
				}
			}
		})
		for _, name := range []string{"SPACELIFT_WORKER_EXTRA_MOUNTS", "SPACELIFT_WORKER_RO_EXTRA_MOUNTS", "SPACELIFT_WORKER_WO_EXTRA_MOUNTS"} {
			w.refusesToStart([]string{name, "/nowhere/at-all"}, name+"=/nowhere/at-all:/x")
		}
		w.refusesToStart([]string{"SPACELIFT_WHITELIST_ENVS", `"A-B"`}, "SPACELIFT_WHITELIST_ENVS=A-B")
		w.refusesToStart([]string{"SPACELIFT_MASK_ENVS", `"A-B"`}, "SPACELIFT_MASK_ENVS=A-B")
		w.refusesToStart([]string{"SPACELIFT_METADATA_"}, "SPACELIFT_METADATA_=x")
	})

	t.Run("registry credentials and default images", func(t *testing.T) {
		t.Parallel()
		w, reg := setupEngine(t, binary, nil), testkit.NewRegistry(t)
		reg.Trust()
		w.image = reg.PushRunner("team/runner")
		plainImage := w.Enqueue(&launchertest.Run{Job: w.job("echo in the private image")})
		j := w.job("true")
		j.Image = reg.PushEmpty("team/no-shell", runtime.GOARCH, 1, 100)
		noShell := w.Enqueue(&launchertest.Run{Job: j})
		j.Image = reg.Host + "/team/absent:1"
		absent := w.Enqueue(&launchertest.Run{Job: j})
		j.Image = reg.PushEmpty("team/other", "s390x", 1, 100)
		other := w.Enqueue(&launchertest.Run{Job: j})
		l := w.launch("SPACELIFT_DOCKER_CONFIG_DIR=" + reg.Config())
		w.fine(plainImage)
		for _, want := range []string{"Pulling image " + w.image + " from " + reg.Host, "Pulled image " + w.image, "Using image " + w.image + " (sha256:", "in the private image\n"} {
			if text := w.text(plainImage); !strings.Contains(text, want) {
				t.Errorf("%q is missing in\n%s", want, text)
			}
		}
		for r, want := range map[*launchertest.Run]string{
			noShell: "the runner image has no sh", absent: "is neither on this worker nor in the registry " + reg.Host, other: "is for linux/s390x and this worker is linux/" + runtime.GOARCH,
		} {
			if o := w.over(r); o.Result == wire.ResultOK || !strings.Contains(o.Reason, want) {
				t.Errorf("got %+v, want %q", o, want)
			}
		}
		if strings.Contains(l.log.String(), reg.Password) {
			t.Error("the registry's password is in the launcher's log")
		}
		w.refusesToStart([]string{"SPACELIFT_DOCKER_CONFIG_DIR", "/nowhere/docker"}, "SPACELIFT_DOCKER_CONFIG_DIR=/nowhere/docker")
		w.refusesToStart([]string{"SPACELIFT_DEFAULT_RUNNER_IMAGE", `"A B"`}, "SPACELIFT_DEFAULT_RUNNER_IMAGE=A B")
		w.refusesToStart([]string{"SPACELIFT_DEFAULT_ANSIBLE_RUNNER_IMAGE", `"A B"`}, "SPACELIFT_DEFAULT_ANSIBLE_RUNNER_IMAGE=A B")
	})

	t.Run("docker host", func(t *testing.T) {
		t.Parallel()
		w := setupEngine(t, binary, nil)
		socket, used := relay(t)
		r := w.Enqueue(&launchertest.Run{Job: w.job("echo by another way")})
		w.launch("DOCKER_HOST=unix://" + socket)
		w.fine(r)
		if used.Load() == 0 {
			t.Error("the engine was not asked by DOCKER_HOST")
		}
		before := used.Load()
		w.args, w.data = []string{"--docker-host", "unix://" + socket}, t.TempDir()
		r = w.Enqueue(&launchertest.Run{Job: w.job("echo by a flag")})
		w.launch("DOCKER_HOST=unix:///nowhere/engine.sock")
		w.fine(r)
		if used.Load() == before {
			t.Error("the engine was not asked by --docker-host")
		}
		w.args = nil
		w.refusesToStart([]string{"DOCKER_HOST"}, "DOCKER_HOST=engine")
		w.refusesToStart([]string{"/nowhere/engine.sock"}, "DOCKER_HOST=unix:///nowhere/engine.sock")
	})

	t.Run("unknown names", func(t *testing.T) {
		t.Parallel()
		w := setupEngine(t, binary, nil)
		l := w.launch("SPACELIFT_WORKER_NETWROK=x")
		w.wait("the warning", func() (bool, string) {
			s := l.log.String()
			return strings.Contains(s, "SPACELIFT_WORKER_NETWROK") && strings.Contains(s, "did you mean SPACELIFT_WORKER_NETWORK"), s
		})
		cmd := exec.CommandContext(t.Context(), binary, "--worker-netwrok", "x")
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || strings.TrimSpace(string(out)) != "spacelift-launcher: there is no flag --worker-netwrok: did you mean --worker-network" {
			t.Errorf("exit code %d: %s", cmd.ProcessState.ExitCode(), out)
		}
	})
}

// fine fails unless the run ended well.
func (w *engineWorld) fine(r *launchertest.Run) {
	w.t.Helper()
	if o := w.over(r); o.Result != wire.ResultOK || o.ExitCode != 0 {
		w.t.Fatalf("got %+v\n%s", o, w.text(r))
	}
}

// relay listens on a socket that leads to the engine and counts who comes.
func relay(t *testing.T) (socket string, used *atomic.Int64) {
	t.Helper()
	to, ok := strings.CutPrefix(testkit.Docker(t).DaemonHost(), "unix://")
	if !ok {
		t.Fatal("this test needs an engine on a socket")
	}
	dir, err := os.MkdirTemp("", "relay-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, used = filepath.Join(dir, "s"), &atomic.Int64{}
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			used.Add(1)
			all.Go(func() {
				defer from.Close()
				there, err := new(net.Dialer).DialContext(context.Background(), "unix", to)
				if err != nil {
					return
				}
				defer there.Close()
				var half sync.WaitGroup
				half.Go(func() { _, _ = io.Copy(there, from); _ = there.(*net.UnixConn).CloseWrite() })
				half.Go(func() { _, _ = io.Copy(from, there); _ = from.(*net.UnixConn).CloseWrite() })
				half.Wait()
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return socket, used
}
