package containertest

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/container"
)

func removedByOthers(t *testing.T, w *world) {
	m := marker()
	r := w.start(t, func(r run) []string { return []string{"litter", r.out, m, "stay"} })
	appears(t, r.hostOut("ready"))
	type end struct {
		exit container.Exit
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		e, err := w.Backend.Wait(ctx, r.ULID)
		ended <- end{e, err}
	}()
	if err := w.Reopen(t).Remove(t.Context(), r.ULID); err != nil {
		t.Fatal(err)
	}
	// Who comes late finds nothing; who comes in time sees how it ended.
	if e := <-ended; !fault.Is(e.err, fault.NotFound) && (e.err != nil || e.exit.Code == 0) {
		t.Errorf("the wait gave %+v, %v", e.exit, e.err)
	}
	if st, err := w.Backend.Inspect(t.Context(), r.ULID); err != nil || st.Exists {
		t.Errorf("it sees %+v, %v", st, err)
	}
	if left := alive(t, m); len(left) > 0 {
		t.Errorf("still alive: %q", left)
	}
}

func outOfMemory(t *testing.T, w *world) {
	if !w.Backend.Capabilities().Limits {
		return
	}
	r := w.prepare(t, func(run) []string { return []string{"hog"} })
	r.Memory = 64 << 20
	if err := w.Backend.Create(t.Context(), r.Spec); err != nil {
		t.Fatal(err)
	}
	if err := w.Backend.Start(t.Context(), r.ULID); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, w.Backend, r.ULID); !e.OOM || e.Code != 137 {
		t.Errorf("it ended as %+v", e)
	}
}

func forkBomb(t *testing.T, w *world) {
	if !w.Backend.Capabilities().Limits {
		return
	}
	m := marker()
	r := w.prepare(t, func(r run) []string { return []string{"bomb", r.out, m} })
	r.Pids = 64
	if err := w.Backend.Create(t.Context(), r.Spec); err != nil {
		t.Fatal(err)
	}
	if err := w.Backend.Start(t.Context(), r.ULID); err != nil {
		t.Fatal(err)
	}
	appears(t, r.hostOut("ready"))
	if n := len(alive(t, m)); n > 64 {
		t.Errorf("%d processes, and 64 are allowed", n)
	}
	if b, err := os.ReadFile(r.hostOut("ready")); err != nil || !strings.Contains(string(b), "temporarily unavailable") {
		t.Errorf("the bomb ended with %q, %v", b, err)
	}
	if err := w.Backend.Remove(t.Context(), r.ULID); err != nil {
		t.Fatal(err)
	}
	if left := alive(t, m); len(left) > 0 {
		t.Errorf("still alive: %d", len(left))
	}
}
