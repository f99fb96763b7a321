package installation_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/installation"
)

func options() installation.Options {
	return installation.Options{Now: time.Now, NewID: func() string { return ulid.Make().String() }}
}

func open(t *testing.T, dir string) *installation.Installation {
	t.Helper()
	i, err := installation.Open(context.Background(), dir, options())
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func closeIt(t *testing.T, i *installation.Installation) {
	t.Helper()
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAnInstallationIsTheSameAfterARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	ctx := context.Background()
	first := open(t, dir)
	sealed, err := first.Vault.Wrap(ctx, "x", []byte("kept"))
	if err != nil {
		t.Fatal(err)
	}
	closeIt(t, first)
	second := open(t, dir)
	defer closeIt(t, second)
	if second.Origin != first.Origin || !strings.HasPrefix(first.Origin, "spaceport-") {
		t.Errorf("origin was %q and is %q", first.Origin, second.Origin)
	}
	if got, err := second.Vault.Unwrap(ctx, "x", sealed); err != nil || string(got) != "kept" {
		t.Errorf("got %q, %v", got, err)
	}
	var spaces int
	if err := second.DB.Read().QueryRowContext(ctx, `SELECT COUNT(*) FROM space WHERE id = 'root'`).Scan(&spaces); err != nil || spaces != 1 {
		t.Errorf("root spaces: %d, %v", spaces, err)
	}
}

func TestASecondServerOnADirectoryIsRefusedByName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := open(t, dir)
	_, err := installation.Open(context.Background(), dir, options())
	f := fault.As(err)
	if f == nil || f.Code != "conflict.data_dir_in_use" || !strings.Contains(f.Message, dir) || !strings.Contains(f.Message, fmt.Sprint(os.Getpid())) {
		t.Fatalf("got %v", err)
	}
	closeIt(t, first)
	closeIt(t, open(t, dir))
}

func TestADatabaseIsOpenedBesideARunningServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := open(t, dir)
	defer closeIt(t, server)
	d, err := installation.OpenDatabase(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDirectoryAndKeyAreClosedToOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	closeIt(t, open(t, dir))
	for name, want := range map[string]os.FileMode{"": 0o700, "root.key": 0o600, "objects": 0o700} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%q has mode %o, want %o", name, got, want)
		}
	}
}

// --data /tmp is a slip of the hand: what others use is not ours to close.
func TestAnOpenDirectoryWithOtherThingsInItIsRefusedAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "theirs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, use := range map[string]func() error{
		"server":         func() error { _, err := installation.Open(context.Background(), dir, options()); return err },
		"command beside": func() error { _, err := installation.OpenDatabase(context.Background(), dir); return err },
	} {
		if f := fault.As(use()); f == nil || f.Code != "invalid.data_dir" || !strings.Contains(f.Message, "theirs") {
			t.Errorf("%s: got %v, want invalid.data_dir that names a file", name, f)
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || info.Mode().Perm() != 0o755 {
		t.Errorf("it has %v, %v and mode %v now, want it untouched", left, err, info.Mode())
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	closeIt(t, open(t, dir)) // somebody has closed it on purpose
}

func TestAFreshFileSystemIsTakenForADataDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "lost+found"), 0o700), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	closeIt(t, open(t, dir))
}

func TestALostOrForeignKeyFileIsNamed(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(key string) error{
		"lost":           os.Remove,
		"cut":            func(key string) error { return os.Truncate(key, 31) },
		"foreign":        func(key string) error { return os.WriteFile(key, make([]byte, 32), 0o600) },
		"open to others": func(key string) error { return os.Chmod(key, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			closeIt(t, open(t, dir))
			key := filepath.Join(dir, "root.key")
			if err := spoil(key); err != nil {
				t.Fatal(err)
			}
			_, err := installation.Open(context.Background(), dir, options())
			if f := fault.As(err); f == nil || f.Code != "invalid.key_file" || !strings.Contains(f.Message, key) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(key); name == "lost" && err == nil {
				t.Error("a new key was made over the loss of the old")
			}
		})
	}
}
