package attempt

import (
	"context"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/lease"
	"github.com/spaceport-iac/spaceport/internal/launcher/sleep"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// startBeating begins the attempt's beats, the first after a wait, and its fence,
// once.
func (t *task) startBeating(work context.Context, wait time.Duration) {
	t.mu.Lock()
	first := !t.beating
	t.beating = true
	t.mu.Unlock()
	if first {
		t.spawn(func() { t.beat(work, wait) })
		t.spawn(func() { t.fence(work) })
	}
}

// beat gives signs of life until the attempt is over.
func (t *task) beat(ctx context.Context, wait time.Duration) {
	for sleep.For(ctx, wait) == nil {
		t.mu.Lock()
		l := t.lease
		t.mu.Unlock()
		terms := l.Terms()
		started := t.o.Clock()
		t.beatOnce(ctx, l, terms)
		wait = time.Duration(terms.BeatMs)*time.Millisecond - (t.o.Clock() - started)
		if wait < time.Millisecond {
			wait = min(time.Duration(terms.BeatMs)*time.Millisecond, time.Second)
		}
	}
}

func (t *task) beatOnce(ctx context.Context, l *lease.Lease, terms wire.Terms) {
	n, sent := l.Next()
	logs := t.ship.Pending()
	answer, err := t.api.Beat(ctx, wire.BeatRequest{Beat: n, Logs: logs}, max(time.Second, time.Duration(terms.AckWithinMs)*time.Millisecond))
	if err != nil {
		if fault.Is(err, fault.Unauthenticated) {
			_ = t.refused(ctx)
		}
		t.note(err)
		t.log.Debug("a beat was not acknowledged", "beat", n, "err", err)
		return
	}
	t.ship.Settle(logs)
	t.ship.Offer(answer.URLs)
	t.ship.Watched(answer.Watched)
	t.bearer.Set(answer.Bearer, answer.BearerForMs, t.o.Now())
	counts := l.Acknowledged(sent)
	dir, rec := t.held()
	if counts && rec != nil && t.step(rec) == Released {
		// The worker's own fence counts from this file's last change.
		if err := dir.Lease(n); err != nil {
			t.log.Error("the lease cannot be written", "err", err)
		}
		if err := writeNote(dir, noteLease, l.Note()); err != nil {
			t.log.Error("the lease's note cannot be written", "err", err)
		}
		if answer.Bearer != "" {
			t.change(dir, rec, func() { rec.Bearer = answer.Bearer })
		}
	}
	if s := answer.Stop; s != nil && s.AttemptRef == t.ref {
		t.stop(s.Kill, s.Reason)
	}
}

// fence ends a container that has been without contact for too long: nobody can
// know any more whether it is still wanted.
func (t *task) fence(ctx context.Context) {
	for {
		t.mu.Lock()
		l := t.lease
		t.mu.Unlock()
		_, rec := t.held()
		left := l.Left()
		if left <= 0 && rec != nil && t.step(rec) == Released {
			reason := "there was no contact with the mothership for " + l.Silence().Round(time.Millisecond).String()
			t.mu.Lock()
			t.isFenced = true
			close(t.fenced)
			t.mu.Unlock()
			t.log.Error("the run is interrupted", "reason", reason)
			t.order(false, reason, t.patience(rec, false))
			return
		}
		if sleep.For(ctx, min(max(left, 10*time.Millisecond), time.Second)) != nil {
			return
		}
	}
}
