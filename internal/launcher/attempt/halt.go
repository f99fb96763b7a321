package attempt

import (
	"context"
	"syscall"
	"time"

	"github.com/spaceport-iac/spaceport/internal/rundir"
)

const (
	killMargin  = 5 * time.Second  // what a worker gets to kill what runs by itself
	engineTime  = 30 * time.Second // for one short call to the backend
	firstPause  = 100 * time.Millisecond
	longestWait = 10 * time.Second // between tries
)

// halt is what the present container is to be told. One that kills is the last
// word: nothing takes it back.
type halt struct {
	kill   bool
	reason string
	at     time.Duration // by the boot clock: then the backend ends it
}

// order notes a halt of the present container and wakes up whoever carries it out.
// It never waits, neither for the disk nor for the engine: it is called from what
// must go on, beats among them. A second one only makes the first one stricter.
func (t *task) order(kill bool, reason string, within time.Duration) {
	at := t.o.Clock() + within
	t.mu.Lock()
	h := t.halt
	switch {
	case h == nil:
		t.halt = &halt{kill: kill, reason: reason, at: at}
	case kill && !h.kill:
		t.halt = &halt{kill: true, reason: reason, at: min(at, h.at)}
	default:
		t.halt = &halt{kill: h.kill, reason: h.reason, at: min(at, h.at)}
	}
	t.mu.Unlock()
	select {
	case t.ordered <- struct{}{}:
	default:
	}
}

// halting carries halts of a container out until ctx ends, which is when the
// container has. The worker is told first; what does not end by itself is ended by
// the backend, which is asked again for as long as it takes: an engine that hangs
// now may answer later.
func (t *task) halting(ctx context.Context, dir *rundir.Dir, rec *Record) {
	// An order that came while nobody knew yet that there is a container.
	if s := t.wanted(); s != nil {
		t.order(s.Kill, s.Reason, t.patience(rec, s.Kill))
	}
	told, pause := halt{}, firstPause
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.ordered:
			t.mu.Lock()
			h := t.halt
			t.mu.Unlock()
			if h == nil {
				continue
			}
			if h.kill != told.kill || told.reason == "" {
				t.tellWorker(ctx, dir, rec, *h)
			}
			told = *h
			due = time.After(max(0, h.at-t.o.Clock()))
		case <-due:
			kctx, cancel := context.WithTimeout(ctx, engineTime)
			err := t.o.Backend.Kill(kctx, rec.Container)
			cancel()
			if err != nil && ctx.Err() == nil {
				t.log.Error("a container that should have ended cannot be killed", "container", rec.Container, "err", err)
			}
			due = time.After(pause)
			pause = min(2*pause, longestWait)
		}
	}
}

// patience is how long a worker is given to end what runs.
func (t *task) patience(rec *Record, kill bool) time.Duration {
	if kill {
		return killMargin
	}
	return killMargin + time.Duration(rec.Terms.GraceMs)*time.Millisecond
}

// tellWorker writes an order for the worker. Where that cannot be done, as on a
// full disk, a signal says nearly the same: else a tool would be killed at the end
// of a grace that it never heard of.
func (t *task) tellWorker(ctx context.Context, dir *rundir.Dir, rec *Record, h halt) {
	err := dir.Stop(h.kill, h.reason)
	if err == nil {
		return
	}
	t.log.Error("the order to stop cannot be written; the worker gets a signal", "err", err)
	ctx, cancel := context.WithTimeout(ctx, engineTime)
	defer cancel()
	if err := t.o.Backend.Signal(ctx, rec.Container, syscall.SIGTERM); err != nil {
		t.log.Error("the worker cannot be told to stop", "container", rec.Container, "err", err)
	}
}
