package attempt

import (
	"context"
	"fmt"
	"time"

	"github.com/spaceport-iac/spaceport/internal/launcher/client"
	"github.com/spaceport-iac/spaceport/internal/launcher/state"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Discard ends a container of an attempt that is not this worker's any more, and
// removes what it has left. One that had its job is watched to its end as if it were
// still wanted: it is interrupted and has its grace, and a state that it wrote while
// no launcher was there is kept and delivered. The mothership hears of it after that,
// which may end a quarantine. It returns at once if that is being done already.
func (r *Runner) Discard(ctx context.Context, rec *Record) error {
	r.mu.Lock()
	busy := r.over[rec.Container]
	r.over[rec.Container] = true
	r.mu.Unlock()
	if busy {
		return nil
	}
	defer func() {
		r.mu.Lock()
		delete(r.over, rec.Container)
		r.mu.Unlock()
	}()
	if rec.Step == Released {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		a := wire.Assignment{AttemptRef: rec.Ref, Class: rec.Class, Accepted: true, Container: rec.Container}
		t := newTask(r, a, cancel)
		t.stale = true
		t.stopping = &wire.Stop{AttemptRef: rec.Ref, Reason: "the attempt is over"}
		return t.run(ctx, a, []*Record{rec}, nil)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := r.o.Backend.Remove(ctx, rec.Container); err != nil {
		return fmt.Errorf("remove container %s: %w", rec.Container, err)
	}
	return rundir.Remove(r.o.RunsDir, rec.Container)
}

// Sweep removes containers and run directories that no record names. It reports
// whether it could look for all of them. What waits for the next run is spared.
func (r *Runner) Sweep(ctx context.Context, known map[string]bool) (all bool) {
	r.mu.Lock()
	waiting := ""
	if r.standby != nil {
		waiting = r.standby.id
	}
	r.mu.Unlock()
	listing, listed := context.WithTimeout(ctx, engineTime)
	ids, err := r.o.Backend.List(listing)
	listed()
	if err != nil {
		r.o.Log.Error("the containers cannot be listed", "err", err)
		return false
	}
	dirs, err := rundir.List(r.o.RunsDir)
	if err != nil {
		r.o.Log.Error("the run directories cannot be listed", "err", err)
	}
	all = true
	remove := func(id string) error {
		ctx, cancel := context.WithTimeout(ctx, removeTime)
		defer cancel()
		return r.o.Backend.Remove(ctx, id)
	}
	for _, id := range append(ids, dirs...) {
		if known[id] || id == waiting {
			continue
		}
		if err := remove(id); err != nil {
			r.o.Log.Error("a container cannot be removed", "container", id, "err", err)
			all = false
			continue
		}
		if err := rundir.Remove(r.o.RunsDir, id); err != nil {
			r.o.Log.Error("a run directory cannot be removed", "container", id, "err", err)
		}
	}
	if err := rundir.Sweep(r.o.RunsDir); err != nil {
		r.o.Log.Error("a run directory cannot be removed", "err", err)
	}
	return all
}

// DeliverOld delivers what the journal has of other attempts than the live one.
func (r *Runner) DeliverOld(ctx context.Context, live wire.AttemptRef) {
	r.deliver(ctx, func(ref wire.AttemptRef) bool { return ref != live })
}

func (r *Runner) api(ref wire.AttemptRef) *client.Attempt {
	return r.o.Client.Attempt(client.AttemptOptions{
		Ref: ref, Bearer: func() string { return r.o.Session().Bearer.Value() },
		Refused: func(ctx context.Context) error { return r.o.Renew(ctx, r.o.Session().Number) },
	})
}

func (r *Runner) deliver(ctx context.Context, wanted func(wire.AttemptRef) bool) bool {
	entries, err := r.o.Journal.Entries()
	if err != nil {
		r.o.Log.Error("some of the journal cannot be read", "err", err)
	}
	all := err == nil
	for _, e := range entries {
		if !wanted(e.Ref) {
			continue
		}
		answer, err := state.Deliver(ctx, r.api(e.Ref), r.o.Journal, append(seal.PoolKeys{r.o.Key}, r.o.Earlier...), e)
		if err != nil {
			r.o.Log.Error("a kept state write cannot be delivered", "run", e.Ref.Run, "write", e.ID, "err", err)
			all = false
			continue
		}
		r.o.Log.Info("a kept state write was delivered", "run", e.Ref.Run, "write", e.ID, "recovery", answer.Recovery)
		if !answer.Recovery && e.Mode == wire.StateSealed {
			if err := r.o.Marks.Advance(e.Stack, e.Sequence, seal.StatementDigest(e.Statement)); err != nil {
				r.o.Log.Error("a mark cannot be moved", "err", err)
			}
		}
		all = r.o.Journal.Done(e.ID) == nil && all
	}
	return all
}
