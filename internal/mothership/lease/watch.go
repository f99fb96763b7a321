package lease

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Watcher declares losses. It belongs to one goroutine.
type Watcher struct {
	s    *Service
	well func() bool

	seen map[wire.AttemptRef]*watched
	// ends is when the writing container of an attempt that is over must have ended
	// at the latest, on the monotonic clock, as long as it left a quarantine.
	ends   map[wire.AttemptRef]time.Duration
	last   time.Duration // the look before, on the monotonic clock
	expiry time.Duration // the last call of Expire
	began  bool
}

// watched is what the watcher has seen of a live attempt.
type watched struct {
	row
	since    time.Duration // since when beat and container are as they are
	first    time.Duration // since when this container is watched
	before   time.Duration // how old the container was then, by its recorded start
	extended bool          // it was given one more term, with many others
}

// row is what the watcher reads of a live attempt.
type row struct {
	ref       wire.AttemptRef
	class     run.Class
	accepted  bool
	container string
	beat      int64
	startedAt sql.NullInt64
	timeoutMs int64
}

// NewWatcher returns a watcher of the service's attempts. well reports whether the
// listener that launchers call is up; while it is not, nobody can be missed.
func (s *Service) NewWatcher(well func() bool) *Watcher {
	return &Watcher{s: s, well: well, seen: map[wire.AttemptRef]*watched{}, ends: map[wire.AttemptRef]time.Duration{}}
}

// Run looks until ctx ends. An error is logged; it counts as an outage.
func (w *Watcher) Run(ctx context.Context) error {
	ticker := time.NewTicker(w.s.o.Terms.Tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := w.Look(ctx); err != nil && ctx.Err() == nil {
				w.s.o.Log.Warn("attempts could not be looked at", "err", err)
			}
		}
	}
}

// outage is how many ticks may pass between two looks. After more, this process
// was stopped or starved itself, and what it did not see proves nothing.
const outage = 5

// Look reads all live attempts once and ends those that are lost.
func (w *Watcher) Look(ctx context.Context) error {
	now := w.s.o.Mono()
	rows, err := w.read(ctx)
	if err != nil || !w.well() || (w.began && now-w.last > outage*w.s.o.Terms.Tick) {
		// An outage of our own: everybody gets a full term again.
		for _, a := range w.seen {
			a.since = now
		}
		w.last = now
		if err != nil {
			return err
		}
	}
	w.last, w.began = now, true
	w.update(rows, now)
	w.extend(now)
	var errs []error
	for ref, a := range w.seen {
		reason := w.verdict(a, now)
		if reason == "" {
			continue
		}
		if err := w.end(ctx, a, reason); err != nil {
			// A database that takes no write has taken no beat either: the attempt
			// gets a full term again. The others are looked at all the same.
			a.since = now
			errs = append(errs, fmt.Errorf("end attempt %d of run %s: %w", ref.Attempt, ref.Run, err))
			continue
		}
		w.over(ref)
	}
	return errors.Join(append(errs, w.housekeep(ctx, now))...)
}

func (w *Watcher) read(ctx context.Context) ([]row, error) {
	rows, err := w.s.o.DB.Read().QueryContext(ctx, `SELECT run, attempt, class, accepted_at IS NOT NULL, container, beat, started_at, timeout_ms
		FROM attempt WHERE live`)
	all, err := db.Collect(rows, err, func(rows *sql.Rows) (row, error) {
		var r row
		return r, rows.Scan(&r.ref.Run, &r.ref.Attempt, &r.class, &r.accepted, &r.container, &r.beat, &r.startedAt, &r.timeoutMs)
	})
	if err != nil {
		return nil, fmt.Errorf("list live attempts: %w", err)
	}
	return all, nil
}

// update takes in what was read: who is new, who has moved, who is gone.
func (w *Watcher) update(rows []row, now time.Duration) {
	live := make(map[wire.AttemptRef]bool, len(rows))
	for _, r := range rows {
		live[r.ref] = true
		a := w.seen[r.ref]
		switch {
		case a == nil:
			a = &watched{since: now, first: now, before: w.age(r)}
			w.seen[r.ref] = a
		case a.container != r.container:
			a.first, a.before = now, 0
			fallthrough
		case a.beat != r.beat, a.accepted != r.accepted:
			a.since, a.extended = now, false
		}
		a.row = r
	}
	for ref := range w.seen {
		if !live[ref] {
			w.over(ref)
		}
	}
}

