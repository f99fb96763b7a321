package attempt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/client"
	"github.com/spaceport-iac/spaceport/internal/launcher/lease"
	"github.com/spaceport-iac/spaceport/internal/launcher/logship"
	"github.com/spaceport-iac/spaceport/internal/mask"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// errStopped ends the preparing of a run that is to stop.
var errStopped = errors.New("the run was stopped")

// task is one held attempt.
type task struct {
	runner *Runner
	o      Options
	ref    wire.AttemptRef
	log    *slog.Logger
	api    *client.Attempt
	bearer client.Bearer // of the attempt itself
	masker *mask.Masker
	ship   *logship.Shipper

	preparing context.CancelCauseFunc // ends what has not been released

	// Locks are taken in this order. textMu may be held for as long as the log
	// has no room, so nothing that must go on waits for it.
	textMu  sync.Mutex // orders what is written to the log
	version int        // whose log is written

	told time.Duration // boot clock of the last call that told an outcome

	markMu sync.Mutex
	marks  []logNote
	noted  logNote // the last that was written down

	recMu sync.Mutex // guards what stands in rec, and its file

	mu       sync.Mutex
	dir      *rundir.Dir // of the present container
	rec      *Record
	lease    *lease.Lease
	stopping *wire.Stop
	halt     *halt // of the present container
	stale    bool
	fenced   chan struct{} // closed by the fence
	isFenced bool
	beating  bool

	ordered chan struct{} // halt has changed

	undiscarded []*rundir.Dir // of containers that could not be removed; the attempt's own goroutine has it

	owned sync.WaitGroup // goroutines
}

func newTask(r *Runner, a wire.Assignment, cancel context.CancelCauseFunc) *task {
	o := r.o
	t := &task{
		runner: r, o: o, ref: a.AttemptRef, preparing: cancel, fenced: make(chan struct{}), ordered: make(chan struct{}, 1),
		log: o.Log.With("run", a.Run, "attempt", a.Attempt),
		// A launcher that adopts a container gets no secret of it anew, but these it has.
		masker: mask.New(mask.Options{Secrets: maskedValues(o.Settings)}),
	}
	t.api = o.Client.Attempt(client.AttemptOptions{Ref: a.AttemptRef, Bearer: t.proof, Refused: t.refused})
	return t
}

// proof is the attempt's own bearer once there is one, else the session's.
func (t *task) proof() string {
	if b := t.bearer.Value(); b != "" {
		return b
	}
	return t.o.Session().Bearer.Value()
}

// refused gets another bearer: the session's in place of the attempt's own, then
// a new session's.
func (t *task) refused(ctx context.Context) error {
	if t.bearer.Value() != "" {
		t.bearer.Clear()
		return nil
	}
	return t.o.Renew(ctx, t.o.Session().Number)
}

// run holds the attempt to its end.
func (t *task) run(ctx context.Context, a wire.Assignment, found []*Record, given *Given) error {
	// Work in the background ends with the attempt, whatever ends that.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer t.owned.Wait()
	defer stopWork()
	t.spawn(func() { // a launcher that leaves stops at once
		select {
		case <-ctx.Done():
			if !errors.Is(context.Cause(ctx), errStopped) {
				stopWork()
			}
		case <-work.Done():
		}
	})
	var err error
	t.ship, err = logship.New(logship.Options{
		Put: t.o.Client.PutBlob, Log: t.log, Now: t.o.Now, Settled: t.settled,
		Commit: func(ctx context.Context, u wire.LogUpdate) (wire.LogsAnswer, error) {
			answer, err := t.api.Logs(ctx, wire.LogsRequest{Logs: u})
			t.note(err)
			return answer, err
		},
	})
	if err != nil {
		return err
	}
	t.spawn(func() { _ = t.ship.Run(work) })

	here, err := t.sort(a, found)
	if err != nil {
		return err
	}
	if here.lives != nil {
		t.log.Info("a container that lives on is adopted", "container", here.lives.rec.Container)
		return t.adopted(ctx, work, here.lives.dir, here.lives.rec)
	}
	// A container whose start is recorded and that was never given its job has done
	// nothing: it is made again. Of any other that is not here nobody knows.
	if a.Container != "" && here.before == nil && !here.unused {
		return t.gone(work, a.Container, "the container does not exist any more")
	}
	again := a.Accepted && given == nil
	if given == nil {
		if given, err = t.claim(ctx, a); err != nil {
			return err
		}
	}
	t.log.Info("attempt accepted", "class", a.Class)
	job, err := openJob(asked{origin: t.o.Origin, pool: t.o.Pool, session: given.Session, nonce: given.Nonce, ref: t.ref, class: a.Class}, given.Job)
	if err != nil {
		return t.refuse(work, a.Class, a.Container, err)
	}
	return t.live(ctx, work, begun{job: job, id: a.Container, again: again, recorded: a.Container != "", previous: here.before})
}

