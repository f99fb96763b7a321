package launcher_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// kill ends a launcher as a kill would: nothing is said, nothing is cleaned up.
func (r *running) kill() {
	r.cancel()
	r.done <- <-r.done
}

// gate is a file that a run waits for.
func gate(t *testing.T) (wait string, open func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gate")
	return "while [ ! -e " + path + " ]; do sleep 0.02; done", func() {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Error(err)
		}
	}
}

func TestAStateThatIsWrittenAfterAnAdoptionFollowsTheOnesBefore(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{wire.StateManaged, wire.StateSealed} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := setup(t, nil)
			recovery, err := age.GenerateX25519Identity()
			if err != nil {
				t.Fatal(err)
			}
			w.env = []string{"SPACELIFT_RECOVERY_RECIPIENTS=" + recovery.Recipient().String()}
			self := executable(t)
			wait, open := gate(t)
			put := func(n string) string { return self + " put-state '{\"serial\":" + n + "}' && " }
			j := w.job(put("1") + put("2") + "echo written && { " + wait + "; } && " + put("3") + put("4") + "echo done")
			j.Store.Mode = mode
			r := w.Enqueue(&launchertest.Run{Job: j})
			l := w.start(w.data)
			w.wait("two states are written", func() (bool, string) { return strings.Contains(string(r.Text[4]), "\nwritten\n"), string(r.Text[4]) })
			l.kill()
			open()
			w.start(w.data)
			if o := w.over(r); o.Result != wire.ResultOK {
				t.Fatalf("got %+v\n%s", o, w.text(r))
			}
			w.With(func() {
				st := w.State(j.Stack.ID)
				if st.Sequence != 4 || len(st.Recovery) != 0 {
					t.Errorf("state number %d is current and %d are to be recovered; want 4 and none\n%s", st.Sequence, len(st.Recovery), fmt.Sprint(r.Text))
				}
			})
			w.empty(w.data)
		})
	}
}

func executable(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}
