package launcher_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// What users of such systems have met, on the whole launcher: see
// docs/field-reports.md.

func TestAnOutcomeWhoseAnswersAreLostIsToldUntilOneArrives(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	var refused, swallowed atomic.Int64
	w.Before = func(r *http.Request) int {
		if strings.HasSuffix(r.URL.Path, "/outcome") && refused.Add(1) <= 3 {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	w.After = func(r *http.Request) int {
		if strings.HasSuffix(r.URL.Path, "/outcome") && swallowed.Add(1) <= 3 {
			return http.StatusBadGateway
		}
		return 0
	}
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo ran")})
	w.start(w.data)
	if o := w.over(r); o.Result != wire.ResultOK || strings.Count(w.text(r), "\nran\n") != 1 {
		t.Fatalf("got %+v\n%s", o, w.text(r))
	}
	next := w.Enqueue(&launchertest.Run{Job: w.job("echo next")})
	if o := w.over(next); o.Result != wire.ResultOK {
		t.Fatalf("got %+v", o)
	}
	if refused.Load() <= 3 || swallowed.Load() <= 3 {
		t.Fatalf("outcomes were refused %d and swallowed %d times", refused.Load(), swallowed.Load())
	}
	w.With(func() {
		for _, o := range r.Outcomes {
			if o.Result != wire.ResultOK || o.Container != r.Container {
				t.Errorf("told %+v", o)
			}
		}
	})
	w.empty(w.data)
}

func TestLinesOfRunsOnOneHostStayInTheirOwnLogs(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	meet := t.TempDir()
	var all []*launchertest.Run
	for i := range 2 {
		// Neither begins to print before the other is there.
		all = append(all, w.Enqueue(&launchertest.Run{Job: w.job(fmt.Sprintf(
			"touch %[1]s/%[2]d; while [ ! -e %[1]s/0 ] || [ ! -e %[1]s/1 ]; do sleep 0.02; done; i=0; while [ $i -lt 2000 ]; do echo run-%[2]d-$i; i=$((i+1)); done", meet, i))}))
	}
	w.start(w.data)
	w.start(w.data)
	for i, r := range all {
		o := w.over(r)
		text := w.text(r)
		if o.Result != wire.ResultOK || strings.Count(text, fmt.Sprintf("\nrun-%d-", i)) != 2000 || strings.Contains(text, fmt.Sprintf("\nrun-%d-", 1-i)) {
			t.Errorf("run %d: got %+v\n%.2000s", i, o, text)
		}
	}
}

func TestALineOfTwentyMegabytesArrivesWhole(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	const size = 20 << 20
	r := w.Enqueue(&launchertest.Run{Job: w.job(fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x; echo; echo end", size))})
	w.start(w.data)
	o := w.over(r)
	text := w.text(r)
	if o.Result != wire.ResultOK || !strings.Contains(text, strings.Repeat("x", size)+"\nend\n") {
		t.Fatalf("got %+v, %d bytes of log with %d of the line", o, len(text), strings.Count(text, "x"))
	}
}

// shortOfMemory ends each container as an engine does that has run out of memory.
type shortOfMemory struct{ container.Backend }

func (b shortOfMemory) Wait(ctx context.Context, id string) (container.Exit, error) {
	e, err := b.Backend.Wait(ctx, id)
	e.OOM, e.Code = true, 137
	return e, err
}

func TestARunThatNeededTooMuchMemoryIsToldSo(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	w.wrap = func(b container.Backend) container.Backend { return shortOfMemory{b} }
	// The kernel takes the tool and leaves the worker, which is small.
	r := w.Enqueue(&launchertest.Run{Job: w.job("kill -9 $$")})
	w.start(w.data)
	if o := w.over(r); o.Result != wire.ResultFailed || !strings.Contains(o.Reason, "memory") || o.ExitCode != 137 || !strings.Contains(w.text(r), "memory") {
		t.Fatalf("got %+v\n%s", o, w.text(r))
	}
}
