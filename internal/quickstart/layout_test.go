package quickstart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDataDirectoryHeldByAServerIsRefusedByName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "server.lock")
	lock, err := holdLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := lock.WriteString("4711\n"); err != nil {
		t.Fatal(err)
	}
	_, _, _, err = openLayout(dir)
	wantFault(t, err, "the server with process id 4711 works on "+dir)
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the refusal has more than one line: %q", err)
	}
	// The refused start must not keep the directory from a later one.
	lock.Close()
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
	if err := writePrivate(l.poolKey(), []byte("key")); err != nil {
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
