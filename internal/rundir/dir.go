package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/oklog/ulid/v2"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Options say whose run it is.
type Options struct {
	// UID and GID are the run's user, who owns out/ and workspace/.
	UID, GID int
	// Limits bound what is read; the zero value means DefaultLimits.
	Limits Limits
}

// Limits bound what is read from out/.
type Limits struct {
	LogBytes    int64 // payload of the whole log
	EventBytes  int64 // the events file
	Requests    int   // entries in requests/
	RequestBody int64 // a request's body
	ResultBytes int64 // result.json, carry.json and workflow.json, each
	Errored     int   // files in errored/
}

// DefaultLimits are generous for honest runs and harmless for others.
func DefaultLimits() Limits {
	return Limits{
		LogBytes:    4 << 30,
		EventBytes:  16 << 20,
		Requests:    10_000,
		RequestBody: 256 << 20,
		ResultBytes: 64 << 20,
		Errored:     16,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	pick := func(v *int64, def int64) {
		if *v <= 0 {
			*v = def
		}
	}
	pick(&l.LogBytes, d.LogBytes)
	pick(&l.EventBytes, d.EventBytes)
	pick(&l.RequestBody, d.RequestBody)
	pick(&l.ResultBytes, d.ResultBytes)
	if l.Requests <= 0 {
		l.Requests = d.Requests
	}
	if l.Errored <= 0 {
		l.Errored = d.Errored
	}
	return l
}

// Dir is the launcher's side of a run's directory.
type Dir struct {
	id     string
	path   string
	o      Options
	in     *os.Root
	inMode fs.FileMode // of files in in/
	out    *tree
	seen   map[string]bool // request ids that Requests has returned
}

// gone marks a directory that is being removed, so that nobody adopts it.
const gone = ".gone"

// Create makes the directory of container id below parent. The trees belong to
// the run's user where the launcher may give them away; see [Dir.Foreign].
func Create(parent, id string, o Options) (*Dir, error) {
	if _, err := ulid.ParseStrict(id); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "%q is not a ULID and cannot name a run's directory", id)
	}
	path := filepath.Join(parent, id)
	err := os.Mkdir(path, 0o711)
	if err == nil {
		if err = makeTrees(path, o); err != nil {
			_ = os.RemoveAll(path)
		}
	}
	if err != nil {
		return nil, named(err, "create the run's directory "+id)
	}
	return Open(parent, id, o)
}

// modes returns the permissions of in/ and of out/ and workspace/.
func modes(o Options) (in, out fs.FileMode) {
	switch euid := os.Geteuid(); {
	case euid == o.UID:
		return 0o700, 0o700
	case euid == 0:
		// Root reads everything; the run's group may look into in/.
		return 0o750, 0o700
	}
	// A launcher that can neither give files away nor read what others own has to
	// open the trees to everybody; the data directory above, 0700, is the fence.
	return 0o755, 0o755
}

func makeTrees(path string, o Options) error {
	inMode, outMode := modes(o)
	for _, d := range []struct {
		name string
		mode fs.FileMode
		uid  int // -1: the launcher's
		gid  int
	}{
		{wire.DirPrivate, 0o700, -1, -1},
		{wire.DirIn, inMode, -1, o.GID},
		{wire.DirIn + "/" + wire.InAnswers, inMode, -1, o.GID},
		{wire.DirOut, outMode, o.UID, o.GID},
		{wire.DirOut + "/" + wire.OutLog, outMode, o.UID, o.GID},
		{wire.DirOut + "/" + wire.OutRequests, outMode, o.UID, o.GID},
		{wire.DirWorkspace, outMode, o.UID, o.GID},
	} {
		full := filepath.Join(path, d.name)
		if err := os.Mkdir(full, d.mode); err != nil {
			return err
		}
		if err := os.Chmod(full, d.mode); err != nil { // whatever the umask is
			return err
		}
		if os.Geteuid() == 0 {
			if err := os.Lchown(full, d.uid, d.gid); err != nil {
				return err
			}
		}
	}
	return os.Chmod(path, 0o711)
}

// Open opens a directory that exists, as when a launcher adopts a run.
func Open(parent, id string, o Options) (*Dir, error) {
	o.Limits = o.Limits.withDefaults()
	path := filepath.Join(parent, id)
	in, err := os.OpenRoot(filepath.Join(path, wire.DirIn))
	if err != nil {
		return nil, fmt.Errorf("open the run's directory %s: %w", id, err)
	}
	out, err := openTree(filepath.Join(path, wire.DirOut), o.UID)
	if err != nil {
		_ = in.Close()
		return nil, fmt.Errorf("open the run's directory %s: %w", id, err)
	}
	inMode, _ := modes(o)
	return &Dir{id: id, path: path, o: o, in: in, inMode: inMode & 0o666, out: out, seen: map[string]bool{}}, nil
}

// List names the run directories below parent, in order of their ULIDs.
func List(parent string) ([]string, error) {
	entries, err := os.ReadDir(parent)
	if Missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the run directories: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err == nil && e.IsDir() {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// ID returns the container's ULID.
func (d *Dir) ID() string { return d.id }

// Path returns the directory's host path.
func (d *Dir) Path() string { return d.path }

// Private, In, Out and Workspace return the host paths of the trees.
func (d *Dir) Private() string { return filepath.Join(d.path, wire.DirPrivate) }

// In returns the host path of in/.
func (d *Dir) In() string { return filepath.Join(d.path, wire.DirIn) }

// Out returns the host path of out/.
func (d *Dir) Out() string { return filepath.Join(d.path, wire.DirOut) }

// Workspace returns the host path of workspace/.
func (d *Dir) Workspace() string { return filepath.Join(d.path, wire.DirWorkspace) }

// Foreign reports whether out/ and workspace/ have still to be given to the run's
// user by somebody else, because the launcher is neither root nor that user.
func (d *Dir) Foreign() bool { return os.Geteuid() != 0 && os.Geteuid() != d.o.UID }

// Close lets go of open files. The directory stays.
func (d *Dir) Close() error { return errors.Join(d.in.Close(), d.out.close()) }

// Remove closes the directory and deletes it with all that is in it. No process
// of the run may be left. It may be called again after an error.
func (d *Dir) Remove() error {
	_ = d.Close()
	return Remove(filepath.Dir(d.path), d.id)
}

// Remove deletes the run directory of id below parent; one that isn't there is
// removed already.
func Remove(parent, id string) error {
	path := filepath.Join(parent, id)
	// First out of sight, in one step: a launcher that dies in the middle of the
	// deletion must not find half a run and adopt it.
	if err := os.Rename(path, path+gone); err != nil && !Missing(err) {
		return fmt.Errorf("remove the run's directory %s: %w", id, err)
	}
	return removeTree(path + gone)
}

// Sweep deletes what earlier removals left below parent.
func Sweep(parent string) error {
	left, err := filepath.Glob(filepath.Join(parent, "*"+gone))
	for _, path := range left {
		err = errors.Join(err, removeTree(path))
	}
	return err
}

// removeTree deletes a tree. os.RemoveAll goes by open directories and follows no
// link. Directories without write permission, which a tool may leave (module
// caches do), stop whoever is not root: they are opened up and tried again.
func removeTree(path string) error {
	err := os.RemoveAll(path)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	root, openErr := os.OpenRoot(path)
	if openErr != nil {
		return err
	}
	_ = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, _ error) error {
		if e != nil && e.IsDir() {
			_ = root.Chmod(name, 0o700)
		}
		return nil
	})
	_ = root.Close()
	return os.RemoveAll(path)
}
