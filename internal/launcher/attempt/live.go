package attempt

import (
	"context"
	"errors"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/lease"
	"github.com/spaceport-iac/spaceport/internal/launcher/logship"
	"github.com/spaceport-iac/spaceport/internal/launcher/sleep"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// begun is a job that is about to get its container.
type begun struct {
	job   *wire.Job
	id    string               // of the container, once that is fixed
	start *wire.StartingAnswer // its recorded start, if it came with the job
	sent  time.Duration        // boot clock, at which that was asked for
	// recorded: the mothership knows the container by its id already.
	recorded bool
	again    bool // another launcher may have begun it before
	// previous is the container before in the same workspace, if any.
	previous *left
}

// live takes a job through its container, and through the one that may follow.
// ctx ends what is not released; work ends with the launcher.
func (t *task) live(ctx, work context.Context, b begun) error {
	job, start, previous := b.job, b.start, b.previous
	for _, v := range job.Environment {
		if v.Secret {
			t.masker.Add(v.Value)
		}
	}
	version, urls := job.StateVersion, job.LogURLs
	if start != nil {
		version, urls = start.StateVersion, start.URLs
	}
	if err := t.beginLog(work, version, urls, b.again); err != nil {
		return err
	}
	if job.MaskWellKnown {
		t.masker.HideWellKnown()
	}
	t.say("Preparing the run on this worker")
	t.sayUnmasked(job)
	standby, stopStandby := context.WithCancel(ctx)
	defer stopStandby()
	p, err := t.prepare(standby, job, b.id, previous)
	if err != nil {
		stopStandby()
		if work.Err() != nil {
			return err // the launcher leaves; another one asks for the job again
		}
		return t.unprepared(work, b, err)
	}
	b.id = p.rec.Container
	t.hold(p.dir, p.rec)
	err = errStopped
	if t.wanted() == nil {
		err = t.release(work, p, &b)
	}
	stopStandby()
	if err != nil {
		t.hold(nil, nil)
		t.discardUnreleased(p.dir, previous)
		if work.Err() != nil {
			return err
		}
		return t.unprepared(work, b, err)
	}
	if previous != nil {
		t.discard(previous.dir) // until now it was what a launcher that comes after goes on from
	}
	t.markMu.Lock()
	t.noted = p.rec.Log
	t.markMu.Unlock()
	return t.watched(ctx, work, p.rec.Log)
}

// wanted returns the order to stop, or nil.
func (t *task) wanted() *wire.Stop {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stopping
}

// beginLog opens the log of a state, where the launcher's own text goes first.
// again says that another launcher may have written to it: then it goes on behind
// what is committed.
func (t *task) beginLog(ctx context.Context, version int, urls []wire.LogURL, again bool) error {
	at := logship.Place{}
	if again {
		answer, err := t.api.Logs(ctx, wire.LogsRequest{})
		if err != nil {
			t.note(err)
			return err
		}
		if n := answer.Committed[version]; n > 0 {
			at = logship.Place{Offset: n, Committed: n, Chunk: chunkGap}
		}
	}
	t.ship.Offer(urls)
	t.textMu.Lock()
	defer t.textMu.Unlock()
	if err := t.ship.Begin(version, at); err != nil {
		return err
	}
	t.version = version
	return ctx.Err()
}

// unprepared tells why a job did not come to its container.
func (t *task) unprepared(work context.Context, b begun, why error) error {
	o := wire.Outcome{Class: b.job.Class, Result: wire.ResultFailed, ExitCode: -1}
	if b.recorded {
		o.Container = b.id
	}
	stopping := t.wanted()
	defer func() {
		if work.Err() != nil {
			return
		}
		if b.previous != nil {
			t.discard(b.previous.dir)
		}
		t.clearWorkspace()
	}()
	if fault.Is(why, fault.Stale) {
		return nil
	}
	var no refusal
	switch {
	case stopping != nil:
		o.Result, why = wire.ResultStopped, errors.New(stopping.Reason)
	case isStopped(why):
		o.Result = wire.ResultStopped
	case errors.As(why, &no):
		o.Result = wire.ResultRefused
	}
	o.Reason = t.reason(why)
	t.say(o.Reason)
	t.log.Warn("the run was not started", "result", o.Result, "err", why)
	_, err := t.tell(work, o)
	return err
}

// isStopped reports whether the mothership would not have a run started that is
// to stop.
func isStopped(err error) bool {
	f := fault.As(err)
	return f != nil && f.Code == "conflict.stopped"
}

// release has the start recorded and then, and only then, hands out the job.
func (t *task) release(work context.Context, p *prepared, b *begun) error {
	start, sent := b.start, b.sent
	first := p.worker.Phases[0].Phase
	if start == nil {
		// A start that is recorded already has its log, which begin has opened.
		if !b.recorded {
			t.endLog()
		}
		logs := t.ship.Pending()
		sent = t.o.Clock()
		// Not by ctx: whether the start is recorded has to be known, also of a run
		// that is to stop.
		answer, err := t.api.Starting(work, wire.StartingRequest{
			Session: t.o.Session().Number, Container: p.rec.Container, Class: p.rec.Class, Phase: first, Commit: &p.commit, Logs: logs,
			TimeoutMs: t.o.Settings.RunTimeout.Milliseconds(),
		})
		if err != nil {
			t.note(err)
			return err
		}
		t.ship.Settle(logs)
		start, b.recorded = &answer, true
		if start.StateVersion != t.version {
			t.endLog()
		}
		if err := t.beginLog(work, start.StateVersion, start.URLs, false); err != nil {
			return err
		}
	}
	if err := checkTerms(start.Terms); err != nil {
		return refusal{err}
	}
	t.bearer.Set(start.Bearer, start.BearerForMs, t.o.Now())
	t.mu.Lock()
	if t.lease == nil {
		t.lease = lease.New(t.o.Clock, t.o.Boot, start.Terms, sent)
	} else {
		t.lease.Renew(start.Terms, sent)
	}
	l := t.lease
	t.mu.Unlock()
	// The call, or what came between it and now, may have taken long: what has been
	// without contact for its term must not begin.
	if l.Left() <= time.Duration(start.Terms.FenceMs)*time.Millisecond/2 {
		t.beatOnce(work, l, start.Terms)
	}
	if l.Left() <= 0 {
		return fault.New(fault.Unavailable, "the run was not started: there was no contact with the mothership for %s", l.Silence().Round(time.Millisecond)).Named("contact")
	}
	w := &p.worker
	w.FenceMs, w.GraceMs = start.Terms.FenceMs+start.Terms.SlackMs, start.Terms.GraceMs
	p.rec.Terms, p.rec.Bearer, p.rec.Released, p.rec.Boot = start.Terms, start.Bearer, t.o.Clock(), t.o.Boot
	p.rec.Phases = nil
	if start.State == first.State() {
		p.rec.Phases = []PhaseLog{{Phase: first, Version: start.StateVersion}}
	}
	p.rec.Lease = l.Note()
	offset, hash := t.ship.Snapshot(t.version)
	p.rec.Log = logNote{Version: t.version, Offset: offset, Hash: hash}
	if err := p.dir.Lease(0); err != nil {
		return err
	}
	// The record says "released" before the file is there: a launcher that dies
	// in between leaves a container that waits in vain and ends by itself, never
	// one that runs and is taken for one that doesn't.
	t.recMu.Lock()
	p.rec.Step = Released
	t.recMu.Unlock()
	if err := t.save(p.dir, p.rec); err != nil {
		return err
	}
	// An order that comes from here on finds a released container.
	if t.wanted() != nil {
		return errStopped
	}
	if err := p.dir.Release(p.worker); err != nil {
		return err
	}
	p.worker = wire.WorkerJob{}
	t.log.Info("the run was released", "container", p.rec.Container, "class", p.rec.Class)
	// The recorded start was a sign of life.
	t.startBeating(work, time.Duration(start.Terms.BeatMs)*time.Millisecond)
	return nil
}

// adopted goes on with a container that another launcher of this worker began.
func (t *task) adopted(ctx, work context.Context, d *rundir.Dir, rec *Record) error {
	note, err := readLease(d, rec)
	if err != nil {
		t.log.Warn("the lease's note cannot be read; the run counts as long without contact", "err", err)
		note = lease.Note{}
	}
	t.mu.Lock()
	t.lease = lease.Resume(t.o.Clock, t.o.Boot, rec.Terms, note)
	t.mu.Unlock()
	if rec.Job.MaskWellKnown {
		t.masker.HideWellKnown()
	}
	t.hold(d, rec)
	t.bearer.Set(rec.Bearer, 0, t.o.Now())
	at, err := readLog(d, rec)
	if err != nil {
		// As after a power cut; the log is read again from where it began.
		t.log.Warn("the log's note cannot be read", "err", err)
		at = rec.Log
	}
	t.startBeating(work, 0) // an engine that does not answer is no reason to be missed
	there, err := t.exists(work, rec.Container)
	if err != nil {
		return err
	}
	if !there {
		w, err := t.watcher(d, rec, at)
		if err != nil {
			return err
		}
		w.rest(work)
		w.close()
		if work.Err() != nil {
			return work.Err()
		}
		t.hold(nil, nil)
		t.discard(d)
		// Not where the attempt is another worker's: on this host that one's workspace
		// would lie at the same place.
		if !t.isStale() {
			t.clearWorkspace()
		}
		return t.gone(work, rec.Container, "the container does not exist any more")
	}
	answer, err := t.api.Logs(work, wire.LogsRequest{Logs: wire.LogUpdate{Want: 16, WantStateVersion: at.Version, WantFrom: at.Chunk + chunkGap}})
	t.note(err)
	if err != nil && !t.isStale() {
		return err
	}
	t.ship.Offer(answer.URLs)
	// Chunks that the launcher before has used are not known exactly; a gap in
	// their numbers harms nobody, a chunk that changes would.
	at.Chunk += chunkGap
	err = t.ship.Begin(at.Version, logship.Place{Offset: at.Offset, Hash: at.Hash, Committed: answer.Committed[at.Version], Chunk: at.Chunk})
	if err != nil {
		return err
	}
	t.textMu.Lock()
	t.version = at.Version
	t.textMu.Unlock()
	return t.watched(ctx, work, at)
}

// exists asks the backend for a container until it has an answer.
func (t *task) exists(ctx context.Context, id string) (bool, error) {
	for wait := firstPause; ; wait = min(2*wait, longestWait) {
		ictx, cancel := context.WithTimeout(ctx, engineTime)
		st, err := t.o.Backend.Inspect(ictx, id)
		cancel()
		if err == nil {
			return st.Exists, nil
		}
		t.log.Warn("the container backend does not tell whether the container exists", "container", id, "err", err)
		if sleep.For(ctx, wait) != nil {
			return false, ctx.Err()
		}
	}
}

// endLog says that no more will be written to the present state's log.
func (t *task) endLog() {
	t.textMu.Lock()
	defer t.textMu.Unlock()
	t.ship.End(t.version)
}

// chunkGap is more than the number of chunks that can be in flight.
const chunkGap = 1000
