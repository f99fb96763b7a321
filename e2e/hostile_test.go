//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// What a container can write is untrusted input. Each of these tries to make
// the launcher read, write or believe what it must not; the launcher must end
// the run honestly and take the next one.
func TestAHostileContainerGainsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "docker")
	w.createPool("hostile")
	w.launcher("one")
	w.worker("one")
	secret := w.dir + "/host-secret"
	if err := os.WriteFile(secret, []byte("canary-host-44ab\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url, _ := repository(t, map[string]string{"main.tf": configuration})

	attacks := []struct{ name, command, want string }{
		{"a link out of the tree in place of the log", `ln -sf ` + secret + ` /spaceport/out/log/00000009.log; ln -sf ` + secret + ` /spaceport/out/log/00000002.log; echo linked`, "FINISHED FAILED"},
		{"a link in place of the events", `rm -f /spaceport/out/events; ln -s ` + secret + ` /spaceport/out/events; echo linked`, "FINISHED FAILED"},
		{"a FIFO in place of the result", `mkfifo /spaceport/out/result.json; echo waiting`, "FINISHED FAILED"},
		{"a FIFO among the requests", `mkfifo /spaceport/out/requests/00000000000000000000000000.json; echo waiting`, "FINISHED FAILED"},
		{"a rewritten job", `echo '{}' > /spaceport/in/job.json; rm -f /spaceport/in/lease; echo tried`, "FINISHED FAILED"},
		{"a rewritten log", `for f in /spaceport/out/log/*; do echo garbage > "$f"; done; echo rewritten`, "FINISHED FAILED"},
		{"a forged state write", `echo '{"version":4,"serial":99,"lineage":"forged","resources":[]}' > /spaceport/out/requests/forged.body; echo '{"id":"forged","op":"state_put","body":true}' > /spaceport/out/requests/forged.json; sleep 1; cat /spaceport/in/answers/forged.json; echo asked`, "FINISHED FAILED"},
		{"a request of another kind", `echo '{"id":"x","op":"read_file","path":"/etc/shadow"}' > /spaceport/out/requests/x.json; sleep 1; echo asked`, "FINISHED FAILED"},
		{"an endless line", `i=0; while [ $i -lt 200 ]; do printf '%065536d' 7; i=$((i+1)); done; echo; echo after`, "FINISHED"},
		{"a link in the workspace", `ln -s /etc /mnt/workspace/source/etc; ln -s ` + secret + ` /mnt/workspace/source/host; echo linked`, "FINISHED"},
	}
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			stack := w.stack("Hostile "+attack.name, stackOptions{repository: url, mode: "managed", hooks: map[string][]string{"beforeInit": {attack.command}}})
			var got struct{ RunTrigger struct{ ID string } }
			w.query(`mutation($stack: ID!, $type: RunType) { runTrigger(stack: $stack, runType: $type) { id } }`,
				map[string]any{"stack": stack, "type": "PROPOSED"}, &got)
			id := got.RunTrigger.ID
			var view runView
			eventually(t, time.Minute, "the end of the run", func() string {
				if view = w.run(stack, id); view.Finished {
					return ""
				}
				return fmt.Sprintf("%s %+v", view.State, view.History)
			})
			if !strings.Contains(attack.want, view.State) {
				t.Errorf("the run ended %s, want %s: %+v\n%s", view.State, attack.want, view.History, tail(w.logs(stack, id), 3000))
			}
			if view.State == "FAILED" && view.History[0].Note == "" {
				t.Error("the run failed without a reason")
			}
			if log := w.logs(stack, id); strings.Contains(log, "canary-host-44ab") {
				t.Errorf("a file of the host stands in the log:\n%s", log)
			}
			var states int
			if err := w.openDatabase().QueryRow(`SELECT COUNT(*) FROM state WHERE run = $1`, id).Scan(&states); err != nil {
				t.Fatal(err)
			}
			if states != 0 {
				t.Errorf("a reading container wrote %d states", states)
			}
		})
	}
	stack := w.stack("After", stackOptions{repository: url, mode: "managed", autodeploy: true})
	w.reach(stack, w.trigger(stack), "FINISHED", time.Minute)
}

func TestAFullDiskEndsTheRunWithThatReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "docker")
	w.createPool("full")
	small := w.launcherData("one")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, nil, "mount", "-t", "tmpfs", "-o", "size=700m,mode=0700", "tmpfs", small)
	t.Cleanup(func() { _, _ = tryRun(nil, "umount", "-l", small) })
	launcher := w.launcher("one")
	w.worker("one")
	url, _ := repository(t, map[string]string{"main.tf": configuration})
	stack := w.stack("Full", stackOptions{repository: url, mode: "managed", hooks: map[string][]string{
		"beforeInit": {"dd if=/dev/zero of=/mnt/workspace/fill bs=1048576; echo filled"},
	}})
	id := w.trigger(stack)
	var view runView
	eventually(t, 2*time.Minute, "the end of the run", func() string {
		if view = w.run(stack, id); view.Finished {
			return ""
		}
		return fmt.Sprintf("%s %+v\n%s", view.State, view.History, tail(launcher.log.String(), 2000))
	})
	if view.State != "FAILED" || view.History[0].Note == "" {
		t.Errorf("the run ended %s with the note %q, want FAILED with a reason", view.State, view.History[0].Note)
	}
	healthy := w.stack("Healthy", stackOptions{repository: url, mode: "managed", autodeploy: true})
	w.reach(healthy, w.trigger(healthy), "FINISHED", time.Minute)
}
