package seal

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Owner is the user and group that unpacked entries belong to.
type Owner struct{ UID, GID int }

// UnpackOptions say how an archive is unpacked.
type UnpackOptions struct {
	Limits Limits
	// Owner, where set, gets every entry; giving away needs privilege.
	Owner *Owner
}

// Unpack writes an archive's trees into directories that are empty of what it
// holds: an existing name is refused, never replaced or written through. Only
// names of trees that are given are accepted, and each of them must be there.
// Faults: invalid.archive_{format, entry, name, order, exists, entries, bytes,
// path}. After an error the trees hold part of the archive and must be discarded.
func Unpack(ctx context.Context, r io.Reader, trees []Tree, opts UnpackOptions) error {
	sorted, err := checkTrees(trees)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	source := withContext(ctx, r)
	z, err := zstd.NewReader(source, decoderOptions()...)
	if err != nil {
		return fmt.Errorf("unpack: %w", badArchive(err))
	}
	defer z.Close()
	u := &unpacker{
		tar: tar.NewReader(z), trees: sorted, owner: opts.Owner,
		budget: budget{limits: opts.Limits.withDefaults()},
		buffer: make([]byte, 256<<10),
	}
	defer u.closeAll()
	if err := u.run(); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return finish(z, source)
}

// finish reads to the very end, where an envelope below authenticates itself,
// and refuses anything after the archive: it would be seen by other tools only.
func finish(z, source io.Reader) error {
	for _, r := range []io.Reader{z, source} {
		n, err := io.Copy(io.Discard, io.LimitReader(r, 1))
		if err != nil {
			return fmt.Errorf("unpack: %w", badArchive(err))
		}
		if n != 0 {
			return fmt.Errorf("unpack: %w", invalid("archive_format", "something follows the sealed workspace's archive"))
		}
	}
	return nil
}

// badArchive keeps faults from below (a damaged envelope) as they are.
func badArchive(err error) error {
	if isFault(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return invalidBy(err, "archive_format", "the sealed workspace's archive is damaged")
}

// level is a directory that is being filled.
type level struct {
	name  string
	root  *os.Root
	own   bool // we opened it
	mode  fs.FileMode
	mtime time.Time
}

type unpacker struct {
	tar    *tar.Reader
	trees  []Tree // those still to come
	owner  *Owner
	budget budget
	buffer []byte
	stack  []level
	last   []string // components of the last entry
}

func (u *unpacker) run() error {
	for {
		h, err := u.tar.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return badArchive(err)
		}
		if err := u.entry(h); err != nil {
			return err
		}
	}
	if len(u.trees) != 0 {
		return invalid("archive_format", "the sealed workspace's archive lacks %s/", u.trees[0].Name)
	}
	return u.leave(0)
}

func (u *unpacker) entry(h *tar.Header) error {
	name := h.Name
	if h.Typeflag == tar.TypeDir {
		name = strings.TrimSuffix(name, "/")
	}
	if err := u.budget.take(name, h.Linkname, h.Size); err != nil {
		return err
	}
	parts := strings.Split(name, "/")
	for _, part := range parts {
		if !isComponent(part) {
			return invalid("archive_name", "the sealed workspace's archive holds the name %q", h.Name)
		}
	}
	if !rises(u.last, parts) {
		return invalid("archive_order", "the sealed workspace's archive holds %q twice or out of order", h.Name)
	}
	u.last = parts
	if len(parts) == 1 {
		return u.top(h, name)
	}
	// The parent must be a directory this archive made and is still filling.
	depth := len(parts) - 1
	if depth > len(u.stack) {
		return invalid("archive_order", "the sealed workspace's archive holds %q before its directory", h.Name)
	}
	for i, l := range u.stack[:depth] {
		if l.name != parts[i] {
			return invalid("archive_order", "the sealed workspace's archive holds %q before its directory", h.Name)
		}
	}
	if err := u.leave(depth); err != nil {
		return err
	}
	return u.create(h, u.stack[depth-1].root, parts[depth])
}

