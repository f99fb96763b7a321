package launcher

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/attempt"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

const (
	firstRetry = 200 * time.Millisecond
	busyRetry  = 10 * time.Second // longest pause between tries while a run is live
	idleRetry  = 30 * time.Second
	checkEvery = 10 * time.Second // of the backend's health, at most
	checkTime  = 30 * time.Second // that the backend may take for it at the start
	askAtLeast = 15 * time.Minute // whatever the mothership says
)

// loop is the state of the orders loop.
type loop struct {
	*Launcher
	found    map[wire.AttemptRef][]*attempt.Record // not looked at yet
	swept    bool
	unswept  time.Time // when the rest is to be swept, if something could not be
	done     chan error
	running  bool
	leaving  int // signals so far
	last     wire.AttemptRef
	notYet   time.Time     // when an attempt that ended with an error is taken up again
	pause    time.Duration // before that
	drained  bool
	unwell   string
	checked  time.Time
	tidied   time.Time
	retry    time.Duration
	warned   bool
	stopHint context.CancelFunc
}

// live registers and then follows orders until it is time to leave.
func (l *Launcher) live(ctx context.Context) error {
	checking, checked := context.WithTimeout(ctx, checkTime)
	err := l.backend.Check(checking)
	checked()
	if err != nil {
		return err
	}
	// Signals are heard from the beginning: a launcher that cannot reach its
	// mothership must be able to leave.
	registering, stop := context.WithCancel(ctx)
	registered := make(chan error, 1)
	l.spawn(func() { registered <- l.register(registering, true) })
	select {
	case err := <-registered:
		stop()
		if code(err) == "conflict.session_superseded" {
			l.o.Log.Warn("a copy of this data directory is in use elsewhere; this launcher makes a new key")
			if err = l.id.Renew(); err == nil {
				err = l.register(ctx, true)
			}
		}
		if err != nil {
			return err
		}
	case <-l.o.Signals:
		stop()
		if err := <-registered; err != nil {
			l.o.Log.Info("the launcher leaves unregistered", "err", err)
		}
		return nil
	}
	lp := &loop{Launcher: l, found: l.found(), done: make(chan error, 1)}
	lp.startListening(ctx)
	defer func() { lp.stopHint() }()
	l.spawn(func() { l.keepCertificate(ctx) })
	l.o.Log.Info("ready", "backend", l.backend.Name(), "version", l.o.Version)
	return lp.run(ctx)
}

func (l *loop) startListening(ctx context.Context) {
	if l.stopHint != nil {
		l.stopHint()
	}
	hctx, cancel := context.WithCancel(ctx)
	l.stopHint = cancel
	l.spawn(func() { l.listen(hctx) })
}

func (l *loop) run(ctx context.Context) error {
	for {
		wait, leave, err := l.ask(ctx)
		if leave || err != nil {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			if l.running {
				if err := <-l.done; err != nil {
					l.o.Log.Debug("the attempt is left to the next launcher", "err", err)
				}
			}
			return ctx.Err()
		case <-timer.C:
		case <-l.look:
		case err := <-l.done:
			l.running = false
			l.tried(ctx, err)
		case <-l.o.Signals:
			l.leaving++
			l.o.Log.Info("the launcher is to leave", "busy", l.running, "signals", l.leaving)
			switch {
			case l.leaving > 3:
				timer.Stop()
				l.o.Log.Warn("the launcher leaves at once; a container that runs is adopted by the next one")
				return nil
			case l.leaving > 1:
				l.runner.StopAll(l.leaving > 2, "the launcher was told to stop")
			}
		}
		timer.Stop()
	}
}

// tried takes note of an attempt's end. One that ended with an error is taken up
// again, as a launcher that comes after would: from what is on the disk. Its
// container may live, and nobody else can watch or end it.
func (l *loop) tried(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		l.pause = 0
		return
	}
	l.pause = min(max(2*l.pause, firstRetry), idleRetry)
	l.o.Log.Error("the attempt ended with an error and will be taken up again", "pause", l.pause, "err", err)
	l.notYet, l.last = l.o.Now().Add(l.pause), wire.AttemptRef{}
	l.found, l.swept = l.Launcher.found(), false
}

