package attempt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/logship"
	"github.com/spaceport-iac/spaceport/internal/launcher/sleep"
	"github.com/spaceport-iac/spaceport/internal/launcher/state"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// watcher follows one container by its files.
type watcher struct {
	t      *task
	dir    *rundir.Dir
	rec    *Record
	log    *rundir.LogReader
	events *rundir.EventReader
	state  *state.Server
	ahead  []wire.Event // phases that begin further on in the log
	served sync.WaitGroup
	room   chan struct{} // of requests that are served at the same time
	last   run.Phase

	mu     sync.Mutex
	failed error // what the container wrote cannot be used
}

// watcher makes the watcher of a container. The caller closes it.
func (t *task) watcher(dir *rundir.Dir, rec *Record, at logNote) (*watcher, error) {
	w := &watcher{
		t: t, dir: dir, rec: rec, log: dir.LogReader(at.Position), events: dir.EventReader(rundir.EventPosition{}),
		room: make(chan struct{}, maxServed),
	}
	var err error
	w.state, err = state.New(state.Options{
		Remote: t.api, Journal: t.o.Journal, Marks: t.o.Marks, Log: t.log, Say: w.say, Key: t.o.Key, Earlier: t.o.Earlier, Recovery: t.o.Settings.Recovery,
		Origin: t.o.Origin, Pool: t.o.Pool, Stack: rec.Job.Stack.ID, Ref: t.ref, Class: rec.Class,
		Core: (seal.Core{Lines: rec.Core}).Digest(), Store: rec.Job.Store, Fenced: t.fenced,
		Moved: func(now wire.JobState) { t.change(dir, rec, func() { rec.Job.Store = now }) },
	})
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *watcher) close() {
	_ = w.log.Close() // only read
	_ = w.events.Close()
}

// watched follows the released container to its end and tells the outcome.
func (t *task) watched(ctx, work context.Context, at logNote) error {
	dir, rec := t.held()
	w, err := t.watcher(dir, rec, at)
	if err != nil {
		return err
	}
	defer w.close()
	t.markMu.Lock()
	t.marks = nil
	t.markMu.Unlock()
	w.mark()
	exit, err := w.follow(work)
	w.served.Wait()
	if err != nil {
		return err // the launcher leaves; the container is another one's
	}
	return t.concluded(ctx, work, w, exit)
}

// follow reads what the container writes until it has ended. Requests are served
// beside the log: its writing waits while the mothership cannot be reached and the
// buffer is full, and just then a state must get into the journal.
func (w *watcher) follow(ctx context.Context) (container.Exit, error) {
	ended := make(chan container.Exit, 2) // by the wait, by the look
	beside, stop := context.WithCancel(ctx)
	var attended sync.WaitGroup
	defer attended.Wait()
	defer stop()
	waiting, waited := context.WithCancel(beside)
	defer waited()
	w.t.spawn(func() {
		if exit, err := w.t.end(waiting, w.rec.Container); err == nil {
			ended <- exit
		}
	})
	attended.Go(func() {
		if exit, ok := w.looked(waiting); ok {
			waited() // its answer would come too late, if ever
			ended <- exit
		}
	})
	attended.Go(func() { w.t.halting(beside, w.dir, w.rec) })
	attended.Go(func() { w.attend(beside, ctx) })
	files := w.dir.WatchOut()
	defer files.Close()
	for {
		select {
		case <-ctx.Done():
			return container.Exit{}, ctx.Err()
		case exit := <-ended:
			stop()
			attended.Wait()
			w.serve(ctx)
			w.drain(ctx)
			return exit, ctx.Err()
		case <-files.C:
			w.drain(ctx)
		}
	}
}

// end waits until the container has ended. A backend that fails to tell is asked
// again: only its word that there is no such container ends the waiting.
func (t *task) end(ctx context.Context, id string) (container.Exit, error) {
	for wait := firstPause; ; wait = min(2*wait, longestWait) {
		exit, err := t.o.Backend.Wait(ctx, id)
		switch {
		case err == nil:
			return exit, nil
		case ctx.Err() != nil:
			return exit, ctx.Err()
		case fault.Is(err, fault.NotFound), fault.Is(err, fault.Conflict):
			return container.Exit{Code: -1, Lost: true}, nil // removed by somebody, or never started
		}
		t.log.Warn("the container backend does not tell whether the container has ended", "container", id, "err", err)
		if sleep.For(ctx, wait) != nil {
			return exit, ctx.Err()
		}
	}
}

