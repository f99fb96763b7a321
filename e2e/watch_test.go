//go:build e2e || bench

package e2e

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// seen waits until a line that is this text, or ends in it, can be read in the
// run's log.
func (w *world) seen(stack, id, text string) {
	w.t.Helper()
	eventually(w.t, time.Minute, "the line "+text, func() string {
		view := w.run(stack, id)
		if view.Finished {
			w.t.Fatalf("the run ended %s before %q was seen:\n%s\n%+v", view.State, text, w.logs(stack, id), view.History)
		}
		log := w.logs(stack, id)
		for _, line := range strings.Split(log, "\n") {
			if strings.HasSuffix(strings.TrimSpace(line), text) && !strings.Contains(line, "echo") {
				return ""
			}
		}
		return view.State + "\n" + tail(log, 1500)
	})
}

// find returns the newest process of a name.
func (w *world) find(name string) *process {
	w.t.Helper()
	for i := len(w.processes) - 1; i >= 0; i-- {
		if w.processes[i].name == name {
			return w.processes[i]
		}
	}
	w.t.Fatalf("no process is named %s", name)
	return nil
}

// glob lists the regular files below dir in any directory of this name.
func glob(t *testing.T, dir, name string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // directories come and go under a walk
		}
		if entry.Type().IsRegular() && strings.Contains(path, "/"+name+"/") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