// ask asks for orders and carries them out. It returns when to ask again, or that
// the launcher is to leave.
func (l *loop) ask(ctx context.Context) (wait time.Duration, leave bool, err error) {
	// Whoever leaves idle says so once and goes; it need not be answered.
	s := l.present()
	req := wire.OrdersRequest{Session: s.Number, Hints: l.hinted(), Busy: l.runner.Busy(), Leaving: l.leaving > 0, Unwell: l.health(ctx)}
	// What was found has to be looked through first, and an attempt is not taken
	// before its time.
	if l.swept && !l.running && !req.Leaving && req.Unwell == "" && req.Busy == nil && !l.notYet.After(l.o.Now()) {
		req.Nonce = nonce()
	}
	orders, err := l.api.Orders(ctx, s.Bearer, req)
	if err != nil {
		return l.trouble(ctx, err)
	}
	if l.warned {
		l.o.Log.Info("the mothership answers again")
	}
	l.warned, l.retry = false, firstRetry
	s.Bearer.Set(orders.Bearer, orders.BearerFor, l.o.Now())
	if orders.Drain != l.drained {
		l.drained = orders.Drain
		l.o.Log.Info("drain changed", "drained", l.drained)
	}
	if orders.Stop != nil {
		l.runner.Stop(*orders.Stop)
	}
	a := orders.Assignment
	if !l.unswept.IsZero() && !l.running && !l.o.Now().Before(l.unswept) {
		l.unswept, l.found, l.swept = time.Time{}, l.Launcher.found(), false
	}
	if !l.swept {
		l.swept = true
		l.sweep(ctx, a)
	}
	late := l.notYet.Sub(l.o.Now())
	var given *attempt.Given
	if orders.Job != nil {
		given = &attempt.Given{Session: s, Nonce: req.Nonce, Job: *orders.Job}
	}
	if !l.running && a != nil && (a.AttemptRef != l.last || given != nil) && late <= 0 {
		l.start(ctx, *a, given)
		return min(time.Duration(orders.AskAgainMs)*time.Millisecond, busyRetry), false, nil
	}
	l.tidyImages(ctx)
	if !l.running && (l.leaving > 0 || orders.Cycle) {
		if l.leaving == 0 {
			l.o.Log.Info("the mothership asks to leave, since the pool was cycled: who started the launcher is to start it again")
		}
		l.leave(s)
		return 0, true, nil
	}
	wait = time.Duration(orders.AskAgainMs) * time.Millisecond
	// The bearer must not run out while nobody asks.
	if left := s.Bearer.Left(l.o.Now()) * 8 / 10; left > 0 {
		wait = min(wait, left)
	}
	if late > 0 {
		wait = min(wait, late)
	}
	wait = min(max(wait, 10*time.Millisecond), askAtLeast)
	// A tenth earlier or later: launchers that were started together, or that were all
	// told of the same trouble, do not ask in step.
	return wait - wait/10 + rand.N(wait/5+1), false, nil
}

// trouble decides what an answer that is none means.
func (l *loop) trouble(ctx context.Context, err error) (time.Duration, bool, error) {
	if ctx.Err() != nil {
		return time.Hour, false, nil
	}
	s := l.present()
	switch {
	case l.leaving > 0 && !l.running:
		l.o.Log.Warn("the launcher leaves without having told the mothership", "err", err)
		return 0, true, nil
	case fault.Is(err, fault.Unauthenticated):
		if err := l.renew(ctx, s.Number); err != nil {
			return l.unregistered(ctx, err)
		}
		return 0, false, nil
	case fault.Is(err, fault.Stale), code(err) == "conflict.session_superseded":
		return l.unregistered(ctx, err)
	}
	if !l.warned {
		l.warned = true
		l.o.Log.Warn("the mothership does not answer; the launcher goes on asking", "err", err)
	}
	limit := idleRetry
	if l.running {
		limit = busyRetry
	}
	l.retry = min(max(2*l.retry, firstRetry), limit)
	return l.retry/2 + rand.N(l.retry/2+1), false, nil
}