// top begins a tree.
func (u *unpacker) top(h *tar.Header, name string) error {
	if len(u.trees) == 0 || u.trees[0].Name != name || h.Typeflag != tar.TypeDir {
		return invalid("archive_name", "the sealed workspace's archive holds %q, which does not belong there", h.Name)
	}
	if err := u.leave(0); err != nil {
		return err
	}
	// A tree's own directory keeps the mode and owner that it was made with: it
	// is part of the run directory, not of the workspace.
	u.stack = append(u.stack, level{name: name, root: u.trees[0].Root})
	u.trees = u.trees[1:]
	return nil
}

func (u *unpacker) create(h *tar.Header, dir *os.Root, base string) error {
	var err error
	switch h.Typeflag {
	case tar.TypeDir:
		err = u.directory(h, dir, base)
	case tar.TypeReg:
		err = u.file(h, dir, base)
	case tar.TypeSymlink:
		err = u.link(h, dir, base)
	default:
		return invalid("archive_entry", "the sealed workspace's archive holds %q, which is neither file, directory nor link", h.Name)
	}
	if errors.Is(err, fs.ErrExist) {
		return invalidBy(err, "archive_exists", "%q of the sealed workspace is there already", h.Name)
	}
	return err
}

func (u *unpacker) directory(h *tar.Header, dir *os.Root, base string) error {
	// Writable by us alone until filled; Mkdir never follows or reuses.
	if err := dir.Mkdir(base, 0o700); err != nil {
		return err
	}
	sub, err := dir.OpenRoot(base)
	if err != nil {
		return err
	}
	u.stack = append(u.stack, level{base, sub, true, mode(h), h.ModTime})
	made, err := dir.Lstat(base)
	if err != nil {
		return err
	}
	if opened, err := sub.Stat("."); err != nil || !os.SameFile(made, opened) {
		return fmt.Errorf("%s changed while it was unpacked", h.Name)
	}
	return nil
}

func (u *unpacker) file(h *tar.Header, dir *os.Root, base string) error {
	f, err := dir.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.CopyBuffer(onlyWriter{f}, onlyReader{u.tar}, u.buffer)
	if err != nil {
		return badArchive(err)
	}
	if n != h.Size {
		return invalid("archive_format", "the sealed workspace's archive is damaged")
	}
	// Owner before mode: a change of owner clears mode bits.
	if u.owner != nil {
		if err := f.Chown(u.owner.UID, u.owner.GID); err != nil {
			return err
		}
	}
	if err := f.Chmod(mode(h)); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return dir.Chtimes(base, h.ModTime, h.ModTime)
}

// link makes a link with any target: it is the container's to follow, not ours.
func (u *unpacker) link(h *tar.Header, dir *os.Root, base string) error {
	if h.Linkname == "" || strings.ContainsRune(h.Linkname, 0) {
		return invalid("archive_name", "the sealed workspace's archive holds the link %q without a target", h.Name)
	}
	if err := dir.Symlink(h.Linkname, base); err != nil {
		return err
	}
	if u.owner != nil {
		return dir.Lchown(base, u.owner.UID, u.owner.GID)
	}
	return nil
}

// leave finishes directories until only depth are open: innermost first, since
// filling a directory changes its times, and a read-only one cannot be filled.
func (u *unpacker) leave(depth int) error {
	for len(u.stack) > depth {
		top := u.stack[len(u.stack)-1]
		u.stack = u.stack[:len(u.stack)-1]
		if !top.own {
			continue
		}
		err := u.settle(u.stack[len(u.stack)-1].root, top)
		_ = top.root.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) settle(parent *os.Root, l level) error {
	if u.owner != nil {
		if err := parent.Lchown(l.name, u.owner.UID, u.owner.GID); err != nil {
			return err
		}
	}
	// By the descriptor of the directory we made, not by its name.
	d, err := l.root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Chmod(l.mode); err != nil {
		return err
	}
	return parent.Chtimes(l.name, l.mtime, l.mtime)
}

func (u *unpacker) closeAll() {
	for _, l := range u.stack {
		if l.own {
			_ = l.root.Close()
		}
	}
}

func mode(h *tar.Header) fs.FileMode { return h.FileInfo().Mode() & modeBits }

// rises reports whether path b comes after a, component by component.
func rises(a, b []string) bool {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return len(a) < len(b)
}

// onlyReader hides WriteTo, which would bypass the buffer we bring.
type onlyReader struct{ io.Reader }
