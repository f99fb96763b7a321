//go:build docker

package container

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/moby/client"
	"github.com/oklog/ulid/v2"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/hostimage"
	"github.com/spaceport-iac/spaceport/internal/testkit"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// newDocker makes a backend and a spec whose worker is never to be executed.
func newDocker(t *testing.T) (*Docker, Spec) {
	t.Helper()
	data := t.TempDir()
	d, err := NewDocker(DockerOptions{DataDir: data, RunsDir: filepath.Join(data, "runs")})
	if err != nil {
		t.Fatal(err)
	}
	img, err := d.EnsureImage(t.Context(), testkit.RunnerImage(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	id := ulid.MustNew(ulid.Now(), rand.Reader).String()
	s := Spec{ULID: id, Image: img.ID, RunDir: d.runDir(id), Binary: filepath.Join(data, "worker"), UID: RunUID, GID: RunGID}
	m := Mount{Source: filepath.Join(s.RunDir, wire.DirIn), Target: wire.ContainerIn, ReadOnly: true}
	s.Mounts = []Mount{m}
	for _, err := range []error{os.MkdirAll(m.Source, 0o755), os.WriteFile(s.Binary, []byte("no program"), 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := d.Remove(context.Background(), id); err != nil {
			t.Errorf("clean up: %v", err)
		}
		_ = d.Close()
	})
	return d, s
}

func TestAnEnginesInspectShowsALockedDownContainerAndNothingOfTheJob(t *testing.T) {
	t.Parallel()
	d, s := newDocker(t)
	s.Memory, s.Pids = 64<<20, 50
	if err := d.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	found, err := d.api.ContainerInspect(t.Context(), s.ULID, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cfg, host := found.Container.Config, found.Container.HostConfig
	// PATH is the engine's or the image's own; we give none.
	if i := slices.IndexFunc(cfg.Env, func(e string) bool { return !strings.HasPrefix(e, "PATH=") }); i >= 0 {
		t.Errorf("its environment holds %q", cfg.Env[i])
	}
	if len(cfg.Labels) != 1 || cfg.Labels[Label] != s.ULID {
		t.Errorf("its labels are %v", cfg.Labels)
	}
	if cfg.User != "1983:1983" || cfg.OpenStdin || cfg.Tty || cfg.Entrypoint[0] != wire.ContainerBinary {
		t.Errorf("its process is %+v", cfg)
	}
	if !slices.Equal(host.CapDrop, []string{"ALL"}) || len(host.CapAdd) > 0 || host.Privileged ||
		!slices.Contains(host.SecurityOpt, "no-new-privileges") || host.AutoRemove || host.Init == nil || *host.Init {
		t.Errorf("its host side is %+v", host)
	}
	if host.Memory != 64<<20 || host.MemorySwap != 64<<20 || host.PidsLimit == nil || *host.PidsLimit != 50 {
		t.Errorf("its limits are %+v", host.Resources)
	}
	if len(host.Binds) > 0 || len(host.Mounts) != 2 || !host.Mounts[0].ReadOnly || host.Mounts[0].Target != wire.ContainerBinary {
		t.Errorf("its mounts are %+v", host.Mounts)
	}
}

func TestAnUnknownRuntimeOrNetworkIsNamedByItsSetting(t *testing.T) {
	t.Parallel()
	d, s := newDocker(t)
	s.Runtime = "no-such-runtime"
	err := d.Create(t.Context(), s)
	if err == nil {
		err = d.Start(t.Context(), s.ULID)
	}
	if !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "no-such-runtime") {
		t.Errorf("the runtime gave %v", err)
	}
	d, s = newDocker(t)
	s.Network = "no-such-network"
	if err = d.Create(t.Context(), s); err == nil {
		err = d.Start(t.Context(), s.ULID)
	}
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "no-such-network") {
		t.Errorf("the network gave %v", err)
	}
}

func TestAnImageForAnotherMachineIsRefusedWithBothPlatforms(t *testing.T) {
	t.Parallel()
	d, _ := newDocker(t)
	d.mu.Lock()
	d.arch = "s390x" // as if the engine were one
	d.mu.Unlock()
	_, err := d.EnsureImage(t.Context(), testkit.RunnerImage(t), nil)
	if !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "linux/s390x") || !strings.Contains(err.Error(), "linux/amd64") && !strings.Contains(err.Error(), "linux/arm64") {
		t.Errorf("got %v", err)
	}
}

func TestARunnerImageIsMadeOnceForItsContent(t *testing.T) {
	t.Parallel()
	binaries, err := hostimage.Default()
	if err != nil {
		t.Fatal(err)
	}
	first := testkit.RunnerImage(t)
	again, err := hostimage.Ensure(t.Context(), testkit.Docker(t), testkit.RunnerRepository, binaries)
	if err != nil || first != again {
		t.Errorf("first %s, then %s, %v", first, again, err)
	}
}

func TestAHelperContainerGivesAndTakesATreeForALauncherThatMayNot(t *testing.T) {
	t.Parallel()
	d, s := newDocker(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(s.RunDir, wire.DirOut)
	deep := filepath.Join(dir, "a", "b")
	outside := filepath.Join(d.data, "outside")
	for _, err := range []error{
		os.WriteFile(s.Binary, program, 0o755),
		os.MkdirAll(deep, 0o700),
		os.WriteFile(filepath.Join(deep, "file"), nil, 0o600),
		os.WriteFile(outside, nil, 0o600),
		os.Symlink(outside, filepath.Join(dir, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	o := Ownership{Dir: dir, UID: 4711, GID: 4712, Image: s.Image, Binary: s.Binary}
	if err := d.ownByHelper(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{dir, deep, filepath.Join(deep, "file"), filepath.Join(dir, "link")} {
		st, err := os.Lstat(p)
		if err != nil {
			t.Fatal(err)
		}
		if sys := st.Sys().(*syscall.Stat_t); sys.Uid != 4711 || sys.Gid != 4712 {
			t.Errorf("%s belongs to %d:%d", filepath.Base(p), sys.Uid, sys.Gid)
		}
	}
	if st, err := os.Lstat(outside); err != nil || st.Sys().(*syscall.Stat_t).Uid == 4711 {
		t.Errorf("what a link names was touched: %v", err)
	}
	o.Delete = true
	if err := d.ownByHelper(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if found, err := d.api.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("name", "spaceport-own-")}); err != nil || len(found.Items) > 0 {
		t.Errorf("helpers left: %v, %v", found.Items, err)
	}
}

func TestAContainerThatIsGivenUpWhileItIsMadeDoesNotStay(t *testing.T) {
	t.Parallel()
	d, s := newDocker(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The caller goes when the engine has been asked and has not answered yet.
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { cancel() }})
	if err := d.Create(ctx, s); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	// The name is taken from the moment on in which an engine begins to make one.
	if err := d.Create(t.Context(), s); err != nil {
		t.Errorf("made again: %v", err)
	}
}
