package worker

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// clocks are a guard's clocks, moved by hand.
type clocks struct {
	boot time.Duration
	now  time.Time
}

// pass lets time pass; suspended time passes on one clock alone.
func (c *clocks) pass(awake, suspended time.Duration) {
	c.now = c.now.Add(awake)
	c.boot += awake + suspended
}

func setupGuard(t *testing.T) (*guard, *clocks, *box) {
	t.Helper()
	b := setup(t, nil)
	w, err := openInside(b)
	if err != nil {
		t.Fatal(err)
	}
	c := &clocks{now: time.Unix(1000, 0)}
	g := &guard{
		inside: w, job: &b.job, deaf: func() bool { return false },
		boot: func() time.Duration { return c.boot }, now: func() time.Time { return c.now },
		signals: make(chan os.Signal),
	}
	b.job.FenceMs, b.job.TimeoutMs, b.job.SilenceMs = 330_000, 4_200_000, 420_000
	g.begin()
	return g, c, b
}

func wantHalt(t *testing.T, g *guard, result wire.Result, reason string) {
	t.Helper()
	g.check()
	h := g.pending()
	if h == nil {
		t.Errorf("no halt, want %s", result)
		return
	}
	if h.result != result || !strings.Contains(h.reason, reason) {
		t.Errorf("halt %+v, want %s with %q", h, result, reason)
	}
}

func wantNoHalt(t *testing.T, g *guard) {
	t.Helper()
	g.check()
	if h := g.pending(); h != nil {
		t.Errorf("halt %+v", h)
	}
}

func TestTheFenceCountsFromTheLastNewBeat(t *testing.T) {
	t.Parallel()
	g, c, b := setupGuard(t)
	for beat := range 10 {
		c.pass(300*time.Second, 0)
		_ = b.dir.Lease(int64(beat + 1))
		wantNoHalt(t, g)
	}
	c.pass(300*time.Second, 0)
	_ = b.dir.Lease(10) // written again, but not a new beat
	wantNoHalt(t, g)
	c.pass(31*time.Second, 0)
	wantHalt(t, g, wire.ResultFenced, "for 5m30s")
	c.pass(time.Hour, 0)
	wantNoHalt(t, g) // said once
}

func TestTimeInSuspendCountsForTheFenceAlone(t *testing.T) {
	t.Parallel()
	g, c, b := setupGuard(t)
	g.listen(true)
	c.pass(0, 2*time.Hour)
	_ = b.dir.Lease(1)
	wantNoHalt(t, g)
	c.pass(time.Second, 2*time.Hour)
	wantHalt(t, g, wire.ResultFenced, "")
}

func TestLimitsAreNamedWithTheLastOutput(t *testing.T) {
	t.Parallel()
	t.Run("in all", func(t *testing.T) {
		t.Parallel()
		g, c, b := setupGuard(t)
		b.job.FenceMs = 0
		c.pass(70*time.Minute-time.Second, 0)
		g.hear()
		wantNoHalt(t, g)
		c.pass(3*time.Second, 0)
		wantHalt(t, g, wire.ResultTimeout, "longer than its limit of 1h10m0s (the last output came 3s before)")
	})
	t.Run("silence", func(t *testing.T) {
		t.Parallel()
		g, c, b := setupGuard(t)
		b.job.FenceMs = 0
		c.pass(8*time.Minute, 0)
		wantNoHalt(t, g) // nothing runs yet
		g.listen(true)
		wantNoHalt(t, g)
		c.pass(7*time.Minute+time.Second, 0)
		wantHalt(t, g, wire.ResultTimeout, "no output for 7m0s, which is the limit (the last came 8m0s after the start)")
	})
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		g, c, b := setupGuard(t)
		b.job.FenceMs, b.job.TimeoutMs, b.job.SilenceMs = 0, 0, 0
		g.listen(true)
		c.pass(1000*time.Hour, 0)
		wantNoHalt(t, g)
	})
}

func TestAnOrderIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	g, _, b := setupGuard(t)
	_ = b.dir.Stop(false, "by alice")
	wantHalt(t, g, wire.ResultStopped, "by alice")
	wantNoHalt(t, g)
	g.again() // after_run
	wantNoHalt(t, g)
	_ = b.dir.Stop(true, "by bob")
	wantHalt(t, g, wire.ResultStopped, "by bob")
	wantNoHalt(t, g)
}

func TestWhatRunsAfterAStopHasItsLimitsToo(t *testing.T) {
	t.Parallel()
	g, c, b := setupGuard(t)
	_ = b.dir.Stop(false, "by alice")
	wantHalt(t, g, wire.ResultStopped, "by alice")
	g.again()
	c.pass(6*time.Minute, 0)
	wantHalt(t, g, wire.ResultFenced, "")
}

func TestAReadingToolHasAShortGrace(t *testing.T) {
	t.Parallel()
	job := &wire.WorkerJob{Class: run.Write, GraceMs: 600_000}
	if got := grace(job, 30*time.Second); got != 10*time.Minute {
		t.Errorf("writing: %s", got)
	}
	job.Class = run.Read
	if got := grace(job, 30*time.Second); got != 30*time.Second {
		t.Errorf("reading: %s", got)
	}
}
