package attempt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spaceport-iac/spaceport/internal/durable"
	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/park"
	"github.com/spaceport-iac/spaceport/internal/launcher/sleep"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// concluded tells how the container ended and does what follows.
func (t *task) concluded(ctx, work context.Context, w *watcher, exit container.Exit) error {
	o := t.outcome(work, w, exit)
	t.endLog()
	t.recMu.Lock()
	w.rec.Step = Ended
	t.recMu.Unlock()
	t.runner.deliver(work, func(ref wire.AttemptRef) bool { return ref == t.ref })
	if t.isStale() {
		defer t.finish(w.dir)
		return t.gone(work, w.rec.Container, "the container has ended")
	}
	follows := o.Result == wire.ResultOK && w.rec.Class == run.Read && len(run.Share(phases(&w.rec.Job), run.Write)) > 0
	if follows {
		o.NextContainer, o.Nonce = t.o.NewID(), t.o.Random()
	} else if ctx.Err() == nil {
		t.runner.foresee() // while the mothership thinks about it
	}
	decision, err := t.tell(work, o)
	if err != nil {
		if work.Err() != nil {
			return err
		}
		defer t.finish(w.dir)
		if fault.Is(err, fault.Stale) {
			return t.gone(work, w.rec.Container, "the container has ended")
		}
		return err
	}
	switch decision.Next {
	case wire.NextPark:
		err := t.park(work, w, o, decision)
		if work.Err() == nil {
			t.finish(w.dir)
		}
		return err
	case wire.NextJob:
		return t.next(ctx, work, w, o, decision)
	}
	t.finish(w.dir)
	return nil
}

// finish removes all that the attempt has on this host.
func (t *task) finish(d *rundir.Dir) {
	t.letGo()
	t.discard(d)
	t.clearWorkspace()
}

// letGo holds the present container no more.
func (t *task) letGo() {
	t.markMu.Lock()
	t.marks = nil
	t.markMu.Unlock()
	t.hold(nil, nil)
}

// clearWorkspace removes the attempt's workspace if it lies outside of the run
// directories, which are discarded with theirs.
func (t *task) clearWorkspace() {
	if there := t.elsewhere(); there != "" {
		if err := os.RemoveAll(there); err != nil {
			t.log.Error("the workspace cannot be removed", "err", err)
		}
	}
}

// outcome puts together what the worker said and what the launcher knows.
func (t *task) outcome(ctx context.Context, w *watcher, exit container.Exit) wire.Outcome {
	o := wire.Outcome{
		Container: w.rec.Container, Class: w.rec.Class, Phase: w.last, ExitCode: exit.Code,
		Core: (seal.Core{Lines: w.rec.Core}).Digest(),
	}
	result, err := w.dir.ReadResult()
	t.mu.Lock()
	fenced, stopping := t.isFenced, t.stopping
	t.mu.Unlock()
	switch {
	case w.failure() != nil:
		o.Result, o.Reason = wire.ResultFailed, "the container's files cannot be used: "+t.reason(w.failure())
	case err != nil:
		o.Result, o.Reason = wire.ResultDied, t.died(ctx, w, exit, err)
		if stopping != nil {
			o.Result, o.Reason = wire.ResultStopped, stopping.Reason
		}
	default:
		o.Result, o.ExitCode, o.Reason = result.Result, result.ExitCode, t.masker.String(result.Reason)
		if result.Phase != "" {
			o.Phase = result.Phase
		}
		o.Plan, o.Outputs, o.HaveOutputs = result.Plan, result.Outputs, result.HaveOutputs
		// The kernel takes the largest process, which is the tool or one of its
		// plugins and hardly ever the worker: that one sees but an exit code.
		if exit.OOM && o.Result == wire.ResultFailed {
			o.Reason = strings.TrimPrefix(o.Reason+"; "+outOfMemory, "; ")
		}
	}
	if fenced && o.Result != wire.ResultOK {
		o.Result = wire.ResultFenced
	}
	t.collect(w)
	if o.Result != wire.ResultOK && o.Reason != "" {
		t.say(o.Reason)
	}
	t.log.Info("the container ended", "container", w.rec.Container, "result", o.Result, "exit", o.ExitCode)
	return o
}

// collect keeps states that the tool could not deliver, sealed, beside the run
// directories: they are never deleted by us, and a person decides about them.
func (t *task) collect(w *watcher) {
	names, err := w.dir.Errored()
	if err != nil {
		t.log.Error("undelivered states cannot be listed", "err", err)
		return
	}
	for i, name := range names {
		path := filepath.Join(filepath.Dir(t.o.RunsDir), "errored", fmt.Sprintf("%s-%d-%d.tfstate.age", t.ref.Run, t.ref.Attempt, i))
		if err := t.keepErrored(w, name, path); err != nil {
			t.log.Error("a state that the tool could not deliver cannot be kept", "err", err)
			t.say("A state that the tool could not deliver cannot be kept: " + t.reason(err))
			continue
		}
		t.say("The tool left a state that it could not deliver; it is kept on the worker, sealed to the pool's key, at " + path)
	}
}

func (t *task) keepErrored(w *watcher, name, path string) error {
	r, err := w.dir.OpenErrored(name)
	if err != nil {
		return err
	}
	defer r.Close()
	plain, err := io.ReadAll(r) // bounded; half a state would be worse than none
	if err != nil {
		return err
	}
	sealed, err := seal.SealBytes(plain, append([]seal.Recipient{t.o.Key.Recipient()}, t.o.Settings.Recovery...)...)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(path, sealed)
}

const outOfMemory = "the container needed more memory than there is, and the kernel killed what used it"

