package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// newRoot is a file system tree under construction.
type newRoot struct {
	at string // where, on the host
	// ours are the paths, as seen in it, of directories that we made or mounted.
	ours map[string]bool
}

// enterRoot gives this process, which is alone in a private mount namespace, the
// host's file system with mounts added at their targets. The host itself is not
// touched: not even an empty directory is made in it, since a target that is
// missing there gets a stand-in for its parent that shows the same entries.
// This is no isolation; it only makes paths the same on every worker.
func enterRoot(at string, mounts []Mount) error {
	if err := os.MkdirAll(at, 0o700); err != nil {
		return err
	}
	if err := tmpfs(at); err != nil {
		return err
	}
	if err := mirror("/", at, at); err != nil {
		return err
	}
	r := newRoot{at: at, ours: map[string]bool{}}
	for _, m := range mounts {
		if err := r.place(m); err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
	}
	if err := unix.Chdir(at); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	// Both names are the same directory: the old root ends up on top of the new
	// one and is taken off again, without a place for it in the new one.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return unix.Chdir("/")
}

func tmpfs(at string) error {
	if err := unix.Mount("spaceport", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=4m"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	return nil
}

// mirror shows all entries of dir in the empty directory to. root is where the
// new root is being built.
func mirror(dir, to, root string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	// The entry that the new root itself lies in comes first, while that is
	// still empty; its mounts would be copied into themselves otherwise.
	slices.SortStableFunc(entries, func(a, b os.DirEntry) int {
		inA, inB := Within(filepath.Join(dir, a.Name()), root), Within(filepath.Join(dir, b.Name()), root)
		switch {
		case inA && !inB:
			return -1
		case inB && !inA:
			return 1
		}
		return 0
	})
	for _, e := range entries {
		from, target := filepath.Join(dir, e.Name()), filepath.Join(to, e.Name())
		if e.Type()&fs.ModeSymlink != 0 {
			link, err := os.Readlink(from)
			if err == nil {
				err = os.Symlink(link, target)
			}
			if err != nil {
				return err
			}
			continue
		}
		if err := stub(target, e.IsDir()); err != nil {
			return err
		}
		if err := unix.Mount(from, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			if errors.Is(err, unix.ENOENT) {
				continue // it went away meanwhile
			}
			return fmt.Errorf("show %s: %w", from, err)
		}
	}
	return nil
}

// stub makes an empty directory or file to mount on.
func stub(path string, dir bool) error {
	if dir {
		return os.Mkdir(path, 0o755)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// place mounts one source at its target in the new root.
func (r *newRoot) place(m Mount) error {
	st, err := os.Stat(m.Source)
	if err != nil {
		return err
	}
	to, err := resolve(m.Target)
	if err != nil {
		return err
	}
	here := "/"
	parts := strings.Split(strings.TrimPrefix(to, "/"), "/")
	for i, part := range parts {
		next := filepath.Join(here, part)
		_, err := os.Lstat(r.at + next)
		if errors.Is(err, fs.ErrNotExist) {
			if err = r.makeRoom(here); err == nil {
				err = stub(r.at+next, st.IsDir() || i < len(parts)-1)
				r.ours[next] = true
			}
		}
		if err != nil {
			return err
		}
		here = next
	}
	if err := unix.Mount(m.Source, r.at+to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	r.ours[to] = true
	if m.ReadOnly {
		return readOnly(r.at + to)
	}
	return nil
}

// resolve follows the links in a path as the host has them, as far as it exists
// there. What comes out has no link left, so it cannot lead out of the new root.
func resolve(path string) (string, error) {
	rest := ""
	for {
		resolved, err := filepath.EvalSymlinks(path)
		if err == nil {
			return filepath.Join(resolved, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		rest = filepath.Join(filepath.Base(path), rest)
		path = filepath.Dir(path)
	}
}

// makeRoom lets entries be made in dir without making them on the host: unless
// it, or what it lies in, is one that we made or mounted, a stand-in with the
// same entries goes on top.
func (r *newRoot) makeRoom(dir string) error {
	for up := dir; up != "/"; up = filepath.Dir(up) {
		if r.ours[up] {
			return nil
		}
	}
	if dir == "/" {
		return nil
	}
	if err := tmpfs(r.at + dir); err != nil {
		return err
	}
	r.ours[dir] = true
	return mirror(dir, r.at+dir, r.at)
}

// readOnly makes a mount and those inside it read-only.
func readOnly(at string) error {
	err := unix.MountSetattr(unix.AT_FDCWD, at, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// Before Linux 5.12 only the mount itself can be changed, and a remount
	// forgets what it isn't told.
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		return err
	}
	keep := uintptr(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	return unix.Mount("", at, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|keep, "")
}

// MountsWork tries enterRoot out, in a thread that is thrown away: whether a
// container runtime around us, a policy or the kind of root file system forbids
// one of its steps is not to be told in advance.
func MountsWork() bool {
	if os.Geteuid() != 0 {
		return false
	}
	dir, err := os.MkdirTemp("", "spaceport-probe-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	done := make(chan error)
	go func() { done <- probe(dir) }()
	return <-done == nil
}

func probe(dir string) error {
	// Never unlocked: the thread ends with this goroutine, and its name space
	// with the thread.
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		// The first thread can't be thrown away. It is kept busy here, so that
		// another one is tried.
		done := make(chan error)
		go func() { done <- probe(dir) }()
		err := <-done
		runtime.UnlockOSThread()
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return enterRoot(filepath.Join(dir, "root"), []Mount{{Source: dir, Target: wire.ContainerWorkspace, ReadOnly: true}})
}

// Within reports whether path is dir or below it. Both are clean.
func Within(dir, path string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
