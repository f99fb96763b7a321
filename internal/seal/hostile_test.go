package seal

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// entry is one line of a hostile archive.
type entry struct {
	name, link, body string
	kind             byte
}

func dirEntry(name string) entry  { return entry{name: name + "/", kind: tar.TypeDir} }
func fileEntry(name string) entry { return entry{name: name, body: "x", kind: tar.TypeReg} }

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	check(t, err)
	w := tar.NewWriter(z)
	for _, e := range entries {
		check(t, w.WriteHeader(&tar.Header{Typeflag: e.kind, Name: e.name, Linkname: e.link, Size: int64(len(e.body)), Mode: 0o644, Format: tar.FormatPAX}))
		_, err := io.WriteString(w, e.body)
		check(t, err)
	}
	check(t, w.Close())
	check(t, z.Close())
	return b.Bytes()
}

func TestAHostileArchiveIsRefused(t *testing.T) {
	t.Parallel()
	carry, workspace := dirEntry("carry"), dirEntry("workspace")
	link := func(name, target string) entry { return entry{name: name, link: target, kind: tar.TypeSymlink} }
	outside := filepath.Join(t.TempDir(), "victim")
	check(t, os.WriteFile(outside, []byte("untouched"), 0o644))
	for name, c := range map[string]struct {
		code    string
		entries []entry
	}{
		"parent of all":          {"name", []entry{carry, workspace, fileEntry("../x")}},
		"parent within":          {"name", []entry{carry, workspace, fileEntry("workspace/a/../../../x")}},
		"absolute":               {"name", []entry{carry, workspace, fileEntry("/etc/x")}},
		"here":                   {"name", []entry{carry, workspace, fileEntry("workspace/./x")}},
		"empty component":        {"name", []entry{carry, workspace, fileEntry("workspace//x")}},
		"another tree":           {"name", []entry{carry, dirEntry("private"), workspace}},
		"a tree that is a link":  {"name", []entry{carry, link("workspace", "/etc")}},
		"a tree that is a file":  {"name", []entry{carry, fileEntry("workspace")}},
		"twice":                  {"order", []entry{carry, workspace, fileEntry("workspace/x"), fileEntry("workspace/x")}},
		"file then directory":    {"order", []entry{carry, workspace, fileEntry("workspace/x"), dirEntry("workspace/x")}},
		"tree twice":             {"order", []entry{carry, workspace, workspace}},
		"out of order":           {"order", []entry{carry, workspace, fileEntry("workspace/b"), fileEntry("workspace/a")}},
		"back into a directory":  {"order", []entry{carry, workspace, dirEntry("workspace/a"), fileEntry("workspace/b"), fileEntry("workspace/a/x")}},
		"into another directory": {"order", []entry{carry, workspace, dirEntry("workspace/a"), fileEntry("workspace/b/x")}},
		"no parent":              {"order", []entry{carry, workspace, fileEntry("workspace/a/x")}},
		"through a link out":     {"order", []entry{carry, workspace, link("workspace/a", filepath.Dir(outside)), fileEntry("workspace/a/victim")}},
		"through a link within":  {"order", []entry{carry, workspace, dirEntry("workspace/a"), link("workspace/b", "a"), fileEntry("workspace/b/x")}},
		"onto a link":            {"order", []entry{carry, workspace, link("workspace/a", outside), fileEntry("workspace/a")}},
		"hard link":              {"entry", []entry{carry, workspace, {name: "workspace/a", link: "/etc/passwd", kind: tar.TypeLink}}},
		"FIFO":                   {"entry", []entry{carry, workspace, {name: "workspace/a", kind: tar.TypeFifo}}},
		"device":                 {"entry", []entry{carry, workspace, {name: "workspace/a", kind: tar.TypeBlock}}},
		"character device":       {"entry", []entry{carry, workspace, {name: "workspace/a", kind: tar.TypeChar}}},
		"no workspace":           {"format", []entry{carry}},
		"nothing":                {"format", nil},
		"too deep":               {"path", []entry{carry, workspace, fileEntry("workspace/" + strings.Repeat("d/", 200) + "x")}},
		"path too long":          {"path", []entry{carry, workspace, fileEntry("workspace/" + strings.Repeat("n", 5000))}},
		"link target too long":   {"path", []entry{carry, workspace, link("workspace/a", strings.Repeat("n", 5000))}},
		"more than the bytes":    {"bytes", []entry{carry, workspace, {name: "workspace/big", kind: tar.TypeReg, body: strings.Repeat("0", 2000)}}},
		"more than the entries":  {"entries", []entry{carry, workspace, fileEntry("workspace/1"), fileEntry("workspace/2"), fileEntry("workspace/3"), fileEntry("workspace/4")}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, into := trees(t)
			err := Unpack(context.Background(), bytes.NewReader(archive(t, c.entries...)), into, UnpackOptions{Limits: Limits{Bytes: 1000, Entries: 5}})
			wantCode(t, err, "invalid.archive_"+c.code)
			if got, _ := os.ReadFile(outside); string(got) != "untouched" {
				t.Error("a file outside was written")
			}
			top, _ := os.ReadDir(dir)
			if len(top) != 2 {
				t.Errorf("%v stand beside the trees", top)
			}
		})
	}
}

