package worker

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// halt is an order to end what runs.
type halt struct {
	result wire.Result
	reason string // a sentence for people, not masked yet
	hard   bool   // kill, without an interrupt first
	last   bool   // nothing may run after it, after_run neither
}

// guard watches for everything that ends a run from outside:
//
//	in/stop, SIGTERM, SIGINT    an order
//	in/lease stands still       the fence: whoever could stop us is out of reach
//	total and silence           limits of the run
//
// It sends one halt, and after it at most one hard one.
type guard struct {
	inside *rundir.Inside
	job    *wire.WorkerJob
	boot   func() time.Duration // with time suspended: the fence's
	now    func() time.Time     // monotonic: the limits'
	// deaf reports whether output waits to be taken: then silence proves nothing.
	deaf    func() bool
	signals <-chan os.Signal
	broken  chan error // the log cannot be written any more
	halts   chan halt

	began    time.Time
	lease    int64
	leaseAt  time.Duration
	heard    atomic.Int64 // last output, as time since began
	phase    atomic.Bool  // a phase runs, so silence counts
	signaled int          // how often a signal told us to stop

	mu      sync.Mutex
	soft    bool // a halt has been sent
	hard    bool // a hard one has been sent
	stopped bool // the order to stop has been carried out: only a kill is new
}

// begin starts the clocks; call it when the job has been read.
func (g *guard) begin() {
	g.halts = make(chan halt, 8)
	g.broken = make(chan error, 1)
	g.began = g.now()
	g.lease = g.inside.Lease()
	g.leaseAt = g.boot()
}

// hear notes that there was output.
func (g *guard) hear() { g.heard.Store(int64(g.now().Sub(g.began))) }

// listen says whether output is expected from now on.
func (g *guard) listen(on bool) {
	g.hear()
	g.phase.Store(on)
}

// run watches until ctx ends.
func (g *guard) run(ctx context.Context) {
	w := rundir.Watch(g.inside.In())
	defer w.Close()
	for {
		g.check()
		select {
		case <-ctx.Done():
			return
		case <-g.signals:
			g.signaled++
		case err := <-g.broken:
			reason := "the log cannot be written any more"
			if f := fault.As(err); f != nil {
				reason += ": " + f.Error()
			}
			g.send(halt{result: wire.ResultFailed, reason: reason, last: true})
		case <-w.C:
		}
	}
}

func (g *guard) check() {
	if kill, reason, ordered := g.inside.Stop(); ordered && (kill || !g.obeyed()) {
		if reason == "" {
			reason = "the run was stopped"
		}
		g.send(halt{result: wire.ResultStopped, reason: reason, hard: kill, last: kill})
	}
	if g.signaled > 1 || g.signaled > 0 && !g.obeyed() {
		g.send(halt{result: wire.ResultStopped, reason: "the container was told to stop", hard: g.signaled > 1, last: g.signaled > 1})
	}
	if n := g.inside.Lease(); n != g.lease {
		g.lease, g.leaseAt = n, g.boot()
	}
	if limit := ms(g.job.FenceMs); limit > 0 && g.boot()-g.leaseAt > limit {
		g.send(halt{result: wire.ResultFenced, last: true, reason: fmt.Sprintf(
			"nobody has confirmed this run for %s, so it stops itself before another may take its place", limit)})
	}
	elapsed := g.now().Sub(g.began)
	heard := time.Duration(g.heard.Load())
	if limit := ms(g.job.TimeoutMs); limit > 0 && elapsed > limit {
		g.send(halt{result: wire.ResultTimeout, last: true, reason: fmt.Sprintf(
			"the run took longer than its limit of %s (the last output came %s before)", limit, short(elapsed-heard))})
	}
	if !g.phase.Load() {
		return
	}
	if g.deaf() {
		g.hear()
		return
	}
	if limit := ms(g.job.SilenceMs); limit > 0 && elapsed-heard > limit {
		g.send(halt{result: wire.ResultTimeout, reason: fmt.Sprintf(
			"there was no output for %s, which is the limit (the last came %s after the start); a command that asks for input gets none here",
			limit, short(heard))})
	}
}

// send passes on the first halt, and the first hard one after it.
func (g *guard) send(h halt) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hard || g.soft && !h.hard {
		return
	}
	g.soft, g.hard = true, h.hard
	g.stopped = g.stopped || h.result == wire.ResultStopped
	g.halts <- h // a few are sent in a container's life; there is room
}

// again lets limits and a kill end what is still to run after a halt.
func (g *guard) again() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.soft = false
}

func (g *guard) obeyed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stopped
}

// pending returns a halt that came while nothing ran.
func (g *guard) pending() *halt {
	select {
	case h := <-g.halts:
		return &h
	default:
		return nil
	}
}

// grace is the time between interrupt and kill. A reading tool has nothing to
// finish but its lock.
func grace(job *wire.WorkerJob, reading time.Duration) time.Duration {
	if job.Class == run.Read {
		return min(ms(job.GraceMs), reading)
	}
	return ms(job.GraceMs)
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// short rounds a duration for people.
func short(d time.Duration) time.Duration {
	if d > 10*time.Second {
		return d.Round(time.Second)
	}
	return d.Round(time.Millisecond)
}
