package tool

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAProgramIsKeptOnceAndWhole(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "bin")
	keep := func(content string) (string, os.FileInfo) {
		t.Helper()
		s, err := NewStore(dir) // as each start of a launcher does
		if err != nil {
			t.Fatal(err)
		}
		path, err := s.KeepContent("worker", content)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != content {
			t.Errorf("kept %q, %v", b, err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o755 {
			t.Errorf("its mode is %v", info.Mode())
		}
		return path, info
	}
	first, before := keep("one release")
	again, after := keep("one release")
	if first != again || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Error("a program that may be running was written anew")
	}
	if other, _ := keep("another one"); other == first {
		t.Error("two programs are one file")
	}
	// A start that was cut off by a power cut left less than the whole.
	if err := os.Truncate(first, 3); err != nil {
		t.Fatal(err)
	}
	keep("one release")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}
