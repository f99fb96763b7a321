//go:build e2e

package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// slow is a configuration whose apply has an effect that can be counted, and
// takes long enough to be interrupted in its middle.
const slow = `
resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "echo effect begins; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo tick $i; sleep 0.3; done; echo effect ends"
  }
}

output "done" {
  value = terraform_data.slow.id
}
`

// numbered prints lines that show a gap or a double at a glance.
const numbered = `for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do echo "line $i."; sleep 0.2; done`

func whole(t *testing.T, log string) {
	t.Helper()
	at := 0
	for _, n := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"} {
		line := "\nline " + n + ".\n"
		if strings.Count(log, line) != 1 {
			t.Errorf("line %s stands %d times in the log:\n%s", n, strings.Count(log, line), log)
			return
		}
		next := strings.Index(log, line)
		if next < at {
			t.Errorf("line %s is out of order:\n%s", n, log)
		}
		at = next
	}
}

// crashes are faults that may strike while a run goes on. Each gets the world
// and the launcher and returns the launcher that serves afterwards.
var crashes = []struct {
	name   string
	strike func(w *world, launcher *process)
}{
	{"the launcher is killed and started again", func(w *world, launcher *process) {
		launcher.kill()
		w.launcher("one")
	}},
	{"the mothership is killed and started again", func(w *world, _ *process) {
		w.server.kill()
		w.startServer()
	}},
}

func TestARunSurvivesACrashInTheMiddleOfItsPlanAndOfItsApply(t *testing.T) {
	for _, backend := range []string{"docker", "process"} {
		for _, crash := range crashes {
			t.Run(backend+": "+crash.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, backend)
				w.createPool("crash")
				launcher := w.launcher("one")
				w.worker("one")
				url, _ := repository(t, map[string]string{"main.tf": slow})
				stack := w.stack("Crash", stackOptions{repository: url, mode: "managed", hooks: map[string][]string{"beforePlan": {numbered}}})

				id := w.trigger(stack)
				w.seen(stack, id, "line 3.")
				crash.strike(w, launcher)
				w.reach(stack, id, "UNCONFIRMED", time.Minute)
				whole(t, w.logs(stack, id))

				if err := w.act("runConfirm", stack, id); err != nil {
					t.Fatal(err)
				}
				w.seen(stack, id, "tick 3")
				crash.strike(w, w.find("one"))
				view := w.reach(stack, id, "FINISHED", time.Minute)
				log := w.logs(stack, id)
				for _, once := range []string{"effect begins", "effect ends", "Apply complete!"} {
					if got := count(log, once); got != 1 {
						t.Errorf("%q stands %d times in the log, want once:\n%s\n%+v", once, got, log, view.History)
					}
				}
				next := w.trigger(stack)
				w.reach(stack, next, "FINISHED", time.Minute)
				if log := w.logs(stack, next); !strings.Contains(log, "No changes") {
					t.Errorf("the state of the apply was lost: the next plan finds changes\n%s", log)
				}
			})
		}
	}
}

// count counts lines of output that end in text: the tool shows the command
// itself in other lines.
func count(log, text string) (n int) {
	for _, line := range strings.Split(log, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasSuffix(line, ": "+text) || strings.HasPrefix(line, text) {
			n++
		}
	}
	return n
}

func TestAStateWriteInFlightOutlivesTheLauncher(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "docker")
	w.createPool("flight")
	launcher := w.launcher("one")
	w.worker("one")
	url, _ := repository(t, map[string]string{"main.tf": slow})
	stack := w.stack("Flight", stackOptions{repository: url, mode: "sealed", autodeploy: true})
	id := w.trigger(stack)
	w.seen(stack, id, "tick 10")
	// The mothership goes silent, so that the state that the apply writes next
	// reaches the journal but nobody else; then the launcher dies.
	if err := w.server.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "a state write in the journal", func() string {
		if n := len(glob(t, w.launcherData("one"), "journal")); n > 0 {
			return ""
		}
		return "no journal entry"
	})
	launcher.kill()
	if err := w.server.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.launcher("one")
	w.reach(stack, id, "FINISHED", time.Minute)
	next := w.trigger(stack)
	w.reach(stack, next, "FINISHED", time.Minute)
	if log := w.logs(stack, next); !strings.Contains(log, "No changes") {
		t.Errorf("the state that was in flight was lost:\n%s", log)
	}
}

func TestARunCompletesWhileTheBrokerIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "process")
	w.server.stop(syscall.SIGTERM)
	// The address that launchers are given answers nobody.
	w.startServer("MQTT_BROKER_ENDPOINT=tls://127.0.0.1:" + freePort(t))
	w.createPool("hintless")
	launcher := w.launcher("one")
	w.worker("one")
	url, _ := repository(t, map[string]string{"main.tf": configuration})
	stack := w.stack("Hintless", stackOptions{repository: url, mode: "managed", autodeploy: true})
	id := w.trigger(stack)
	w.reach(stack, id, "FINISHED", 2*time.Minute)
	if log := launcher.log.String(); !strings.Contains(log, "broker cannot be reached") {
		t.Errorf("the launcher should say that it has no hint channel:\n%s", tail(log, 3000))
	}
}
