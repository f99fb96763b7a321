package launcher_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func TestARestartedLauncherAdoptsItsContainer(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	gate := filepath.Join(t.TempDir(), "gate")
	j := w.job("echo first; while [ ! -e " + gate + " ]; do sleep 0.02; done; i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done")
	r := w.Enqueue(&launchertest.Run{Job: j})
	l := w.start(w.data)
	w.wait("the first line", func() (bool, string) { return strings.Contains(string(r.Text[4]), "first\n"), string(r.Text[4]) })
	l.kill()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start(w.data)
	o := w.over(r)
	var want strings.Builder
	for i := range 300 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if text := w.text(r); o.Result != wire.ResultOK || !strings.Contains(text, want.String()) || strings.Count(text, "first\n") != 1 {
		t.Fatalf("got %+v\n%s", o, text)
	}
	w.empty(w.data)
}

func TestALauncherKilledBeforeTheReleaseAsksForTheJobAgain(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	var block atomic.Bool
	block.Store(true)
	reached := make(chan struct{}, 100)
	w.Before = func(r *http.Request) int {
		if strings.HasSuffix(r.URL.Path, "/starting") && block.Load() {
			reached <- struct{}{}
			return http.StatusServiceUnavailable
		}
		return 0
	}
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo ran")})
	l := w.start(w.data)
	<-reached
	l.kill()
	block.Store(false)
	w.start(w.data)
	if o := w.over(r); o.Result != wire.ResultOK || strings.Count(w.text(r), "\nran\n") != 1 {
		t.Fatalf("got %+v\n%s", o, w.text(r))
	}
	w.empty(w.data)
}

func TestAStopInterruptsAndTheWorkerTakesTheNextRun(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo up; trap 'echo unlocked; exit 3' INT; while :; do sleep 0.02; done")})
	w.start(w.data)
	w.wait("it is up", func() (bool, string) { return strings.Contains(string(r.Text[4]), "up\n"), string(r.Text[4]) })
	w.With(func() { r.Stop = &wire.Stop{AttemptRef: r.Ref, Reason: "somebody said so"} })
	o := w.over(r)
	if o.Result != wire.ResultStopped || !strings.Contains(o.Reason, "somebody said so") || !strings.Contains(w.text(r), "unlocked\n") {
		t.Fatalf("got %+v\n%s", o, w.text(r))
	}
	next := w.Enqueue(&launchertest.Run{Job: w.job("echo next")})
	if o := w.over(next); o.Result != wire.ResultOK {
		t.Fatalf("got %+v", o)
	}
}

func TestWithoutContactTheRunIsInterrupted(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	w.Terms.FenceMs, w.Terms.BeatMs = 300, 30
	var cut atomic.Bool
	w.Before = func(*http.Request) int {
		if cut.Load() {
			return http.StatusBadGateway
		}
		return 0
	}
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo up; trap 'echo unlocked; exit 3' INT; while :; do sleep 0.02; done")})
	l := w.start(w.data)
	w.wait("it is up", func() (bool, string) { return strings.Contains(string(r.Text[4]), "up\n"), string(r.Text[4]) })
	cut.Store(true)
	deadline := time.Now().Add(time.Minute)
	for !strings.Contains(l.log.String(), "the container ended") {
		if time.Now().After(deadline) {
			t.Fatal("the container goes on")
		}
		time.Sleep(5 * time.Millisecond)
	}
	cut.Store(false)
	if o := w.over(r); o.Result != wire.ResultFenced || !strings.Contains(w.text(r), "unlocked\n") {
		t.Fatalf("got %+v\n%s", o, w.text(r))
	}
}

func TestARunOfAnAttemptThatIsOverIsEndedAndSaidToBeGone(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo up; while :; do sleep 0.02; done")})
	w.start(w.data)
	w.wait("it is up", func() (bool, string) { return strings.Contains(string(r.Text[4]), "up\n"), string(r.Text[4]) })
	w.Lost(r)
	w.wait("it is gone", func() (bool, string) {
		return len(r.Gone) == 1 && r.Gone[0].Delivered && r.Gone[0].Container == r.Container, fmt.Sprint(r.Gone)
	})
	w.empty(w.data)
}