// died says what is known of a worker that left no result.
func (t *task) died(ctx context.Context, w *watcher, exit container.Exit, err error) string {
	switch {
	case !rundir.Missing(err):
		return "the worker's result cannot be used: " + t.reason(err)
	case exit.OOM:
		return outOfMemory
	case exit.Err != "":
		return "the worker could not be started: " + t.masker.String(exit.Err)
	case exit.Lost:
		return "the container was removed, or ended while nobody watched, as after a reboot"
	}
	reason := fmt.Sprintf("the container ended with exit code %d and without a result", exit.Code)
	if exit.Signal != "" {
		reason = fmt.Sprintf("the container was ended by %s", exit.Signal)
	}
	ctx, cancel := context.WithTimeout(ctx, engineTime)
	defer cancel()
	if out, err := t.o.Backend.Output(ctx, w.rec.Container, 512); err == nil && len(out) > 0 {
		reason += ": " + t.masker.String(strings.Join(strings.Fields(strings.ToValidUTF8(string(out), "?")), " "))
	}
	return reason
}

// tell sends the outcome until it is decided upon. The log may come behind it.
func (t *task) tell(ctx context.Context, o wire.Outcome) (wire.Decision, error) {
	t.endLog()
	began := t.o.Now()
	wait, pause := t.o.LogWait, 20*time.Millisecond
	for {
		stored, cancel := context.WithTimeout(ctx, wait)
		err := t.ship.Stored(stored)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && t.o.Now().Sub(began) > t.o.LogLimit {
			if lost := t.ship.GiveUp(); lost > 0 {
				t.log.Error("part of the log could not be stored and is lost", "bytes", lost)
			}
		}
		o.Session, o.Logs = t.o.Session().Number, t.ship.Pending()
		t.told = t.o.Clock()
		decision, err := t.api.Outcome(ctx, o)
		if err != nil {
			t.note(err)
			return decision, err
		}
		t.ship.Settle(o.Logs)
		if !decision.Wait {
			return decision, nil
		}
		if err := sleep.For(ctx, pause); err != nil {
			return decision, err
		}
		pause = min(2*pause, time.Second)
	}
}

// next takes the job that follows in the same workspace.
func (t *task) next(ctx, work context.Context, w *watcher, o wire.Outcome, d wire.Decision) error {
	if d.Job == nil || d.Go == nil || o.NextContainer == "" {
		t.finish(w.dir)
		return fault.New(fault.Invalid, "the mothership named a next job and did not send it")
	}
	if err := t.save(w.dir, w.rec); err != nil {
		return err
	}
	t.letGo()
	job, err := openJob(asked{origin: t.o.Origin, pool: t.o.Pool, session: t.o.Session(), nonce: o.Nonce, ref: t.ref, class: run.Write}, *d.Job)
	if err != nil {
		t.finish(w.dir)
		return t.refuse(work, run.Write, o.NextContainer, err)
	}
	return t.live(ctx, work, begun{job: job, id: o.NextContainer, start: d.Go, sent: t.told, recorded: true, previous: &left{w.dir, w.rec}})
}

// park seals the workspace and has it stored.
func (t *task) park(ctx context.Context, w *watcher, o wire.Outcome, d wire.Decision) error {
	carried, err := t.carried(w.dir, w.rec)
	if err != nil {
		return t.unparked(ctx, o, err)
	}
	for range 3 {
		if d.Park == nil {
			return fault.New(fault.Invalid, "the mothership asked for the workspace and did not say where to")
		}
		request, err := t.sealAndUpload(ctx, w, *carried, *d.Park)
		if fault.Is(err, fault.Forbidden) || fault.Is(err, fault.NotFound) {
			// The address has expired while the workspace was sealed: ask for one more.
			if d, err = t.tell(ctx, o); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return t.unparked(ctx, o, err)
		}
		if _, err = t.api.Parked(ctx, request); err != nil {
			t.note(err)
			return err
		}
		t.log.Info("the workspace was sealed and stored", "bytes", request.Size)
		return nil
	}
	return t.unparked(ctx, o, errors.New("no address for the workspace was accepted"))
}

func (t *task) sealAndUpload(ctx context.Context, w *watcher, c park.Carry, order wire.ParkOrder) (wire.ParkedRequest, error) {
	blob, err := os.OpenFile(filepath.Join(w.dir.Private(), noteParked), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return wire.ParkedRequest{}, err
	}
	defer os.Remove(blob.Name())
	defer blob.Close()
	parcel := t.parcel(&w.rec.Job, seal.Core{Lines: w.rec.Core})
	parcel.State, parcel.Image = w.rec.Job.Store.Digest, w.rec.Image
	sealed, err := park.Seal(ctx, parcel, order, w.rec.Workspace, c, w.dir.Private(), blob, func(path string, mode fs.FileMode) {
		t.log.Warn("a file that is neither plain, directory nor link is not kept", "path", path, "mode", mode.String())
	})
	if err != nil {
		return wire.ParkedRequest{}, err
	}
	if err := t.o.Client.PutFile(ctx, order.UploadURL, blob, sealed.Size); err != nil {
		return wire.ParkedRequest{}, err
	}
	return wire.ParkedRequest{
		Session: t.o.Session().Number, Blob: order.Blob, Statement: sealed.Statement, Signature: sealed.Signature,
		Ciphertext: sealed.Ciphertext, Size: sealed.Size,
	}, nil
}

// unparked tells that the workspace could not be kept, which ends the run.
func (t *task) unparked(ctx context.Context, o wire.Outcome, why error) error {
	t.log.Error("the workspace cannot be sealed and stored", "err", why)
	o.Result, o.Reason, o.Plan = wire.ResultFailed, "the workspace cannot be sealed and stored: "+t.reason(why), nil
	o.NextContainer, o.Nonce = "", ""
	_, err := t.tell(ctx, o)
	return err
}
