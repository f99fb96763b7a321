package launcher_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// idle waits until a container waits for the next job, and returns its id.
func (w *world) idle() (id string) {
	w.t.Helper()
	w.wait("a container waits for a job", func() (bool, string) {
		ids := w.waiting(w.data)
		if len(ids) != 1 {
			return false, fmt.Sprint(ids)
		}
		id = ids[0]
		_, err := os.Stat(filepath.Join(w.data, "slots", "0", "runs", id, "in", wire.InAlive))
		return err == nil, fmt.Sprint(ids, err)
	})
	return id
}

func (w *world) ran(j wire.Job) wire.Outcome {
	w.t.Helper()
	r := w.Enqueue(&launchertest.Run{Job: j})
	o := w.over(r)
	if o.Result != wire.ResultOK {
		w.t.Fatalf("got %+v\n%s", o, w.text(r))
	}
	return o
}

func TestAContainerWaitsForTheNextRunAndServesOne(t *testing.T) {
	t.Parallel()
	w := setup(t, map[string]string{"hello": "world\n"})
	l := w.start(w.data)
	first := w.ran(w.job("cat hello"))
	waiting := w.idle()
	second := w.ran(w.job("cat hello"))
	if second.Container != waiting || waiting == first.Container {
		t.Errorf("%s waited, and the runs were in %s and %s", waiting, first.Container, second.Container)
	}
	if third := w.idle(); third == waiting {
		t.Error("a container was used twice")
	}
	l.signals <- syscall.SIGTERM
	w.wait("nothing is left", func() (bool, string) {
		left, _ := filepath.Glob(filepath.Join(w.data, "slots", "*", "runs", "*"))
		return len(left) == 0, fmt.Sprint(left)
	})
}

func TestAContainerThatWaitsForAnotherKindOfRunIsNotUsed(t *testing.T) {
	t.Parallel()
	w, j := tracked(t) // reads first
	l := w.start(w.data)
	w.ran(w.job("cat plan.json")) // writes
	waiting := w.idle()
	r := w.Enqueue(&launchertest.Run{Job: j})
	applied(t, w, r, w.over(r))
	w.With(func() {
		for _, o := range r.Outcomes {
			if o.Container == waiting {
				t.Error("a writing container was given a reading phase")
			}
		}
	})
	w.empty(w.data)
	if strings.Contains(l.log.String(), "level=ERROR") {
		t.Error(l.log.String())
	}
}

func TestAContainerThatDiedWhileItWaitedIsReplaced(t *testing.T) {
	t.Parallel()
	w := setup(t, map[string]string{"hello": "world\n"})
	w.start(w.data)
	w.ran(w.job("cat hello"))
	waiting := w.idle()
	w.kill(waiting)
	if o := w.ran(w.job("cat hello")); o.Container != waiting {
		t.Errorf("the run was in %s, not in the directory that waited, %s", o.Container, waiting)
	}
}

func TestNoContainerWaitsWhereThatIsSwitchedOff(t *testing.T) {
	t.Parallel()
	w := setup(t, map[string]string{"hello": "world\n"})
	w.env = append(w.env, "SPACELIFT_STANDBY_ENABLED=false")
	w.start(w.data)
	w.ran(w.job("cat hello"))
	w.ran(w.job("cat hello")) // what follows an attempt is done before the next is over
	w.wait("nothing is left", func() (bool, string) {
		left, _ := filepath.Glob(filepath.Join(w.data, "slots", "*", "runs", "*"))
		return len(left) == 0, fmt.Sprint(left)
	})
	if ids := w.waiting(w.data); len(ids) != 0 {
		t.Errorf("%v wait", ids)
	}
}

// kill ends the supervisor of a container, and with it the worker.
func (w *world) kill(id string) {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.data, "slots", "0", "runs", id, "private", "process.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	var note struct{ Supervisor struct{ PID int } }
	if err := json.Unmarshal(data, &note); err != nil {
		w.t.Fatal(err)
	}
	if err := syscall.Kill(note.Supervisor.PID, syscall.SIGKILL); err != nil {
		w.t.Fatal(err)
	}
	w.wait("the supervisor is dead", func() (bool, string) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", note.Supervisor.PID))
		return err != nil || strings.Contains(string(stat), ") Z "), string(stat)
	})
}
