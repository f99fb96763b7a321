package seal

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/klauspost/compress/zstd"
)

// PackOptions say how an archive is made.
type PackOptions struct {
	Limits Limits
	// Skipped, where set, is told of each entry that is left out since it is
	// neither file, directory nor link: its path in the archive and its mode.
	Skipped func(path string, mode fs.FileMode)
}

// Pack writes an archive of trees. What was in them may be hostile: links are
// stored as links, never followed; hard links become files of their own; the
// owner is not stored. Nothing may write to the trees meanwhile. Faults:
// invalid.archive_{entries, bytes, path}.
func Pack(ctx context.Context, w io.Writer, trees []Tree, opts PackOptions) error {
	sorted, err := checkTrees(trees)
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	z, err := zstd.NewWriter(w, encoderOptions()...)
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	p := &packer{
		ctx: ctx, tar: tar.NewWriter(z), skipped: opts.Skipped,
		budget: budget{limits: opts.Limits.withDefaults()},
		buffer: make([]byte, 256<<10),
	}
	for _, t := range sorted {
		if err = p.tree(t); err != nil {
			break
		}
	}
	if err == nil {
		err = p.tar.Close()
	}
	// Also after an error: the encoder's goroutines end with it.
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return nil
}

type packer struct {
	ctx     context.Context //nolint:containedctx // lives for one call of Pack
	tar     *tar.Writer
	skipped func(string, fs.FileMode)
	budget  budget
	buffer  []byte
}

func (p *packer) tree(t Tree) error {
	info, err := t.Root.Stat(".")
	if err != nil {
		return err
	}
	if err := p.header(tar.TypeDir, t.Name, "", info, 0); err != nil {
		return err
	}
	return p.directory(t.Root, t.Name)
}

// directory packs what is in dir, which is at name in the archive.
func (p *packer) directory(dir *os.Root, name string) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	_ = d.Close()
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, n := range names {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		if err := p.entry(dir, n, path.Join(name, n)); err != nil {
			return err
		}
	}
	return nil
}

// entry packs one name of dir. Every access is by that one name below the
// directory's own descriptor: no path is ever walked twice.
func (p *packer) entry(dir *os.Root, base, name string) error {
	info, err := dir.Lstat(base)
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		if err := p.header(tar.TypeDir, name, "", info, 0); err != nil {
			return err
		}
		sub, err := dir.OpenRoot(base)
		if err != nil {
			return err
		}
		defer sub.Close()
		// OpenRoot follows a link: make sure it opened what Lstat saw.
		if opened, err := sub.Stat("."); err != nil || !os.SameFile(info, opened) {
			return changed(name)
		}
		return p.directory(sub, name)
	case info.Mode().IsRegular():
		return p.file(dir, base, name, info)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := dir.Readlink(base)
		if err != nil {
			return err
		}
		return p.header(tar.TypeSymlink, name, target, info, 0)
	}
	if p.skipped != nil {
		p.skipped(name, info.Mode())
	}
	return nil
}

func (p *packer) file(dir *os.Root, base, name string, seen fs.FileInfo) error {
	// Non-blocking, so that a FIFO put there since Lstat cannot hold us up.
	f, err := dir.OpenFile(base, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(seen, info) || !info.Mode().IsRegular() {
		return changed(name)
	}
	if err := p.header(tar.TypeReg, name, "", info, info.Size()); err != nil {
		return err
	}
	// LimitReader: a file that still grows is stored as it was when looked at.
	n, err := io.CopyBuffer(onlyWriter{p.tar}, withContext(p.ctx, io.LimitReader(f, info.Size())), p.buffer)
	if err != nil {
		return err
	}
	if n != info.Size() {
		return changed(name)
	}
	return nil
}

func (p *packer) header(kind byte, name, target string, info fs.FileInfo, size int64) error {
	if err := p.budget.take(name, target, size); err != nil {
		return err
	}
	if kind == tar.TypeDir {
		name += "/"
	}
	mode := int64(info.Mode() & modeBits)
	if kind == tar.TypeSymlink {
		mode = 0o777
	}
	if strings.ContainsRune(name, 0) {
		return errors.New("a name holds NUL")
	}
	return p.tar.WriteHeader(&tar.Header{
		Typeflag: kind, Name: name, Linkname: target, Mode: mode, Size: size,
		ModTime: info.ModTime(), Format: tar.FormatPAX,
	})
}

func changed(name string) error { return fmt.Errorf("%s changed while it was packed", name) }

// onlyWriter hides ReadFrom, which would bypass the buffer we bring.
type onlyWriter struct{ io.Writer }
