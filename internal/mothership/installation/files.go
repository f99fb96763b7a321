package installation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gocloud.dev/secrets"
	"gocloud.dev/secrets/localsecrets"

	"github.com/gofrs/flock"

	"github.com/spaceport-iac/spaceport/internal/datadir"
	"github.com/spaceport-iac/spaceport/internal/durable"
	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

// prepareDir makes the data directory. One that others may enter is closed: the
// key in it is what all secrets hang on.
func prepareDir(dir string) (string, error) {
	if dir == "" {
		return "", fault.New(fault.Invalid, "the data directory is not set").Named("data_dir")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find data directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fault.Wrap(err, fault.Invalid, "the data directory %s cannot be made", dir).Named("data_dir").
			WithHint("give a directory that this user may write to")
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", fmt.Errorf("look at data directory: %w", err)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return dir, nil
	}
	// A directory of somebody else's, such as /tmp named by mistake, is not ours to close.
	if err := datadir.RefuseForeign(dir, databaseFile, keyFile, lockFile); err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return "", fault.Wrap(err, fault.Invalid, "the data directory %s is open to other users", dir).Named("data_dir").
			WithHint("give it mode 0700 or choose another")
	}
	return dir, nil
}

// lock takes the directory until it is unlocked or the process dies. The process
// id in the file is for people alone.
func lock(dir string) (*flock.Flock, error) {
	name := filepath.Join(dir, lockFile)
	l := flock.New(name)
	locked, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if !locked {
		text, _ := os.ReadFile(name) // a message without the id is still right
		pid := strings.TrimSpace(string(text))
		if pid == "" {
			pid = "unknown"
		}
		return nil, fault.New(fault.Conflict, "the data directory %s is in use by another server (process %s)", dir, pid).Named("data_dir_in_use").
			WithHint("stop that server or choose another directory")
	}
	if err := os.WriteFile(name, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("lock data directory: %w", err), l.Unlock())
	}
	return l, nil
}

const keySize = 32

// openRoot reads the key file, or makes it at the first start. It is never made
// for a database that already has secrets: that would bury the loss of the old.
func openRoot(ctx context.Context, dir string, d *db.DB) (*secrets.Keeper, error) {
	name := filepath.Join(dir, keyFile)
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		data, err = makeKey(ctx, dir, d)
	}
	if err != nil {
		return nil, err
	}
	if len(data) != keySize {
		return nil, fault.New(fault.Invalid, "the key file %s has %d bytes instead of %d", name, len(data), keySize).Named("key_file").
			WithHint("restore it from a backup")
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("look at key file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Invalid, "the key file %s is open to other users", name).Named("key_file").
			WithHint("give it mode 0600")
	}
	return localsecrets.NewKeeper([keySize]byte(data)), nil
}

func makeKey(ctx context.Context, dir string, d *db.DB) ([]byte, error) {
	var secretRows int
	if err := d.Read().QueryRowContext(ctx, `SELECT COUNT(*) FROM installation WHERE name <> $1`, rowOrigin).Scan(&secretRows); err != nil {
		return nil, fmt.Errorf("look for secrets in the database: %w", err)
	}
	if secretRows > 0 {
		return nil, fault.New(fault.Invalid, "the key file %s is missing, and the database has secrets that only it opens", filepath.Join(dir, keyFile)).Named("key_file").
			WithHint("restore it from a backup")
	}
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails: the runtime ends the program first
	// What is encrypted by the key may be on disk a moment later.
	if err := durable.WriteFile(filepath.Join(dir, keyFile), key); err != nil {
		return nil, fmt.Errorf("write key file: %w", err)
	}
	return key, nil
}

func wrongKey(dir string, err error) error {
	return fault.Wrap(err, fault.Invalid, "the database's secrets cannot be opened with the key file %s", filepath.Join(dir, keyFile)).Named("key_file").
		WithHint("restore the key file and the database that belong together")
}