// claim accepts the attempt, or asks for its job once more.
func (t *task) claim(ctx context.Context, a wire.Assignment) (*Given, error) {
	g := Given{Session: t.o.Session(), Nonce: t.o.Random()}
	req := wire.AcceptRequest{Session: g.Session.Number, Nonce: g.Nonce, Class: a.Class}
	var err error
	if a.Accepted {
		g.Job, err = t.api.Job(ctx, req)
	} else {
		g.Job, err = t.api.Accept(ctx, req)
	}
	return &g, err
}

// left is what is left of a container: its directory and its record.
type left struct {
	dir *rundir.Dir
	rec *Record
}

// remains are what a launcher before has left of an attempt.
type remains struct {
	lives  *left // was released, and is adopted
	before *left // has ended; the next one goes on with its workspace
	// unused: the container whose start is recorded was found, and is certain never
	// to have had its job.
	unused bool
}

// sort looks through what was found of the attempt. What neither lives nor was
// before has not run and goes.
func (t *task) sort(a wire.Assignment, found []*Record) (remains, error) {
	var (
		r     remains
		fresh []*rundir.Dir
	)
	for _, rec := range found {
		d, err := rundir.Open(t.o.RunsDir, rec.Container, t.runner.dirOptions())
		if err != nil {
			return remains{}, err
		}
		if rec.Step == Released && t.o.Boot != "" && rec.Boot == t.o.Boot && !d.HandedOut() {
			rec.Step = Preparing // its launcher was ended between the two
		}
		switch {
		case rec.Step == Released && (a.Container == "" || a.Container == rec.Container):
			r.lives = &left{d, rec}
		case rec.Step == Ended, rec.Step == Released && rec.Class == run.Read && a.Class == run.Write:
			// The start of another container is recorded, so the outcome of this one
			// was told; its launcher was ended before it could note that. What follows
			// moves its workspace, so it is made certain that nothing is left in it.
			if rec.Step == Released {
				if err := t.remove(rec.Container); err != nil {
					return remains{}, err
				}
			}
			r.before = &left{d, rec}
		case rec.Step == Preparing:
			r.unused = r.unused || rec.Container == a.Container
			fresh = append(fresh, d)
		default:
			t.discard(d)
		}
	}
	for _, d := range fresh {
		t.discardUnreleased(d, r.before)
	}
	if r.lives != nil && r.before != nil {
		t.discard(r.before.dir) // the adopted one has its workspace
		r.before = nil
	}
	return r, nil
}

// spawn runs a goroutine that the task waits for.
func (t *task) spawn(f func()) {
	t.owned.Add(1)
	go func() { defer t.owned.Done(); f() }()
}

// note looks for the answer that says that the attempt is not ours any more.
func (t *task) note(err error) {
	// A stale session is another matter: attempts belong to the worker.
	if f := fault.As(err); f == nil || f.Kind != fault.Stale || f.Code == "stale.session" {
		return
	}
	t.mu.Lock()
	first := !t.stale
	t.stale = true
	t.mu.Unlock()
	if first {
		t.log.Warn("the attempt is not this worker's any more", "err", err)
		t.stop(false, "the run was given to another worker or has ended")
	}
}

// isStale reports whether the attempt is not this worker's any more.
func (t *task) isStale() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stale
}