func TestTheFirstSignalDrainsAndTheSecondStops(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo up; while :; do sleep 0.02; done")})
	l := w.start(w.data)
	w.wait("it is up", func() (bool, string) { return strings.Contains(string(r.Text[4]), "up\n"), string(r.Text[4]) })
	l.signals <- syscall.SIGTERM
	w.wait("it says that it leaves", func() (bool, string) {
		for _, x := range w.Workers() {
			return x.Leaving && !r.Over, fmt.Sprintf("%+v", x)
		}
		return false, ""
	})
	l.signals <- syscall.SIGTERM
	if o := w.over(r); o.Result != wire.ResultStopped {
		t.Fatalf("got %+v", o)
	}
	if err := <-l.done; err != nil {
		t.Fatal(err)
	}
	l.done <- nil
}

func TestALauncherMayStartBeforeItsMothership(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	var up atomic.Bool
	tried := make(chan struct{}, 1000)
	w.Before = func(*http.Request) int {
		if !up.Load() {
			tried <- struct{}{}
			return http.StatusBadGateway
		}
		return 0
	}
	w.start(w.data)
	for range 3 {
		<-tried
	}
	up.Store(true)
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo ran")})
	if o := w.over(r); o.Result != wire.ResultOK {
		t.Fatalf("got %+v", o)
	}
}

func TestALogIsCompleteThoughTheStoreFails(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	var n atomic.Int64
	w.Before = func(r *http.Request) int {
		if strings.HasPrefix(r.URL.Path, "/objects/") && n.Add(1)%2 == 1 {
			return []int{500, 403}[n.Load()/2%2]
		}
		return 0
	}
	r := w.Enqueue(&launchertest.Run{Job: w.job("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done")})
	w.start(w.data)
	o := w.over(r)
	var want strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if o.Result != wire.ResultOK || !strings.Contains(w.text(r), want.String()) {
		t.Fatalf("got %+v", o)
	}
}

func TestNoSecretStaysBehindOrIsTold(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	j := w.job("cat ../secret.txt; echo $TOKEN; echo up; while [ ! -e ../../../../../gate ]; do sleep 0.02; done")
	gate := filepath.Join(w.data, "gate")
	j.Command = strings.ReplaceAll(j.Command, "../../../../../gate", gate)
	j.Files = []wire.File{{Path: "secret.txt", Content: []byte("canary-file-9\n"), Secret: true}, {Path: "source/plain", Content: []byte("x")}}
	j.Environment = []wire.Variable{{Name: "TOKEN", Value: "canary-token-9", Secret: true}}
	r := w.Enqueue(&launchertest.Run{Job: j})
	l := w.start(w.data)
	w.wait("it is up", func() (bool, string) { return strings.Contains(string(r.Text[4]), "up\n"), string(r.Text[4]) })
	// While it runs, what the launcher keeps for a restart holds no secret.
	notes, _ := filepath.Glob(filepath.Join(w.data, "slots", "0", "runs", "*", "private", "*"))
	notes2, _ := filepath.Glob(filepath.Join(w.data, "slots", "0", "runs", "*", "in", "*"))
	if len(notes) == 0 {
		t.Fatal("no notes were found")
	}
	for _, name := range append(notes, notes2...) {
		if data, _ := os.ReadFile(name); strings.Contains(string(data), "canary") {
			t.Errorf("%s holds a secret", name)
		}
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := w.over(r)
	if o.Result != wire.ResultOK {
		t.Fatalf("got %+v\n%s", o, w.text(r))
	}
	w.empty(w.data)
	all := l.log.String() + w.text(r)
	_ = filepath.WalkDir(w.data, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasPrefix(path, filepath.Join(w.data, "bin")) {
			data, _ := os.ReadFile(path)
			all += string(data)
		}
		return nil
	})
	data, _ := json.Marshal(r.Outcomes)
	all += string(data)
	if strings.Contains(all, "canary") {
		t.Fatal("a secret is left or was told")
	}
	for _, half := range []string{w.KeyB64[100:160], w.Token.Encode()} {
		if strings.Contains(all, half) {
			t.Fatal("the key or the token is left or was told")
		}
	}
}

func TestASealedStateIsRefusedBeforeAnythingStartsWhereNoRecoveryKeyIsSet(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	j := w.job("echo ran")
	j.Store.Mode = wire.StateSealed
	r := w.Enqueue(&launchertest.Run{Job: j})
	w.start(w.data)
	o := w.over(r)
	if o.Result != wire.ResultRefused || o.Container != "" || !strings.Contains(o.Reason, "sealed state needs a recovery recipient in the launcher's settings") {
		t.Fatalf("got %+v", o)
	}
	if !strings.Contains(w.text(r), "sealed state needs a recovery recipient") {
		t.Fatalf("the log says %q", w.text(r))
	}
	w.empty(w.data)
}
