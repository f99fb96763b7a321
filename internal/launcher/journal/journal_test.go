package journal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

func open(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestAWriteIsThereUntilItIsDone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i, id := range []string{"w2", "w1", "w3"} {
		e := Entry{ID: id, Ref: wire.AttemptRef{Run: "r", Attempt: 1}, Order: int64(i + 1)}
		if err := open(t, dir).Append(e, []byte("blob "+id)); err != nil {
			t.Fatal(err)
		}
	}
	j := open(t, dir)
	all, err := j.Entries()
	if err != nil || len(all) != 3 || all[0].ID != "w2" || all[2].ID != "w3" {
		t.Fatalf("got %+v, %v", all, err)
	}
	if data, err := j.Sealed(all[1]); err != nil || string(data) != "blob w1" {
		t.Fatalf("got %q, %v", data, err)
	}
	if err := j.Done("w2"); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := open(t, dir).Find("w2"); ok {
		t.Fatal("a delivered write came back")
	}
	if names, _ := os.ReadDir(dir); len(names) != 4 {
		t.Fatalf("%d files are left, want 4", len(names))
	}
}

func TestACrashAtAnyStepLeavesAWholeEntryOrNone(t *testing.T) {
	t.Parallel()
	for step, make := range map[string]func(dir string){
		"a temporary file":         func(dir string) { _ = os.WriteFile(filepath.Join(dir, ".new-1"), []byte("x"), 0o600) },
		"a blob without its entry": func(dir string) { _ = os.WriteFile(filepath.Join(dir, "w.blob"), []byte("x"), 0o600) },
	} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			make(dir)
			all, err := open(t, dir).Entries()
			if err != nil || len(all) != 0 {
				t.Fatalf("got %v, %v", all, err)
			}
			if names, _ := os.ReadDir(dir); len(names) != 0 {
				t.Fatalf("%d files are left", len(names))
			}
		})
	}
}

func TestADamagedEntryKeepsNoOtherFromBeingDelivered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir)
	for _, id := range []string{"w1", "w2"} {
		if err := j.Append(Entry{ID: id, Ref: wire.AttemptRef{Run: id, Attempt: 1}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "w1.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := j.Entries(); err == nil || len(all) != 1 || all[0].ID != "w2" {
		t.Fatalf("got %+v, %v", all, err)
	}
}

func TestAnIDIsNeverAPath(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir())
	if err := j.Append(Entry{ID: "../x"}, nil); err == nil {
		t.Fatal("accepted")
	}
}
