package seal

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// An archive is a zstd-compressed tar in PAX format. Its entries are regular
// files, directories and symbolic links below named trees, in strictly rising
// order, each directory before what it holds. That order is what makes unpacking
// simple and safe: duplicates cannot occur, and every parent is a directory that
// the archive itself has just made.

// Names of the trees of a parked workspace.
const (
	TreeWorkspace = "workspace"
	TreeCarry     = "carry"
)

// Tree is a directory that goes into an archive, or comes out of it, under a
// top-level name.
type Tree struct {
	Name string
	Root *os.Root
}

// Limits bound an archive on both ways. Zero fields take the default.
type Limits struct {
	Entries int64 // default 1,000,000
	Bytes   int64 // sum of file sizes; default 16 GiB
	Path    int   // bytes in a path or link target; default 4,096
	Depth   int   // directories above an entry; default 128: each holds a descriptor
}

func (l Limits) withDefaults() Limits {
	if l.Entries == 0 {
		l.Entries = 1_000_000
	}
	if l.Bytes == 0 {
		l.Bytes = 16 << 30
	}
	if l.Path == 0 {
		l.Path = 4096
	}
	if l.Depth == 0 {
		l.Depth = 128
	}
	return l
}

// budget counts what an archive has used of its limits.
type budget struct {
	limits  Limits
	entries int64
	bytes   int64
}

// take counts one entry. Faults: invalid.archive_{entries, bytes, path}.
func (b *budget) take(path string, link string, size int64) error {
	b.entries++
	switch {
	case b.entries > b.limits.Entries:
		return invalid("archive_entries", "the workspace holds more than %d files and directories", b.limits.Entries)
	case len(path) > b.limits.Path || len(link) > b.limits.Path:
		return invalid("archive_path", "the workspace holds a path of more than %d bytes", b.limits.Path)
	case strings.Count(path, "/") > b.limits.Depth:
		return invalid("archive_path", "the workspace holds a path of more than %d directories", b.limits.Depth)
	case size < 0 || size > b.limits.Bytes-b.bytes:
		return invalid("archive_bytes", "the workspace holds more than %d bytes", b.limits.Bytes)
	}
	b.bytes += size
	return nil
}

// checkTrees sorts trees by name, the order of an archive.
func checkTrees(trees []Tree) ([]Tree, error) {
	if len(trees) == 0 {
		return nil, errors.New("no tree is given")
	}
	sorted := slices.Clone(trees)
	slices.SortFunc(sorted, func(a, b Tree) int { return strings.Compare(a.Name, b.Name) })
	for i, t := range sorted {
		if t.Root == nil || !isComponent(t.Name) {
			return nil, errors.New("a tree has no directory or no proper name")
		}
		if i > 0 && sorted[i-1].Name == t.Name {
			return nil, errors.New("two trees have the same name")
		}
	}
	return sorted, nil
}

// isComponent reports whether s can be one component of a path.
func isComponent(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "/\x00")
}

// modeBits are what is kept of a mode: no setuid, setgid or sticky bit crosses.
const modeBits = fs.ModePerm

// A window of 1 MiB costs a little ratio and keeps a launcher with several runs
// small; any zstd opens it.
const (
	zstdWindow    = 1 << 20
	zstdMaxWindow = 8 << 20
)

func encoderOptions() []zstd.EOption {
	return []zstd.EOption{
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(zstdWindow),
		zstd.WithEncoderConcurrency(2),
	}
}

func decoderOptions() []zstd.DOption {
	return []zstd.DOption{
		zstd.WithDecoderMaxWindow(zstdMaxWindow),
		zstd.WithDecoderConcurrency(2),
		zstd.WithDecoderLowmem(true),
	}
}
