package quickstart

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/durable"
)

func TestDataDirectoryHeldByAServerIsRefusedByName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "server.lock")
	if err := os.WriteFile(path, []byte("4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lock := flock.New(path)
	if locked, err := lock.TryLock(); err != nil || !locked {
		t.Fatal(locked, err)
	}
	_, _, _, err := openLayout(dir)
	wantFault(t, err, "the server with process id 4711 works on "+dir)
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the refusal has more than one line: %q", err)
	}
	// The refused start must not keep the directory from a later one.
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	_, _, release, err := openLayout(dir)
	if err != nil {
		t.Fatalf("once the server is gone: %v", err)
	}
	release()
}

func TestSecondQuickstartOnADirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, found, release, err := openLayout(dir)
	if err != nil || found {
		t.Fatalf("first start: found %v, %v", found, err)
	}
	_, _, _, err = openLayout(dir)
	wantFault(t, err, "another quickstart works on "+dir)
	release()
	_, found, release, err = openLayout(dir)
	if err != nil || !found {
		t.Fatalf("start after the first has ended: found %v, %v", found, err)
	}
	release()
}

func TestDataDirectoryIsClosedToOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, _, release, err := openLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := durable.WriteFile(l.poolKey(), []byte("key")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, l.poolKey(): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

// DATA=$HOME or DATA=/tmp is a slip of the hand; what lies there is not ours to close
// or to take for our own.
func TestADirectoryWithOtherThingsInItIsRefusedAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "repo"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	_, _, _, err := openLayout(dir)
	wantFault(t, err, `has other things in it, "repo" for one`)
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode() &^ os.ModeDir; got != 0o755|os.ModeSticky {
		t.Errorf("its mode is %v now, want it untouched", got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("it has %v, %v now, want the repo alone", left, err)
	}
}

// A child that is being started holds a copy of every descriptor until it
// executes its program; a lock must not stay behind in such a copy.
func TestALockThatIsGivenBackIsFreeThoughItsDescriptorWasCopied(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, _, release, err := openLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	copied := copyDescriptor(t, l.ownLock())
	defer copied.Close()
	release()
	_, _, release, err = openLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// copyDescriptor returns a copy of the descriptor that this process has on path.
func copyDescriptor(t *testing.T, path string) *os.File {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range open {
		name := filepath.Join("/proc/self/fd", entry.Name())
		if to, err := os.Readlink(name); err != nil || to != path {
			continue // another test's, or closed by now
		}
		n, err := strconv.Atoi(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		n, err = unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(n), path)
	}
	t.Fatalf("no descriptor is open on %s", path)
	return nil
}
