//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// effect is a configuration whose apply has an effect that can be counted.
const effect = `
resource "terraform_data" "effect" {
  provisioner "local-exec" {
    command = "echo the effect"
  }
}
`

// A launcher may be killed at any moment of its preparing, by power or by hand. Its
// run goes on or is given anew, and never has its effect twice. Where exactly each
// kill strikes is left to chance; what must hold holds everywhere.
func TestALauncherKilledWhileItPreparesNeitherLosesNorDoublesItsRun(t *testing.T) {
	moments := []struct {
		after string // a line of the launcher's log
		wait  time.Duration
	}{
		{"attempt accepted", 0},
		{"attempt accepted", 60 * time.Millisecond},
		{"attempt accepted", 250 * time.Millisecond},
		{"attempt accepted", 600 * time.Millisecond},
		{"the container ended", 0}, // between the reading container and the writing one
		{"the container ended", 60 * time.Millisecond},
		{"the container ended", 250 * time.Millisecond},
		{"the container ended", 600 * time.Millisecond},
	}
	for _, backend := range []string{"docker", "process"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, backend)
			w.createPool("preparing")
			w.launcher("one")
			w.worker("one")
			for i, m := range moments {
				url, _ := repository(t, map[string]string{"main.tf": effect})
				stack := w.stack(fmt.Sprintf("Preparing %d", i), stackOptions{repository: url, mode: "managed", autodeploy: true})
				launcher := w.find("one")
				before := strings.Count(launcher.log.String(), m.after)
				id := w.trigger(stack)
				eventually(t, time.Minute, m.after, func() string {
					if strings.Count(launcher.log.String(), m.after) > before {
						return ""
					}
					return tail(launcher.log.String(), 500)
				})
				<-time.After(m.wait) // not for luck: any moment will do
				launcher.kill()
				w.launcher("one")
				view := w.reach(stack, id, "FINISHED", 2*time.Minute)
				log := w.logs(stack, id)
				for _, once := range []string{"the effect", "Apply complete!"} {
					if got := count(log, once); got != 1 {
						t.Errorf("killed %v after %q: %q stands %d times in the log, want once:\n%s\n%+v", m.wait, m.after, once, got, log, view.History)
					}
				}
			}
		})
	}
}
