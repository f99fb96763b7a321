package own

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Chown sets the owner of dir and all below it. The tree may have been
// written by a container: every step goes through os.Root, so a link that
// replaces a directory meanwhile cannot lead out of it, and links are changed
// themselves.
func Chown(ctx context.Context, dir string, uid, gid int) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("give a tree to uid %d: %w", uid, err)
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = root.Lchown(path, uid, gid)
		}
		if err != nil {
			return fmt.Errorf("give a tree to uid %d: %w", uid, err)
		}
		return nil
	})
}

// Empty removes all that is in dir. Tools leave directories that even their
// owner may not write to; those are opened up and tried once more.
func Empty(ctx context.Context, dir string) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("empty a tree: %w", err)
	}
	defer root.Close()
	err = emptyRoot(ctx, root)
	if errors.Is(err, fs.ErrPermission) {
		openUp(root)
		err = emptyRoot(ctx, root)
	}
	if err != nil {
		return fmt.Errorf("empty a tree: %w", err)
	}
	return nil
}

func emptyRoot(ctx context.Context, root *os.Root) error {
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := root.RemoveAll(name); err != nil {
			return err
		}
	}
	return nil
}

// openUp makes every directory readable and writable for its owner. What fails
// here fails again, and is told, at the removal.
func openUp(root *os.Root) {
	_ = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && err == nil {
			_ = root.Chmod(path, 0o700)
		}
		if err != nil {
			return fs.SkipDir
		}
		return nil
	})
}