// over forgets an attempt but for when its writing container must have ended.
func (w *Watcher) over(ref wire.AttemptRef) {
	if a := w.seen[ref]; a.class == run.Write && a.container != "" {
		w.ends[ref] = a.first - a.before + w.limit(a.row)
	}
	delete(w.seen, ref)
}

// age is how old a container was when this process first saw it. The wall clock
// may have been set meanwhile, so an age past the limit leaves one more term.
func (w *Watcher) age(r row) time.Duration {
	if !r.startedAt.Valid {
		return 0
	}
	limit := w.limit(r) - w.s.o.Terms.silence(r.class)
	return max(0, min(w.s.o.Now().Sub(db.Time(r.startedAt.Int64)), limit))
}

func (w *Watcher) limit(r row) time.Duration {
	return w.s.o.Terms.hard(r.class, time.Duration(r.timeoutMs)*time.Millisecond)
}

// extend gives everybody one more term, once, if at the moment at which the first
// would be lost more than half of five or more attempts have fallen silent: that
// looks like a network, not like machines.
func (w *Watcher) extend(now time.Duration) {
	var silent, due []*watched
	started := 0
	for _, a := range w.seen {
		if !a.accepted {
			continue
		}
		started++
		// Two beats missed in a row is silence.
		if now-a.since > 2*w.s.o.Terms.Beat {
			silent = append(silent, a)
		}
		if now-a.since >= w.term(a) && !a.extended {
			due = append(due, a)
		}
	}
	if len(due) == 0 || started < 5 || 2*len(silent) <= started {
		return
	}
	for _, a := range silent {
		if !a.extended {
			a.extended = true
			a.since += w.term(a)
		}
	}
	w.s.o.Log.Warn("many workers fell silent at once: waiting for one more term", "silent", len(silent), "live", started)
}

func (w *Watcher) term(a *watched) time.Duration {
	if !a.accepted {
		return w.s.o.Terms.Accept
	}
	if a.container == "" {
		return w.s.o.Terms.Lost // nothing has run, whatever the class
	}
	return w.s.o.Terms.silence(a.class)
}

// verdict says why an attempt is over; "" if it is not.
func (w *Watcher) verdict(a *watched, now time.Duration) string {
	switch {
	case now-a.since >= w.term(a):
		if !a.accepted {
			return "the worker did not accept the run in time"
		}
		return fmt.Sprintf("the worker has not been heard of for %s", w.term(a))
	case a.container != "" && now-a.first+a.before >= w.limit(a.row):
		return fmt.Sprintf("the run did not end within its hard limit of %s", w.limit(a.row))
	}
	return ""
}

// end ends an attempt, if it is still as the watcher saw it.
func (w *Watcher) end(ctx context.Context, seen *watched, reason string) error {
	s := w.s
	return s.o.DB.Write(ctx, func(tx *db.Tx) error {
		a, err := liveOfRun(ctx, tx, seen.ref.Run)
		if err != nil || a == nil || a.AttemptRef != seen.ref || a.beat != seen.beat || a.accepted != seen.accepted || a.container != seen.container {
			return err // it moved between the look and now
		}
		r, err := runs.Load(ctx, tx, a.Run)
		if err != nil {
			return err
		}
		s.o.Log.Info("attempt lost", "run", a.Run, "attempt", a.Attempt, "pool", a.pool, "worker", a.worker, "reason", reason)
		hard := a.container != "" && s.o.Mono()-seen.since < w.term(seen)
		if hard {
			return s.overdue(ctx, tx, a, r, reason)
		}
		return s.lose(ctx, tx, a, r, reason, true)
	})
}

// overdue fails a run whose container should have ended long ago, though its
// launcher is there. There is no quarantine: its latest end has passed.
func (s *Service) overdue(ctx context.Context, tx *db.Tx, a *attempt, r *runs.Run, reason string) error {
	// Its worker has that container yet, and says when it has not.
	if err := s.skip(ctx, tx, a); err != nil {
		return err
	}
	if err := s.o.Mover.Move(ctx, tx, r, run.Failed, run.Scheduler, runs.Mothership, reason); err != nil {
		return err
	}
	_, err := s.over(ctx, tx, a, r, reason)
	return err
}
