package seal

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trees makes workspace/ and carry/ below a new directory.
func trees(t testing.TB) (dir string, all []Tree) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{TreeWorkspace, TreeCarry} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = root.Close() })
		all = append(all, Tree{name, root})
	}
	return dir, all
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var anHourAgo = time.Now().Add(-time.Hour).Truncate(time.Microsecond)

// fill puts one of everything into a workspace.
func fill(t testing.TB, dir string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, TreeWorkspace, name) }
	check(t, os.MkdirAll(at("source/.terraform/a"), 0o755))
	check(t, os.WriteFile(at("source/main.tf"), []byte("resource {}"), 0o644))
	check(t, os.WriteFile(at("source/.terraform/a/provider"), bytes.Repeat([]byte("binary"), 50_000), 0o755))
	check(t, os.WriteFile(at("source.b"), nil, 0o600))
	check(t, os.WriteFile(at("na\xffme with\nbreak"), []byte("odd"), 0o644))
	check(t, os.WriteFile(at("suid"), []byte("x"), 0o755))
	check(t, os.Chmod(at("suid"), 0o755|fs.ModeSetuid|fs.ModeSetgid))
	check(t, os.Link(at("source/main.tf"), at("hard")))
	check(t, os.Symlink("/etc/passwd", at("absolute")))
	check(t, os.Symlink("../../..", at("up")))
	check(t, os.Symlink("nowhere", at("source/dangling")))
	check(t, syscall.Mkfifo(at("fifo"), 0o644))
	check(t, os.Mkdir(at("readonly"), 0o755))
	check(t, os.WriteFile(at("readonly/f"), []byte("kept"), 0o444))
	check(t, os.Chmod(at("readonly"), 0o555))
	t.Cleanup(func() { _ = os.Chmod(at("readonly"), 0o755) })
	check(t, os.WriteFile(filepath.Join(dir, TreeCarry, "job.json"), []byte("{}"), 0o600))
	check(t, os.Chtimes(at("source/main.tf"), anHourAgo, anHourAgo))
	check(t, os.Chtimes(at("source"), anHourAgo, anHourAgo))
}

func TestAParkedWorkspaceComesBackAsItWas(t *testing.T) {
	t.Parallel()
	from, packed := trees(t)
	fill(t, from)
	into, unpacked := trees(t)
	k := key(t, "pool2048.key")
	blob, err := os.Create(filepath.Join(t.TempDir(), "blob"))
	check(t, err)
	defer blob.Close()

	var skipped []string
	opts := PackOptions{Skipped: func(path string, mode fs.FileMode) {
		if mode&fs.ModeNamedPipe == 0 {
			t.Errorf("%s skipped with mode %v", path, mode)
		}
		skipped = append(skipped, path)
	}}
	digest, size, err := SealTree(context.Background(), blob, packed, opts, k.Recipient())
	check(t, err)
	data, err := os.ReadFile(blob.Name())
	check(t, err)
	if Digest(data) != digest || int64(len(data)) != size {
		t.Errorf("digest %s and size %d are not the file's", digest, size)
	}
	if bytes.Contains(data, []byte("main.tf")) {
		t.Error("a name shows in the ciphertext")
	}
	if len(skipped) != 1 || skipped[0] != "workspace/fifo" {
		t.Errorf("skipped %q", skipped)
	}
	check(t, OpenTree(context.Background(), blob, unpacked, UnpackOptions{Owner: owner()}, k.Identity()))
	compare(t, from, into)
}

// owner is who unpacked entries go to: the runs' user where we may give away.
func owner() *Owner {
	if os.Getuid() == 0 {
		return &Owner{1983, 1983}
	}
	return &Owner{os.Getuid(), os.Getgid()}
}

