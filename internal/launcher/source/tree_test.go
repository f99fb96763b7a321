package source

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func TestTheNextFetchOfACommitNeedsNoGit(t *testing.T) {
	t.Parallel()
	url, commit := repository(t)
	commit(map[string]string{"main.tf": "a", "modules/net/main.tf": "b"})
	dir := url[len("file://"):]
	for _, err := range []error{
		os.Chmod(filepath.Join(dir, "main.tf"), 0o755),
		os.Symlink("../main.tf", filepath.Join(dir, "modules", "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	sha := commit(nil)
	f := fetcher(t, true)
	fetch := func() (string, error) {
		dst := filepath.Join(t.TempDir(), "source")
		_, err := f.Fetch(t.Context(), Request{Repository: url, SHA: sha}, dst, nothing)
		return dst, err
	}
	if _, err := fetch(); err != nil {
		t.Fatal(err)
	}
	f.o.Git = "/nonexistent/git"
	for range 2 {
		dst, err := fetch()
		if err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(filepath.Join(dst, "modules", "net", "main.tf")); err != nil || string(data) != "b" {
			t.Errorf("the file is %q, %v", data, err)
		}
		if link, err := os.Readlink(filepath.Join(dst, "modules", "link")); err != nil || link != "../main.tf" {
			t.Errorf("the link leads to %q, %v", link, err)
		}
		if info, err := os.Stat(filepath.Join(dst, "main.tf")); err != nil || info.Mode().Perm()&0o100 == 0 {
			t.Errorf("the program is %v, %v", info, err)
		}
		// What a run does to its files is no other run's.
		if err := os.WriteFile(filepath.Join(dst, "modules", "net", "main.tf"), []byte("changed"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestATreeOfAnotherBootIsNotBelieved(t *testing.T) {
	t.Parallel()
	src, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "main.tf"), []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, now := trees{dir: dir, boot: "one"}, trees{dir: dir, boot: "two"}
	before.keep("sha", src)
	dst := filepath.Join(t.TempDir(), "source")
	if now.copyTo("sha", dst) {
		t.Error("a tree was used that may not have reached the disk")
	}
	if !before.copyTo("sha", dst) {
		t.Error("a tree of this boot was not used")
	}
	now.keep("other", src)
	if _, err := os.Lstat(filepath.Join(dir, "one")); !os.IsNotExist(err) {
		t.Errorf("what another boot left is still there: %v", err)
	}
}

func TestOnlySmallTreesAndTheNewestOfThemAreKept(t *testing.T) {
	t.Parallel()
	kept := trees{dir: t.TempDir(), boot: "boot"}
	large := t.TempDir()
	if err := os.WriteFile(filepath.Join(large, "provider"), make([]byte, treeBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	many := t.TempDir()
	for i := range treeEntries {
		if err := os.WriteFile(filepath.Join(many, strconv.Itoa(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, dir := range map[string]string{"large": large, "many": many} {
		kept.keep(name, dir)
		if _, err := os.Lstat(kept.path(name)); err == nil {
			t.Errorf("a tree that is %s is kept", name)
		}
	}
	src := t.TempDir()
	for i := range treesKept + 3 {
		kept.keep(string(rune('a'+i)), src)
	}
	entries, err := os.ReadDir(filepath.Join(kept.dir, kept.boot))
	if err != nil || len(entries) != treesKept {
		t.Errorf("%d trees are kept, %v", len(entries), err)
	}
	for i := range 3 {
		if _, err := os.Lstat(kept.path(string(rune('a' + i)))); err == nil {
			t.Error("an old tree is kept")
		}
	}
}