// How often the backend is asked whether the container still runs, beside being waited
// for: seldom, and soon once the worker has said its last word.
const (
	lookEvery = time.Minute
	lookSoon  = time.Second
)

// looked asks the backend for the container's state until it has ended. The answer to a
// wait may never come, as when the way to an engine on another host was cut and both
// ends still believe in their connection: the run would hold its worker for ever.
func (w *watcher) looked(ctx context.Context) (container.Exit, bool) {
	for last := time.Now(); sleep.For(ctx, lookSoon) == nil; {
		if !w.dir.Finished() && time.Since(last) < lookEvery {
			continue
		}
		last = time.Now()
		ictx, cancel := context.WithTimeout(ctx, engineTime)
		st, err := w.t.o.Backend.Inspect(ictx, w.rec.Container)
		cancel()
		switch {
		case err != nil:
			// The wait says so, if it is more than a moment's trouble.
		case !st.Exists:
			return container.Exit{Code: -1, Lost: true}, true
		case st.Started && !st.Running:
			return st.Exit, true
		}
	}
	return container.Exit{}, false
}

// fail ends a container whose files cannot be used, once.
func (w *watcher) fail(err error) {
	w.mu.Lock()
	first := w.failed == nil
	if first {
		w.failed = err
	}
	w.mu.Unlock()
	if !first {
		return
	}
	w.t.log.Error("the container is ended", "container", w.rec.Container, "err", err)
	w.t.order(true, "its files cannot be used", time.Second)
}

// failure returns what fail was told, or nil.
func (w *watcher) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// drain reads all of the log that is there now.
func (w *watcher) drain(ctx context.Context) {
	if w.failure() != nil {
		return
	}
	finished := w.dir.Finished() // before the log is read, so that all of it is there
	if err := w.readLog(ctx); err != nil && ctx.Err() == nil {
		w.fail(err)
	}
	if finished {
		w.t.textMu.Lock()
		w.t.ship.Flush(w.t.version)
		w.t.textMu.Unlock()
	}
}

// readLog moves the log on, and with it the phases. Events are read behind each
// piece of log: the worker writes the event of a phase before its first byte, so
// no byte can get into the state before.
func (w *watcher) readLog(ctx context.Context) error {
	for {
		piece, err := w.log.Next()
		more := err == nil
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the log: %w", err)
		}
		if err := w.readEvents(ctx); err != nil {
			return err
		}
		end := w.log.Position().Payload
		from := end - int64(len(piece))
		for len(w.ahead) > 0 && w.ahead[0].LogBytes <= end {
			e := w.ahead[0]
			w.ahead = w.ahead[1:]
			if n := max(0, e.LogBytes-from); n > 0 {
				// A piece with a border inside: only a worker that is not ours
				// writes one, so its mark may lie at the piece's beginning.
				if err := w.write(ctx, piece[:n]); err != nil {
					return err
				}
				piece, from = piece[n:], from+n
			}
			if err := w.begin(ctx, e.Phase); err != nil {
				return err
			}
		}
		if len(piece) > 0 {
			if err := w.write(ctx, piece); err != nil {
				return err
			}
			w.mark()
		}
		if !more {
			return nil
		}
	}
}

func (w *watcher) readEvents(ctx context.Context) error {
	for {
		e, err := w.events.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the events: %w", err)
		}
		switch e.Type {
		case wire.EventRead:
			// What it holds is secret, and the worker has it.
			if err := w.dir.ForgetJob(); err != nil {
				w.t.log.Error("the job file cannot be removed", "err", err)
			}
		case wire.EventMask:
			w.t.masker.Add(e.Value)
		case wire.EventPhaseStarted:
			if e.Phase.Class() != w.rec.Class || e.Phase.State() == "" {
				return fmt.Errorf("read the events: a %s container began the phase %q", w.rec.Class, e.Phase)
			}
			w.ahead = append(w.ahead, e)
		}
	}
}