// compare looks at everything that fill has made.
func compare(t *testing.T, from, into string) {
	t.Helper()
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(into, TreeWorkspace, "readonly"), 0o755) })
	seen := 0
	check(t, filepath.WalkDir(from, func(path string, _ fs.DirEntry, err error) error {
		check(t, err)
		rel, _ := filepath.Rel(from, path)
		if strings.Count(rel, "/") == 0 {
			return nil // the trees themselves
		}
		want, err := os.Lstat(path)
		check(t, err)
		got, err := os.Lstat(filepath.Join(into, rel))
		if rel == "workspace/fifo" {
			if err == nil {
				t.Error("the FIFO came back")
			}
			return nil
		}
		check(t, err)
		seen++
		kept := fs.ModePerm | fs.ModeType
		if got.Mode() != want.Mode()&kept {
			t.Errorf("%s: mode %v, want %v", rel, got.Mode(), want.Mode()&kept)
		}
		if stat := got.Sys().(*syscall.Stat_t); int(stat.Uid) != owner().UID || int(stat.Gid) != owner().GID {
			t.Errorf("%s: belongs to %d:%d", rel, stat.Uid, stat.Gid)
		}
		if want.Mode()&fs.ModeSymlink != 0 {
			a, _ := os.Readlink(path)
			if b, _ := os.Readlink(filepath.Join(into, rel)); a != b {
				t.Errorf("%s: link to %q, want %q", rel, b, a)
			}
			return nil
		}
		if !got.ModTime().Equal(want.ModTime()) {
			t.Errorf("%s: time %v, want %v", rel, got.ModTime(), want.ModTime())
		}
		if want.Mode().IsRegular() {
			a, _ := os.ReadFile(path)
			if b, _ := os.ReadFile(filepath.Join(into, rel)); !bytes.Equal(a, b) {
				t.Errorf("%s: content differs", rel)
			}
			if n := got.Sys().(*syscall.Stat_t).Nlink; n != 1 {
				t.Errorf("%s: %d links", rel, n)
			}
		}
		return nil
	}))
	if seen < 14 {
		t.Errorf("only %d entries were compared", seen)
	}
}

func TestSealingStopsWithItsContext(t *testing.T) {
	t.Parallel()
	dir, from := trees(t)
	fill(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Pack(ctx, io.Discard, from, PackOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("pack: %v", err)
	}
	_, into := trees(t)
	if err := Unpack(ctx, bytes.NewReader(archive(t, dirEntry("carry"), dirEntry("workspace"))), into, UnpackOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("unpack: %v", err)
	}
}

func TestSmallBlobsOpenWithEveryRecipient(t *testing.T) {
	t.Parallel()
	k := key(t, "pool2048.key")
	rs, ids := recovery(t)
	for _, plain := range [][]byte{nil, []byte(`{"version":4}`), bytes.Repeat([]byte("state"), 100_000)} {
		sealed, err := SealBytes(plain, append(rs, k.Recipient())...)
		check(t, err)
		for _, id := range append(ids, k.Identity()) {
			got, err := OpenBytes(sealed, id)
			check(t, err)
			if !bytes.Equal(got, plain) {
				t.Errorf("got %d bytes, want %d", len(got), len(plain))
			}
		}
	}
	if _, err := SealBytes(nil); err == nil {
		t.Error("sealed to nobody")
	}
	if _, err := SealBytes(nil, Recipient{}); err == nil {
		t.Error("sealed to an empty recipient")
	}
}

func TestNoSetuidBitCrossesInEitherDirection(t *testing.T) {
	t.Parallel()
	dir, from := trees(t)
	fill(t, dir)
	var packed bytes.Buffer
	check(t, Pack(context.Background(), &packed, from, PackOptions{}))
	z, err := zstd.NewReader(&packed)
	check(t, err)
	defer z.Close()
	seen := 0
	for r := tar.NewReader(z); ; seen++ {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		check(t, err)
		if h.Mode&^0o777 != 0 || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%s is stored with mode %o, owner %d %q", h.Name, h.Mode, h.Uid, h.Uname)
		}
	}
	if seen < 14 {
		t.Errorf("only %d entries were looked at", seen)
	}

	var b bytes.Buffer
	enc, err := zstd.NewWriter(&b)
	check(t, err)
	w := tar.NewWriter(enc)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "carry/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "workspace/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "workspace/d/", Mode: 0o7755},
		{Typeflag: tar.TypeReg, Name: "workspace/d/f", Mode: 0o6755},
	} {
		check(t, w.WriteHeader(&h))
	}
	check(t, w.Close())
	check(t, enc.Close())
	into, unpacked := trees(t)
	check(t, Unpack(context.Background(), &b, unpacked, UnpackOptions{}))
	for _, name := range []string{"workspace/d", "workspace/d/f"} {
		info, err := os.Lstat(filepath.Join(into, name))
		check(t, err)
		if info.Mode()&^fs.ModeDir != 0o755 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}
