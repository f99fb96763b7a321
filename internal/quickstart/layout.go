package quickstart

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"

	"github.com/spaceport-iac/spaceport/internal/datadir"
	"github.com/spaceport-iac/spaceport/internal/fault"
)

// layout names what lies below the data directory. The server keeps its own
// files directly in it.
type layout struct{ root string }

func (l layout) path(name ...string) string {
	return filepath.Join(append([]string{l.root}, name...)...)
}

func (l layout) serverLock() string        { return l.path(datadir.LockFile) }
func (l layout) ownLock() string           { return l.path("quickstart.lock") }
func (l layout) poolKey() string           { return l.path("spacelift.key") }
func (l layout) csr() string               { return l.path("spacelift.csr") }
func (l layout) recoveryKey() string       { return l.path("recovery.key") }
func (l layout) token() string             { return l.path("pool.token") }
func (l layout) credentials() string       { return l.path("credentials.json") }
func (l layout) addresses() string         { return l.path("addresses.json") } // the server's own file
func (l layout) repo() string              { return l.path("repo") }
func (l layout) launcher(n int) string     { return l.path(fmt.Sprintf("launcher-%d", n)) }
func (l layout) workspaces() string        { return l.path("workspaces") }
func (l layout) log(process string) string { return l.path("logs", process+".log") }

// openLayout makes the data directory, or goes on with one that is there, and
// takes the quickstart's own lock on it. The lock is held until release is called.
func openLayout(dir string) (l layout, found bool, release func(), err error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return l, false, nil, fmt.Errorf("resolve data directory: %w", err)
	}
	l = layout{root}
	cannot := func(err error) error {
		return fault.Wrap(err, fault.Invalid, "the data directory %s cannot be made (%s)", root, cause(err)).
			WithHint("choose another with --data")
	}
	// Only its owner may look inside: the pool's private key is in here.
	if err := os.MkdirAll(root, 0o700); err != nil {
		return l, false, nil, cannot(err)
	}
	// Somebody's home would be closed to others, and a "repo" in it taken for ours.
	if err := datadir.RefuseForeign(root, filepath.Base(l.ownLock()), datadir.LockFile, datadir.Database); err != nil {
		return l, false, nil, err
	}
	if err := os.Chmod(root, 0o700); err != nil {
		return l, false, nil, fault.Wrap(err, fault.Invalid, "the data directory %s cannot be kept private (%s)", root, cause(err))
	}
	lock := flock.New(l.ownLock())
	if locked, err := lock.TryLock(); err != nil {
		return l, false, nil, fmt.Errorf("lock %s: %w", l.ownLock(), err)
	} else if !locked {
		return l, false, nil, fault.New(fault.Conflict, "another quickstart works on %s", root).
			WithHint("stop it, or choose another directory with --data")
	}
	if err := l.refuseForeignServer(); err != nil {
		return l, false, nil, errors.Join(err, lock.Unlock())
	}
	// After the lock, whose file marks the directory as ours.
	_, statErr := os.Stat(l.path("logs"))
	found = statErr == nil
	if err := os.MkdirAll(l.path("logs"), 0o700); err != nil {
		return l, false, nil, errors.Join(cannot(err), lock.Unlock())
	}
	return l, found, func() { _ = lock.Unlock() }, nil // the end of the process unlocks too
}

// refuseForeignServer fails when a server that is not ours works on the
// directory. The server would refuse to start by itself; asking first names the
// one that is in the way instead of a log file.
func (l layout) refuseForeignServer() error {
	// A shared lock, let go of at once: we only ask whether somebody holds it.
	lock := flock.New(l.serverLock(), flock.SetFlag(os.O_RDONLY))
	free, err := lock.TryRLock()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("look at the server's lock: %w", err)
	}
	if free {
		return lock.Unlock()
	}
	holder := "another server"
	if b, err := os.ReadFile(l.serverLock()); err == nil {
		if id := strings.Fields(string(b)); len(id) > 0 && isNumber(id[0]) {
			holder = "the server with process id " + id[0]
		}
	}
	return fault.New(fault.Conflict, "%s works on %s", holder, l.root).
		WithHint("stop it, or choose another directory with --data")
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// cause is the innermost text of a file error, without operation and path, which
// the sentence around it already has.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
