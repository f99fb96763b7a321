package launcher_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// unmounted is the process backend of a host where nothing can be mounted.
type unmounted struct{ container.Backend }

func (u unmounted) Capabilities() container.Capabilities {
	c := u.Backend.Capabilities()
	c.MountAt = false
	return c
}

// A workspace that lies outside the run directory holds as much as one within, and
// nothing of it may stay: neither after a run, nor after a container that was lost
// while there was no launcher.
func TestAWorkspaceOutsideTheRunDirectoryGoesWithItsRun(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		t.Run(map[bool]string{false: "ended", true: "lost"}[lost], func(t *testing.T) {
			t.Parallel()
			w := setup(t, map[string]string{"hello": "world\n"})
			root := filepath.Join(t.TempDir(), "workspaces")
			w.env = append(w.env, "SPACELIFT_WORKSPACE_ROOT="+root)
			var backend container.Backend
			w.wrap = func(b container.Backend) container.Backend { backend = b; return unmounted{b} }
			wait, open := gate(t)
			r := w.Enqueue(&launchertest.Run{Job: w.job("cat hello; pwd; " + wait)})
			l := w.start(w.data)
			w.wait("it is up", func() (bool, string) {
				return strings.Contains(string(r.Text[4]), "world\n"+root+"/"), string(r.Text[4])
			})
			if there, err := os.ReadDir(root); err != nil || len(there) != 1 {
				t.Fatalf("the workspaces are %v, %v", there, err)
			}
			if lost {
				l.kill()
				var id string
				w.With(func() { id = r.Container })
				if err := backend.Remove(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				w.start(w.data)
				w.wait("it is said to be gone", func() (bool, string) { return len(r.Gone) == 1, summary(r) })
			} else {
				open()
				if o := w.over(r); o.Result != wire.ResultOK {
					t.Fatalf("got %+v\n%s", o, w.text(r))
				}
			}
			w.wait("the workspace is removed", func() (bool, string) {
				there, _ := filepath.Glob(filepath.Join(root, "*"))
				return len(there) == 0, strings.Join(there, " ")
			})
		})
	}
}

// Notes about the log are not synced, so a power cut may leave an empty one. The log
// is then read again from where it began, and comes out whole and once.
func TestALogWhoseNoteWasLostIsWholeAndThereOnce(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	wait, open := gate(t)
	r := w.Enqueue(&launchertest.Run{Job: w.job("seq 1 20000 | sed 's/^/line /'; echo up; " + wait + "; echo ran")})
	l := w.start(w.data)
	w.wait("it is up and noted", func() (bool, string) {
		notes, _ := filepath.Glob(filepath.Join(w.data, "slots", "*", "runs", "*", "private", "log.json"))
		return strings.Contains(string(r.Text[4]), "\nup\n") && len(notes) == 1, summary(r)
	})
	l.kill()
	var id string
	w.With(func() { id = r.Container })
	if err := os.WriteFile(filepath.Join(w.data, "slots", "0", "runs", id, "private", "log.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again := w.start(w.data)
	w.wait("it is adopted", func() (bool, string) {
		return strings.Contains(again.log.String(), "the log's note cannot be read"), again.log.String()
	})
	open()
	o, text := w.over(r), w.text(r)
	if o.Result != wire.ResultOK || strings.Count(text, "\nline ") != 20000 || strings.Count(text, "\nup\n") != 1 || strings.Count(text, "\nran\n") != 1 {
		t.Errorf("got %+v; %d lines", o, strings.Count(text, "\nline "))
	}
	w.empty(w.data)
}
