package launcher_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// written is a file with text.
func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// refused waits for a launcher that does not start, and returns its sentence.
func (w *world) refused(env ...string) string {
	w.t.Helper()
	w.env = env
	l := w.start(w.t.TempDir())
	var err error
	select {
	case err = <-l.done:
		l.done <- nil
	case <-time.After(20 * time.Second):
		w.t.Fatalf("%v: the launcher does not refuse it", env)
	}
	if !fault.Is(err, fault.Invalid) {
		w.t.Errorf("%v: it ended with %v", env, err)
		err = errors.Join(err, errors.New(""))
	}
	return err.Error()
}

// leave has a launcher leave, and waits for it.
func (r *running) leave(t *testing.T) {
	t.Helper()
	r.signals <- syscall.SIGTERM
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	r.done <- nil
}

func TestALauncherTakesTokenAndKeyFromFilesAndCommands(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	token, key := written(t, w.Token.Encode()+"\n"), written(t, w.KeyB64+"\n")
	for _, secrets := range [][]string{
		{"SPACELIFT_TOKEN_FILE=" + token, "SPACELIFT_POOL_PRIVATE_KEY_FILE=" + key},
		{"SPACELIFT_TOKEN_COMMAND=cat " + token, "SPACELIFT_POOL_PRIVATE_KEY_COMMAND=base64 -d <" + key}, // PEM
	} {
		w.secrets = secrets
		w.start(t.TempDir())
		w.ran(w.job("echo ran"))
	}
	w.secrets = []string{"SPACELIFT_TOKEN_FILE=" + key, "SPACELIFT_POOL_PRIVATE_KEY_FILE=" + key}
	if got := w.refused(); !strings.HasPrefix(got, "SPACELIFT_TOKEN_FILE: the pool's token does not hold JSON") {
		t.Error(got)
	}
	w.secrets = []string{"SPACELIFT_TOKEN_FILE=" + token, "SPACELIFT_POOL_PRIVATE_KEY_COMMAND=echo none"}
	if got := w.refused(); !strings.HasPrefix(got, "SPACELIFT_POOL_PRIVATE_KEY_COMMAND: the pool's private key is not a PEM file") {
		t.Error(got)
	}
}

func TestAfterARotationAParkedRunIsAppliedWithTheEarlierKey(t *testing.T) {
	t.Parallel()
	w, j := parked(t)
	old, oldKey := w.KeyB64, w.Key
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w.Rekey(private)
	again := func(attempt int64, env ...string) (*launchertest.Run, wire.Outcome) {
		t.Helper()
		r := w.Enqueue(&launchertest.Run{Job: j, Class: run.Write, Ref: wire.AttemptRef{Run: j.Run, Attempt: attempt}, Version: 8})
		w.env = env
		l := w.start(t.TempDir())
		o := w.over(r)
		l.leave(t)
		return r, o
	}
	if _, o := again(2); o.Result != wire.ResultRefused || !strings.Contains(o.Reason, "signed by none of this worker's pool keys") {
		t.Fatalf("without the earlier key: %+v", o)
	}
	r, o := again(3, "SPACELIFT_EARLIER_POOL_PRIVATE_KEYS="+w.KeyB64+","+old)
	applied(t, w, r, o)
	w.With(func() {
		held := []string{w.Key.Fingerprint(), oldKey.Fingerprint()}
		if !slices.ContainsFunc(slices.Collect(workers(w)), func(x *launchertest.Worker) bool { return slices.Equal(x.Keys, held) }) {
			t.Errorf("no worker says that it holds %q", held)
		}
	})
	if got := w.refused("SPACELIFT_EARLIER_POOL_PRIVATE_KEYS=" + old + ",bm9uZQ=="); !strings.HasPrefix(got, "SPACELIFT_EARLIER_POOL_PRIVATE_KEYS: the pool's private key is not a PEM file") {
		t.Error(got)
	}
	file := written(t, "none")
	if got := w.refused("SPACELIFT_EARLIER_POOL_PRIVATE_KEYS_FILES=" + file); !strings.HasPrefix(got, "SPACELIFT_EARLIER_POOL_PRIVATE_KEYS_FILES: "+file+": the pool's private key") {
		t.Error(got)
	}
}

func workers(w *world) func(yield func(*launchertest.Worker) bool) {
	return func(yield func(*launchertest.Worker) bool) {
		for _, x := range w.Workers() {
			if !yield(x) {
				return
			}
		}
	}
}

func TestWorkersThatShareTheirMarksRefuseAnOlderState(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	recovery, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	shared := t.TempDir()
	w.env = []string{"SPACELIFT_RECOVERY_RECIPIENTS=" + recovery.Recipient().String(), "SPACELIFT_TRUSTED_MARKS_DIR=" + shared}
	j := w.job(executable(t) + " put-state '{\"serial\":1}'")
	j.Store.Mode = wire.StateSealed
	l := w.start(w.data)
	w.ran(j)
	l.leave(t)
	// Another worker, with a data directory of its own, is told that there is none.
	j.Store = wire.JobState{Mode: wire.StateManaged, Digest: "none", Statement: "none"}
	r := w.Enqueue(&launchertest.Run{Job: j})
	w.start(t.TempDir())
	if o := w.over(r); o.Result != wire.ResultRefused || !strings.Contains(o.Reason, "has seen it sealed") {
		t.Errorf("got %+v", o)
	}
	missing := filepath.Join(shared, "missing")
	if got := w.refused("SPACELIFT_TRUSTED_MARKS_DIR=" + missing); got != "SPACELIFT_TRUSTED_MARKS_DIR: the directory "+missing+" is not there: make it, or mount what it is on" {
		t.Error(got)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("it was made all the same")
	}
	if got := w.refused("SPACELIFT_TRUSTED_MARKS_DIR=" + written(t, "")); !strings.Contains(got, "is not a directory") {
		t.Error(got)
	}
}

func TestALauncherTakesNoRunWhileItsDiskHasTooLittleRoom(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	w.env = []string{"SPACELIFT_DISK_FLOOR=1048576GiB"}
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo ran")})
	l := w.start(w.data)
	w.wait("the launcher says that it is unwell", func() (bool, string) {
		for x := range workers(w) {
			return strings.Contains(x.Unwell, "and a run needs 1073741824 MiB: make room there, or lower SPACELIFT_DISK_FLOOR"), fmt.Sprintf("%+v", x)
		}
		return false, "no worker"
	})
	w.With(func() {
		if r.Worker != "" {
			t.Error("it took the run")
		}
	})
	l.leave(t)
	w.env = nil
	w.start(t.TempDir())
	w.over(r)
}
