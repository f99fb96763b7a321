//go:build e2e && long

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// endless is an apply that would never end by itself. Its shell shows a mark in the
// process table, where there may be other applies.
const endless = `
resource "terraform_data" "endless" {
  provisioner "local-exec" {
    command = ": %s; i=0; while true; do i=$((i+1)); echo tick $i; sleep 5; done"
  }
}
`

// The lease's durations are scaled down in every other test. Here they have
// their full length: a writer whose launcher never comes back is interrupted by
// its own PID 1, and only after that the mothership gives up.
func TestLongAnAbandonedWriterIsInterruptedBeforeTheMothershipGivesUp(t *testing.T) {
	w := newWorld(t, "docker")
	w.createPool("abandoned")
	launcher := w.launcher("one")
	w.worker("one")
	mark := fmt.Sprintf("endless-%d-%d", os.Getpid(), time.Now().UnixNano())
	url, _ := repository(t, map[string]string{"main.tf": fmt.Sprintf(endless, mark)})
	stack := w.stack("Abandoned", stackOptions{repository: url, mode: "managed", autodeploy: true})
	id := w.trigger(stack)
	w.seen(stack, id, "tick 2")
	launcher.kill()
	begin := time.Now()

	// What has effects is the provisioner. The tool itself stays for its grace: it
	// wants to write its state, and there is nobody to take it yet.
	running := func() bool { return strings.Contains(run(t, nil, "ps", "axo", "args"), ": "+mark+";") }
	if !running() {
		t.Fatal("the apply is not running: the test looks at the wrong processes")
	}
	eventuallyEvery(t, time.Second, 8*time.Minute, "the interrupt of the apply", func() string {
		if running() {
			return fmt.Sprintf("still applying after %v", time.Since(begin).Round(time.Second))
		}
		return ""
	})
	stopped := time.Since(begin)
	if stopped < 5*time.Minute {
		t.Errorf("the apply was interrupted after %v, before its fence", stopped)
	}
	if view := w.run(stack, id); view.State != "APPLYING" {
		t.Errorf("the mothership gave up in state %s when the writer had just stopped", view.State)
	}
	eventuallyEvery(t, time.Second, 15*time.Minute, "the mothership's giving up", func() string {
		view := w.run(stack, id)
		if view.State == "FAILED" {
			return ""
		}
		return fmt.Sprintf("%s after %v", view.State, time.Since(begin).Round(time.Second))
	})
	view := w.run(stack, id)
	t.Logf("interrupted after %v, given up after %v: %s", stopped.Round(time.Second), time.Since(begin).Round(time.Second), view.History[0].Note)

	// The stack takes no new writer until the launcher has told what became of it.
	next := w.trigger(stack)
	if view := w.run(stack, next); view.State != "QUEUED" {
		t.Errorf("after the loss a new tracked run is %s, want QUEUED behind the quarantine", view.State)
	}
	states := func() (n int) {
		if err := w.openDatabase().QueryRow(`SELECT count(*) FROM state WHERE run = ?`, id).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := states()
	w.launcher("one")
	eventually(t, 2*time.Minute, "the end of the quarantine", func() string {
		if view := w.run(stack, next); view.State == "QUEUED" {
			return view.State
		}
		return ""
	})
	// What the tool wrote in its grace, when no launcher was there, has arrived.
	if n := states(); n <= before {
		t.Errorf("there are %d states of the run, and there were %d before its launcher came back", n, before)
	}
}

// A reading run whose worker is lost goes to another one, after the full term.
func TestLongALostPlanIsGivenToAnotherWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "process")
	w.createPool("lost")
	launcher := w.launcher("one")
	w.worker("one")
	url, _ := repository(t, map[string]string{"main.tf": configuration})
	stack := w.stack("Lost", stackOptions{repository: url, mode: "managed", hooks: map[string][]string{
		"beforePlan": {`echo planning; if [ "$SPACEPORT_E2E" != second ]; then sleep 900; fi`},
	}})
	id := w.trigger(stack)
	w.seen(stack, id, "planning")
	launcher.kill()
	begin := time.Now()
	w.launcher("two", "SPACELIFT_WHITELIST_ENVS=SPACEPORT_E2E", "SPACEPORT_E2E=second")
	w.reach(stack, id, "UNCONFIRMED", 4*time.Minute)
	if took := time.Since(begin); took < 45*time.Second {
		t.Errorf("the run was taken from its worker after %v, before the term", took)
	}
}