func TestAnExistingNameIsNeverReplacedOrWrittenThrough(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "victim")
	check(t, os.WriteFile(outside, []byte("untouched"), 0o644))
	for name, e := range map[string]entry{"file": fileEntry("workspace/a"), "directory": dirEntry("workspace/a"), "link": {name: "workspace/a", link: "x", kind: tar.TypeSymlink}} {
		for _, target := range []string{outside, filepath.Dir(outside)} {
			dir, into := trees(t)
			check(t, os.Symlink(target, filepath.Join(dir, "workspace/a")))
			err := Unpack(context.Background(), bytes.NewReader(archive(t, dirEntry("carry"), dirEntry("workspace"), e)), into, UnpackOptions{})
			t.Run(name, func(t *testing.T) { wantCode(t, err, "invalid.archive_exists") })
		}
	}
	if got, _ := os.ReadFile(outside); string(got) != "untouched" {
		t.Error("a file outside was written")
	}
}

func TestPackHoldsToItsLimits(t *testing.T) {
	t.Parallel()
	for code, limits := range map[string]Limits{"entries": {Entries: 5}, "bytes": {Bytes: 1000}, "path": {Path: 20}} {
		dir, from := trees(t)
		fill(t, dir)
		err := Pack(context.Background(), io.Discard, from, PackOptions{Limits: limits})
		wantCode(t, err, "invalid.archive_"+code)
	}
	dir, from := trees(t)
	sparse, err := os.Create(filepath.Join(dir, TreeWorkspace, "sparse"))
	check(t, err)
	check(t, sparse.Truncate(1<<40))
	check(t, sparse.Close())
	wantCode(t, Pack(context.Background(), io.Discard, from, PackOptions{}), "invalid.archive_bytes")
}

func TestADamagedArchiveIsRefused(t *testing.T) {
	t.Parallel()
	good := archive(t, dirEntry("carry"), dirEntry("workspace"), fileEntry("workspace/a"))
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 0xff
	for name, data := range map[string][]byte{
		"cut": good[:len(good)-6], "altered": flipped, "no zstd": []byte("PK\x03\x04 something else"),
		"a second archive behind": append(bytes.Clone(good), good...),
		"bytes behind":            append(bytes.Clone(good), "tail"...),
	} {
		t.Run(name, func(t *testing.T) {
			_, into := trees(t)
			wantCode(t, Unpack(context.Background(), bytes.NewReader(data), into, UnpackOptions{}), "invalid.archive_format")
		})
	}
}

func TestNothingOfADamagedBlobIsUnpacked(t *testing.T) {
	t.Parallel()
	from, packed := trees(t)
	fill(t, from)
	// Much that does not compress, so that the damage is many pieces from the start.
	noise := make([]byte, 1<<20)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	check(t, os.WriteFile(filepath.Join(from, TreeWorkspace, "noise"), noise, 0o644))
	k := key(t, "pool2048.key")
	path := filepath.Join(t.TempDir(), "blob")
	blob, err := os.Create(path)
	check(t, err)
	defer blob.Close()
	_, size, err := SealTree(context.Background(), blob, packed, PackOptions{}, k.Recipient())
	check(t, err)
	good, err := os.ReadFile(path)
	check(t, err)
	tail := bytes.Clone(good)
	tail[size-3] ^= 1
	for name, data := range map[string][]byte{"cut": good[:size-1], "cut at a piece": good[:size-size%(64<<10)], "altered near its end": tail, "longer": append(bytes.Clone(good), 0)} {
		t.Run(name, func(t *testing.T) {
			dir, into := trees(t)
			err := OpenTree(context.Background(), bytes.NewReader(data), into, UnpackOptions{}, k.Identity())
			wantCode(t, err, "invalid.seal_envelope")
			for _, tree := range into {
				if left, _ := os.ReadDir(filepath.Join(dir, tree.Name)); len(left) != 0 {
					t.Errorf("%v was unpacked", left)
				}
			}
			out, err := os.Create(filepath.Join(t.TempDir(), "out"))
			check(t, err)
			defer out.Close()
			_, err = OpenFile(context.Background(), bytes.NewReader(data), out, k.Identity())
			wantCode(t, err, "invalid.seal_envelope")
			if info, _ := out.Stat(); info.Size() != 0 {
				t.Errorf("%d bytes of a damaged blob were left", info.Size())
			}
			_, err = OpenBytes(data, k.Identity())
			wantCode(t, err, "invalid.seal_envelope")
		})
	}
	t.Run("another key", func(t *testing.T) {
		_, into := trees(t)
		err := OpenTree(context.Background(), bytes.NewReader(good), into, UnpackOptions{}, key(t, "other.key").Identity())
		wantCode(t, err, "invalid.seal_recipients")
	})
}
