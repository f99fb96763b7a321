package source

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Only small trees are kept: for them git's start takes longer than the copy.
const (
	treeEntries = 500
	treeBytes   = 8 << 20
	treesKept   = 8
)

var errLarge = errors.New("the tree is too large to be kept")

// trees keeps checked-out trees of one repository beside its cache, so that the
// next run of a commit needs no git. Runs get copies: what they were given as
// links they could change for those that come after.
//
// Nothing here is synced. A machine that goes down may leave files empty, and an
// empty configuration means "destroy everything" to a tool; so a tree counts in
// the boot that it was written in alone.
type trees struct {
	dir  string
	boot string // names this boot; "" keeps nothing
}

func (t trees) path(key string) string { return filepath.Join(t.dir, t.boot, key) }

// copyTo copies the tree of that key into dst, a directory that is empty or does
// not exist, and reports whether it did. If not, dst is as it was.
func (t trees) copyTo(key, dst string) bool {
	if t.boot == "" {
		return false
	}
	if _, err := os.Lstat(t.path(key)); err != nil {
		return false
	}
	if err := copyTree(t.path(key), dst); err != nil {
		_ = os.RemoveAll(t.path(key))
		_ = os.RemoveAll(dst)
		return false
	}
	return true
}

// keep keeps the tree at src, unless it is large or cannot be kept.
func (t trees) keep(key, src string) {
	if t.boot == "" || small(src) != nil {
		return
	}
	t.evict()
	if os.MkdirAll(filepath.Join(t.dir, t.boot), 0o700) != nil {
		return
	}
	temp := t.path(".new")
	_ = os.RemoveAll(temp)
	err := copyTree(src, temp)
	if err == nil {
		err = os.Rename(temp, t.path(key))
	}
	if err != nil {
		_ = os.RemoveAll(temp)
	}
}

// evict makes room for one more and removes what another boot has left.
func (t trees) evict() {
	boots, _ := os.ReadDir(t.dir)
	for _, e := range boots {
		if e.Name() != t.boot {
			_ = os.RemoveAll(filepath.Join(t.dir, e.Name()))
		}
	}
	entries, _ := os.ReadDir(filepath.Join(t.dir, t.boot))
	if len(entries) < treesKept {
		return
	}
	written := func(e os.DirEntry) int64 {
		info, err := e.Info()
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return cmp.Compare(written(a), written(b)) })
	for _, e := range entries[:len(entries)-treesKept+1] {
		_ = os.RemoveAll(t.path(e.Name()))
	}
}

// small returns errLarge for a tree that is not worth keeping.
func small(dir string) error {
	var entries, bytes int64
	return filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if entries, bytes = entries+1, bytes+info.Size(); entries > treeEntries || bytes > treeBytes {
			return errLarge
		}
		return nil
	})
}

// copyTree copies directories, plain files and links, with their permissions.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		switch {
		case e.IsDir():
			if err := os.Mkdir(target, 0o755); err != nil && (name != "." || !errors.Is(err, fs.ErrExist)) {
				return err
			}
			return nil
		case e.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("a tree holds something that is no plain file")
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	// The kernel copies, without a detour through our memory, where it can.
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}