// stop ends the attempt: what is not released is given up, a container is
// interrupted, at the second order killed.
func (t *task) stop(kill bool, reason string) {
	t.mu.Lock()
	if t.stopping != nil && (t.stopping.Kill || !kill) {
		t.mu.Unlock()
		return
	}
	t.stopping = &wire.Stop{AttemptRef: t.ref, Kill: kill, Reason: reason}
	rec := t.rec
	t.mu.Unlock()
	t.log.Info("the run is to stop", "kill", kill, "reason", reason)
	if rec != nil && t.step(rec) == Released {
		t.order(kill, reason, t.patience(rec, kill))
		return
	}
	t.preparing(errStopped)
}

func (r *Runner) dirOptions() rundir.Options {
	uid, gid := r.runUser()
	o := rundir.Options{UID: uid, GID: gid}
	if limit := r.o.Settings.LogLimit; limit > 0 {
		// What the worker keeps to by itself is held against code that writes into
		// the log's files with its own hands.
		o.Limits.LogBytes = limit + logMargin
	}
	return o
}

// logMargin is room for the line that says that a log has reached its limit, in bytes.
const logMargin = 64 << 10

// say writes a line of the launcher's own to the run's log. It goes through the
// same masking as the worker's output, since an error may repeat a secret.
func (t *task) say(line string) {
	text := "[" + t.o.Session().Worker + "] " + t.masker.String(line) + "\n"
	t.textMu.Lock()
	defer t.textMu.Unlock()
	if dir, rec := t.held(); rec != nil {
		offset, _ := t.ship.Snapshot(t.version)
		t.change(dir, rec, func() {
			if rec.Step == Released {
				rec.Texts = append(rec.Texts, Text{Version: t.version, Offset: offset, Line: text})
			}
		})
	}
	if err := t.ship.Write(context.Background(), t.version, []byte(text)); err != nil {
		t.log.Debug("a line came too late for its log", "err", err)
	}
}

// sayUnmasked names the secrets that masking passes over.
func (t *task) sayUnmasked(job *wire.Job) {
	if names := unmasked(job, t.o.Settings); len(names) > 0 {
		t.say(fmt.Sprintf("Too short to be masked, so they may show in this log: %s. A secret has to have at least %d bytes.",
			strings.Join(names, ", "), mask.MinLength))
	}
}

// save writes a record.
func (t *task) save(d *rundir.Dir, rec *Record) error {
	t.recMu.Lock()
	defer t.recMu.Unlock()
	return writeRecord(d, rec)
}

// change changes a record and writes it. A note that cannot be written harms only
// a launcher that comes after.
func (t *task) change(d *rundir.Dir, rec *Record, f func()) {
	t.recMu.Lock()
	f()
	err := writeRecord(d, rec)
	t.recMu.Unlock()
	if err != nil {
		t.log.Error("a note cannot be written", "err", err)
	}
}

// held returns the present container, or nil.
func (t *task) held() (*rundir.Dir, *Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dir, t.rec
}

func (t *task) hold(d *rundir.Dir, rec *Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dir, t.rec, t.halt = d, rec, nil
}

// step returns how far a container has come; Ended for none.
func (t *task) step(rec *Record) Step {
	if rec == nil {
		return Ended
	}
	t.recMu.Lock()
	defer t.recMu.Unlock()
	return rec.Step
}

// refuse tells that the job will not be run, and why. id is that of the container
// whose start is recorded already, or "".
func (t *task) refuse(ctx context.Context, class run.Class, id string, why error) error {
	t.log.Warn("the job is refused", "err", why)
	_, err := t.tell(ctx, wire.Outcome{Container: id, Class: class, Result: wire.ResultRefused, ExitCode: -1, Reason: t.reason(why), NoLog: true})
	return err
}

// reason makes one masked sentence of an error.
func (t *task) reason(err error) string {
	if f := fault.As(err); f != nil {
		return t.masker.String(f.Error())
	}
	return t.masker.String(err.Error())
}

// gone tells that the attempt's container is no more, and that nothing of it is
// left to be delivered.
func (t *task) gone(ctx context.Context, id, reason string) error {
	delivered := t.runner.deliver(ctx, func(ref wire.AttemptRef) bool { return ref == t.ref })
	_, err := t.api.Gone(ctx, wire.GoneRequest{
		Session: t.o.Session().Number, Container: id, Delivered: delivered, Reason: reason, Logs: t.ship.Pending(),
	})
	if fault.Is(err, fault.Stale) || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) {
		t.log.Info("the mothership has closed the attempt already", "err", err)
		return nil
	}
	return err
}
