//go:build docker

package container

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/registry"
	"github.com/spaceport-iac/spaceport/internal/launcher/sleep"
	"github.com/spaceport-iac/spaceport/internal/testkit"
)

// puller is a backend with the credentials of a configuration directory.
func puller(t *testing.T, config string, change func(*DockerOptions)) *Docker {
	t.Helper()
	credentials, err := registry.New(registry.Options{Dir: config, Environ: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	o := DockerOptions{DataDir: data, RunsDir: filepath.Join(data, "runs"), Auth: credentials.Header, PullRetry: time.Millisecond, ProgressEvery: 5 * time.Millisecond}
	if change != nil {
		change(&o)
	}
	d, err := NewDocker(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// lines collects what a pull says.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) say(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}

func refused(t *testing.T, err error, code fault.Code, words ...string) {
	t.Helper()
	if f := fault.As(err); f == nil || f.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is missing in: %v", w, err)
		}
	}
	if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a secret or a second line is in: %v", err)
	}
}

func TestAPrivateRegistryNeedsItsAuthorityAndTheCustomersCredentials(t *testing.T) {
	t.Parallel()
	reg := testkit.NewRegistry(t)
	ref := reg.PushEmpty("team/image", runtime.GOARCH, 2, 1000)
	d := puller(t, reg.Config(), nil)

	_, err := d.EnsureImage(t.Context(), ref, nil)
	refused(t, err, "unavailable.image_certificate", reg.Host, "/etc/docker/certs.d/"+reg.Host+"/ca.crt")
	reg.Trust()
	_, err = puller(t, "", nil).EnsureImage(t.Context(), ref, nil)
	refused(t, err, "forbidden.image", reg.Host, ref, "SPACELIFT_DOCKER_CONFIG_DIR")
	good := reg.Config()
	reg.Password += "-another"
	_, err = puller(t, good, nil).EnsureImage(t.Context(), ref, nil)
	refused(t, err, "forbidden.image", reg.Host, ref)
	d = puller(t, reg.Config(), nil)
	_, err = d.EnsureImage(t.Context(), reg.Host+"/team/image:2", nil)
	refused(t, err, "not_found.image", reg.Host, "team/image:2")
	_, err = d.EnsureImage(t.Context(), reg.Host+"/team/denied-and-unauthorized", nil)
	refused(t, err, "not_found.image", reg.Host)

	said := &lines{}
	img, err := d.EnsureImage(t.Context(), ref, said.say)
	if err != nil {
		t.Fatal(err)
	}
	if !img.Pulled || !strings.HasPrefix(img.Digest, "sha256:") || !strings.HasPrefix(img.ID, "sha256:") {
		t.Errorf("got %+v", img)
	}
	if !strings.HasPrefix(said.String(), "Pulling image "+ref+" from "+reg.Host) || !strings.Contains(said.String(), "Pulled image "+ref) {
		t.Errorf("it said:\n%s", said)
	}
	if again, err := d.EnsureImage(t.Context(), ref, said.say); err != nil || again.Pulled || again.ID != img.ID {
		t.Errorf("the second time: %+v, %v", again, err)
	}
}

func TestAnImageOfAnotherArchitectureIsNamedWithBoth(t *testing.T) {
	t.Parallel()
	reg := testkit.NewRegistry(t)
	reg.Trust()
	ref := reg.PushEmpty("other", "s390x", 1, 100)
	_, err := puller(t, reg.Config(), nil).EnsureImage(t.Context(), ref, nil)
	refused(t, err, "unsupported.image_platform", ref, "linux/s390x", "linux/"+runtime.GOARCH)
}

func TestARegistryInTroubleIsTriedAgainAFewTimes(t *testing.T) {
	t.Parallel()
	reg := testkit.NewRegistry(t)
	reg.Trust()
	ref := reg.PushEmpty("image", runtime.GOARCH, 1, 100)
	d := puller(t, reg.Config(), nil)
	troubles := 2
	var mu sync.Mutex
	reg.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		// The engine asks with HEAD and with GET; one try is over when GET failed.
		if !strings.Contains(req.URL.Path, "/manifests/") || troubles == 0 {
			return false
		}
		if req.Method == http.MethodGet {
			troubles--
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	if _, err := d.EnsureImage(t.Context(), ref, nil); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	troubles = 1000
	mu.Unlock()
	_, err := d.EnsureImage(t.Context(), reg.Host+"/image:other", nil)
	refused(t, err, "unavailable.image", "503", reg.Host)
	mu.Lock()
	defer mu.Unlock()
	if tries := 1000 - troubles; tries != pullTries {
		t.Errorf("it was tried %d times", tries)
	}
}

func TestManyRunsShareOnePullAndOneThatLeavesDoesNotEndIt(t *testing.T) {
	t.Parallel()
	reg := testkit.NewRegistry(t)
	reg.Trust()
	ref := reg.PushEmpty("image", runtime.GOARCH, 1, 100)
	d := puller(t, reg.Config(), nil)
	open := make(chan struct{})
	release := sync.OnceFunc(func() { close(open) })
	t.Cleanup(release) // also if this test fails: the registry waits for its requests
	reg.Intercept(func(_ http.ResponseWriter, req *http.Request) bool {
		if strings.Contains(req.URL.Path, "/blobs/") {
			select {
			case <-open:
			case <-req.Context().Done():
			}
		}
		return false
	})
	const many = 8
	leaving, leave := context.WithCancel(t.Context())
	errs := make(chan error, many+1)
	go func() {
		_, err := d.EnsureImage(leaving, ref, nil)
		errs <- err
	}()
	waiting := func(n int) {
		t.Helper()
		eventually(t, func() (bool, string) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if p := d.pulls[ref]; p != nil {
				return p.waiting == n, fmt.Sprint(p.waiting, " wait")
			}
			return false, "no pull"
		})
	}
	waiting(1)
	for range many {
		go func() {
			_, err := d.EnsureImage(t.Context(), ref, nil)
			errs <- err
		}()
	}
	waiting(many + 1)
	leave() // the one that began it
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Fatalf("the one that left got %v", err)
	}
	release()
	for range many {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	// An engine resolves a name by HEAD, by GET, or by both.
	if n := reg.Resolved(); n < 1 || n > 2 {
		t.Errorf("the registry was asked for the name %d times", n)
	}
}

func TestAPullThatNobodyWaitsForIsGivenUp(t *testing.T) {
	t.Parallel()
	reg := testkit.NewRegistry(t)
	reg.Trust()
	ref := reg.PushEmpty("image", runtime.GOARCH, 1, 100)
	d := puller(t, reg.Config(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	reg.Intercept(func(_ http.ResponseWriter, req *http.Request) bool {
		if strings.Contains(req.URL.Path, "/blobs/") {
			cancel()
			<-over // the engine itself may hold on to a request
		}
		return false
	})
	if _, err := d.EnsureImage(ctx, ref, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	d.pulling.Wait()
}

func TestAPullFromARegistryThatFallsSilentEnds(t *testing.T) {
	t.Parallel()
	reg := testkit.NewRegistry(t)
	reg.Trust()
	ref := reg.PushEmpty("image", runtime.GOARCH, 1, 100)
	d := puller(t, reg.Config(), func(o *DockerOptions) { o.PullSilence = 50 * time.Millisecond })
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	reg.Intercept(func(_ http.ResponseWriter, req *http.Request) bool {
		<-over
		return false
	})
	_, err := d.EnsureImage(t.Context(), ref, nil)
	refused(t, err, "unavailable.image_stalled", ref, reg.Host)
}

func TestALongPullTellsHowFarItIs(t *testing.T) {
	t.Parallel()
	reg := testkit.NewRegistry(t)
	reg.Trust()
	ref := reg.PushEmpty("image", runtime.GOARCH, 3, 300_000)
	d := puller(t, reg.Config(), nil)
	seen := make(chan struct{})
	release := sync.OnceFunc(func() { close(seen) })
	t.Cleanup(release)
	held := false
	var mu sync.Mutex
	reg.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		mu.Lock()
		first := !held && req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/")
		held = held || first
		mu.Unlock()
		if first {
			<-seen // one layer or the configuration is late
		}
		return false
	})
	said := &lines{}
	told := false
	_, err := d.EnsureImage(t.Context(), ref, func(line string) {
		said.say(line)
		if strings.Contains(line, " layers, ") {
			told = true
			release()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(said.all); n > 20 {
		t.Errorf("it said %d lines", n)
	}
	if !told {
		t.Errorf("it said:\n%s", said)
	}
}

func TestImagesThatNoRunUsesAreRemovedAndOthersNever(t *testing.T) {
	t.Parallel()
	reg := testkit.NewRegistry(t)
	reg.Trust()
	now := time.Now()
	d := puller(t, reg.Config(), func(o *DockerOptions) { o.Now = func() time.Time { return now } })
	pulled := func(name string) string {
		ref := reg.PushEmpty(name, runtime.GOARCH, 1, 100)
		if _, err := d.EnsureImage(t.Context(), ref, nil); err != nil {
			t.Fatal(err)
		}
		return ref
	}
	unused, used, held, replaced := pulled("unused"), pulled("used"), pulled("held"), pulled("replaced")
	// One that the operator pulled, though runs use it.
	strangers := reg.PushEmpty("strangers", runtime.GOARCH, 1, 100)
	auth, err := d.opts.Auth(t.Context(), reg.Host)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := d.api.ImagePull(t.Context(), strangers, client.ImagePullOptions{RegistryAuth: auth})
	if err == nil {
		err = resp.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.EnsureImage(t.Context(), strangers, nil); err != nil {
		t.Fatal(err)
	}
	// One that a container is made of, and one whose name was given to another.
	made, err := d.api.ContainerCreate(t.Context(), client.ContainerCreateOptions{Config: &container.Config{Image: held, Entrypoint: []string{"/x"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.remove(context.Background(), made.ID) })
	if _, err := d.api.ImageTag(t.Context(), client.ImageTagOptions{Source: strangers, Target: replaced}); err != nil {
		t.Fatal(err)
	}
	// Another name of one that we pulled: the image stays under it.
	kept := reg.Host + "/kept:1"
	if _, err := d.api.ImageTag(t.Context(), client.ImageTagOptions{Source: unused, Target: kept}); err != nil {
		t.Fatal(err)
	}

	const retention = time.Hour
	removed := func(want ...string) {
		t.Helper()
		got, err := d.RemoveUnusedImages(t.Context(), retention)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("removed %v, %v; want %v", got, err, want)
		}
	}
	there := func(ref string, want bool) {
		t.Helper()
		if _, err := d.api.ImageInspect(t.Context(), ref); (err == nil) != want {
			t.Errorf("%s: %v", ref, err)
		}
	}
	removed()
	now = now.Add(30 * time.Minute)
	if _, err := d.EnsureImage(t.Context(), used, nil); err != nil {
		t.Fatal(err)
	}
	now = now.Add(40 * time.Minute)
	removed(unused)
	there(unused, false)
	for _, ref := range []string{used, held, replaced, strangers, kept} {
		there(ref, true)
	}
	// A launcher that comes after knows them too.
	d2 := puller(t, reg.Config(), func(o *DockerOptions) {
		o.DataDir, o.RunsDir, o.Now = d.data, d.runs, d.opts.Now
	})
	if err := d.remove(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := d2.RemoveUnusedImages(t.Context(), retention); err != nil || !slices.Equal(got, []string{held}) {
		t.Fatalf("removed %v, %v", got, err)
	}
	now = now.Add(time.Hour)
	removed(used)
	there(strangers, true)
	there(replaced, true)
	if left, _ := filepath.Glob(filepath.Join(d.data, "images", "*.json*")); len(left) > 0 {
		t.Errorf("notes left: %v", left)
	}
}

// eventually polls until ok, and tells what it saw last if that never comes.
func eventually(t *testing.T, ok func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		done, saw := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("last seen: %s", saw)
		}
		_ = sleep.For(t.Context(), 2*time.Millisecond)
	}
}
