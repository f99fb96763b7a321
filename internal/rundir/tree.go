package rundir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is a directory that somebody else writes.
type tree struct {
	root *os.File // the directory itself, opened before the container started
	uid  int      // who must own what is read
}

func openTree(path string, uid int) (*tree, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &tree{root: os.NewFile(uintptr(fd), path), uid: uid}, nil
}

func (t *tree) close() error { return t.root.Close() }

// directory opens a directory directly below the root. The caller closes it.
func (t *tree) directory(name string) (*os.File, error) {
	fd, err := openat(int(t.root.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY)
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return nil, untrusted(name, "not a directory")
	case err != nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// file opens a regular file at name, which has at most one slash, for reading.
// The caller closes it.
func (t *tree) file(name string) (*os.File, error) {
	parent := t.root
	base := name
	if dir, rest, nested := strings.Cut(name, "/"); nested {
		d, err := t.directory(dir)
		if err != nil {
			return nil, err
		}
		defer func() { _ = d.Close() }()
		parent, base = d, rest
	}
	return t.fileIn(parent, base, name)
}

// fileIn opens base in an open directory; name is for errors.
func (t *tree) fileIn(parent *os.File, base, name string) (*os.File, error) {
	if base == "" || base == "." || base == ".." || strings.ContainsAny(base, "/\x00") {
		return nil, untrusted(name, "not a plain name")
	}
	// Look before opening, since opening a device can already act. The look can be
	// outrun, hence the second one below, on what was really opened, and
	// O_NONBLOCK so that a FIFO put there meanwhile returns at once.
	var st unix.Stat_t
	if err := unix.Fstatat(int(parent.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	if err := t.check(name, &st); err != nil {
		return nil, err
	}
	fd, err := openat(int(parent.Fd()), base, unix.O_RDONLY|unix.O_NONBLOCK)
	if errors.Is(err, unix.ELOOP) {
		return nil, untrusted(name, "a symbolic link")
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if err := unix.Fstat(fd, &st); err == nil {
		err = t.check(name, &st)
		if err != nil {
			_ = unix.Close(fd)
			return nil, err
		}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// check refuses everything but a plain file of the run's user. No word of what is
// behind it gets into the error: a link's target could be a message to the reader.
func (t *tree) check(name string, st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFLNK:
		return untrusted(name, "a symbolic link")
	case unix.S_IFIFO:
		return untrusted(name, "a FIFO")
	case unix.S_IFDIR:
		return untrusted(name, "a directory")
	default:
		return untrusted(name, "a device or socket")
	}
	if st.Nlink > 1 {
		return untrusted(name, "a hard link")
	}
	if int(st.Uid) != t.uid {
		return untrusted(name, fmt.Sprintf("owned by user %d instead of %d", st.Uid, t.uid))
	}
	return nil
}

// size returns the size of an open file after checking it again.
func (t *tree) size(f *os.File, name string) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	// A file that was unlinked since has no link left and is as good as before.
	if err := t.check(name, &st); err != nil {
		return 0, err
	}
	return st.Size, nil
}

// read returns a whole file of at most limit bytes.
func (t *tree) read(name string, limit int64) ([]byte, error) {
	f, err := t.file(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	// One byte more than allowed, however large the file says it is: a sparse
	// file must not make us allocate, nor a growing one read on and on.
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read the run's file out/%s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, tooLarge(name, limit, "bytes")
	}
	return data, nil
}

// list returns the names in a directory below the root, sorted, at most limit.
func (t *tree) list(dir string, limit int) ([]string, error) {
	d, err := t.directory(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(limit + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("list the run's directory out/%s: %w", dir, err)
	}
	if len(names) > limit {
		return nil, tooLarge(dir, int64(limit), "entries")
	}
	slices.Sort(names)
	return names, nil
}

// openat opens one component, never through a link.
func openat(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}