// begin reports that a phase has begun, and opens the log of its state.
func (w *watcher) begin(ctx context.Context, phase run.Phase) error {
	w.last = phase
	t := w.t
	for _, p := range w.rec.Phases {
		if p.Phase == phase {
			return w.open(p.Version) // known: this is an adopted container, or its first phase
		}
	}
	logs := t.ship.Pending()
	answer, err := t.api.Report(ctx, wire.ReportRequest{Container: w.rec.Container, Phase: phase, Logs: logs})
	if err != nil {
		t.note(err)
		t.log.Warn("the phase was not recorded", "phase", phase, "err", err)
		return nil // its log goes on in the state before
	}
	t.ship.Settle(logs)
	t.ship.Offer(answer.URLs)
	t.change(w.dir, w.rec, func() {
		w.rec.Phases = append(w.rec.Phases, PhaseLog{Phase: phase, Version: answer.StateVersion})
	})
	t.log.Info("phase began", "phase", phase, "state", answer.State)
	if s := answer.Stop; s != nil && s.AttemptRef == t.ref {
		t.stop(s.Kill, s.Reason)
	}
	return w.open(answer.StateVersion)
}

// open goes over to the log of a later state.
func (w *watcher) open(version int) error {
	t := w.t
	t.textMu.Lock()
	before := t.version
	if version > before {
		t.ship.End(before)
		if err := t.ship.Begin(version, logship.Place{}); err != nil {
			t.textMu.Unlock()
			return err
		}
		t.version = version
	}
	t.textMu.Unlock()
	if version > before {
		w.mark()
	}
	return nil
}

// write appends worker output to the current state's log.
func (w *watcher) write(ctx context.Context, p []byte) error {
	t := w.t
	t.textMu.Lock()
	defer t.textMu.Unlock()
	// After an adoption the launcher's own lines come again where they were.
	for offset, _ := t.ship.Snapshot(t.version); ; offset, _ = t.ship.Snapshot(t.version) {
		line := ""
		for _, text := range w.texts() {
			if text.Version == t.version && text.Offset == offset && !t.written(text) {
				line = text.Line
			}
		}
		if line == "" {
			break
		}
		if err := t.ship.Write(ctx, t.version, []byte(line)); err != nil {
			return err
		}
	}
	return t.ship.Write(ctx, t.version, p)
}

func (w *watcher) texts() []Text {
	w.t.recMu.Lock()
	defer w.t.recMu.Unlock()
	return slices.Clone(w.rec.Texts)
}

// written reports whether a text has been written by this launcher: then the log
// has gone beyond its offset.
func (t *task) written(x Text) bool {
	offset, _ := t.ship.Snapshot(x.Version)
	return offset > x.Offset
}

// markEvery is how many bytes of a state's log lie between two marks, at least: a
// container that writes byte by byte must not fill the launcher's memory with them.
const markEvery = 4 << 10

// mark remembers a place from which the log can be read again.
func (w *watcher) mark() {
	t := w.t
	t.textMu.Lock()
	version := t.version
	offset, hash := t.ship.Snapshot(version)
	t.textMu.Unlock()
	t.markMu.Lock()
	defer t.markMu.Unlock()
	if n := len(t.marks); n > 0 && t.marks[n-1].Version == version && offset-t.marks[n-1].Offset < markEvery {
		return
	}
	t.marks = append(t.marks, logNote{Version: version, Offset: offset, Hash: hash, Position: w.log.Position()})
}

// settled is told that the mothership has so many bytes of a state's log: the
// worker may let go of what lies before the last mark that is covered.
func (t *task) settled(version int, bytes int64) {
	t.markMu.Lock()
	defer t.markMu.Unlock()
	last := -1
	for i, m := range t.marks {
		if m.Version < version || (m.Version == version && m.Offset <= bytes) {
			last = i
		}
	}
	dir, rec := t.held()
	if last <= 0 || rec == nil {
		return
	}
	t.marks = t.marks[last:]
	t.marks[0].Chunk = t.ship.NextChunk(t.marks[0].Version)
	if !t.marks[0].far(t.noted) {
		return
	}
	t.noted = t.marks[0]
	if err := writeNote(dir, noteLog, t.marks[0]); err != nil {
		t.log.Error("a note cannot be written", "err", err)
		return
	}
	if err := dir.Ack(t.marks[0].Position.Payload); err != nil {
		t.log.Error("the log's acknowledgement cannot be written", "err", err)
	}
}

// Notes are this far apart: what lies between two is read again after a restart.
// The chunks are far fewer than chunkGap.
const (
	noteBytes  = 64 << 10
	noteChunks = 100
)

// far reports whether it is worth while to write the note down.
func (n logNote) far(last logNote) bool {
	return n.Version != last.Version || n.Offset-last.Offset >= noteBytes || n.Chunk-last.Chunk >= noteChunks
}