// unregistered is a session that the mothership does not want any more. One that
// was superseded makes a new key once idle: its data directory was copied.
func (l *loop) unregistered(ctx context.Context, err error) (time.Duration, bool, error) {
	superseded := fault.Is(err, fault.Stale) || code(err) == "conflict.session_superseded"
	switch {
	case ctx.Err() != nil:
		return time.Hour, false, nil
	case !superseded && l.running:
		l.o.Log.Error("the worker cannot register; the present run goes on", "err", err)
		return busyRetry, false, nil
	case !superseded:
		return 0, true, err
	case l.running:
		l.o.Log.Error("a newer session of this worker is in use elsewhere; the present run goes on", "err", err)
		return busyRetry, false, nil
	}
	l.o.Log.Warn("a newer session of this worker is in use elsewhere; this launcher makes a new key", "err", err)
	if err := l.id.Renew(); err != nil {
		return 0, true, err
	}
	if err := l.register(ctx, true); err != nil {
		return 0, true, err
	}
	l.startListening(ctx)
	return 0, false, nil
}

// health says why no run can be taken, or "".
func (l *loop) health(ctx context.Context) string {
	if l.running || l.o.Now().Sub(l.checked) < checkEvery {
		return l.unwell
	}
	l.checked = l.o.Now()
	cctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	before := l.unwell
	l.unwell = ""
	if err := l.backend.Check(cctx); err != nil {
		l.unwell = fault.Public(err).Error()
	}
	if err := room(l.o.Settings.DataDir, l.o.Settings.DiskFloor); err != nil && l.unwell == "" {
		l.unwell = fault.Public(err).Error()
	}
	if l.unwell != before {
		l.o.Log.Warn("the health of this worker changed", "unwell", l.unwell)
	}
	return l.unwell
}

// start leads an attempt in the background.
func (l *loop) start(ctx context.Context, a wire.Assignment, given *attempt.Given) {
	found := l.found[a.AttemptRef]
	delete(l.found, a.AttemptRef)
	l.running, l.last = true, a.AttemptRef
	l.spawn(func() {
		err := l.runner.Run(ctx, a, found, given)
		if fault.Is(err, fault.Stale) || errors.Is(err, context.Canceled) {
			l.o.Log.Info("the attempt is not this worker's any more", "run", a.Run, "attempt", a.Attempt, "err", err)
			err = nil
		}
		l.done <- err
	})
}

// sweep ends what launchers before have left and what is no longer wanted, and
// delivers what they kept.
func (l *loop) sweep(ctx context.Context, a *wire.Assignment) {
	known := map[string]bool{}
	for ref, records := range l.found {
		for _, rec := range records {
			known[rec.Container] = true
		}
		if a != nil && a.AttemptRef == ref {
			continue
		}
		delete(l.found, ref)
		for _, rec := range records {
			l.o.Log.Warn("a container that is no longer wanted is ended", "run", ref.Run, "attempt", ref.Attempt, "container", rec.Container)
			// It may take as long as the tool's grace, and the next run need not wait.
			l.spawn(func() {
				if err := l.runner.Discard(ctx, rec); err != nil && ctx.Err() == nil {
					l.o.Log.Error("what is left of a run cannot be removed", "run", ref.Run, "attempt", ref.Attempt, "container", rec.Container, "err", err)
				}
			})
		}
	}
	if !l.runner.Sweep(ctx, known) {
		l.unswept = l.o.Now().Add(checkEvery)
	}
	var live wire.AttemptRef
	if a != nil {
		live = a.AttemptRef
	}
	l.spawn(func() { l.runner.DeliverOld(ctx, live) })
}

// leave deregisters. A mothership that does not hear it notices by itself.
func (l *loop) leave(s attempt.Session) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := l.api.Deregister(ctx, s.Bearer, s.Number); err != nil {
		l.o.Log.Warn("the launcher leaves without having told the mothership", "err", err)
	}
	l.o.Log.Info("the launcher has left")
}
