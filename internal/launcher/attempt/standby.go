package attempt

import (
	"context"
	"errors"
	"reflect"

	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// kind is what a container depends on of the job that it is for.
type kind struct {
	class  run.Class
	image  string // as named, or ""
	vendor wire.Vendor
}

// standby is a container that was started before there was a job for it, as the
// last job would have wanted it, and waits:
//
//	container ends ── foresee ──► made ── take ──► the next attempt's own
//	                               │
//	                               └── another kind, a launcher that leaves ──► dropped
//
// It serves one run. Nothing of a job is in it: job, environment and files come
// through its run directory once it is taken, just as in one made for its job.
// After a launcher that died it ends by itself, having heard nothing for a while.
type standby struct {
	id   string
	kind kind
	dir  *rundir.Dir
	spec container.Spec
	told int64 // the last sign of life it was given

	cancel context.CancelFunc
	made   chan struct{} // closed when it waits, or err says why not
	over   chan struct{} // closed when nobody works on it any more
	err    error
}

// foresee makes a container like the last one wait for the next job.
func (r *Runner) foresee() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.last == nil || r.standby != nil || !r.o.Settings.Standby {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &standby{id: r.o.NewID(), kind: *r.last, cancel: cancel, made: make(chan struct{}), over: make(chan struct{})}
	r.standby = s
	r.owned.Go(func() {
		defer close(s.over)
		s.err = r.makeStandby(ctx, s)
		close(s.made)
		if s.err != nil {
			r.o.Log.Debug("no container waits for the next run", "err", s.err)
			return
		}
		s.told = keepAlive(ctx, r.o.Log, s.dir, 1)
	})
}

func (r *Runner) makeStandby(ctx context.Context, s *standby) (err error) {
	if s.dir, err = rundir.Create(r.o.RunsDir, s.id, r.dirOptions()); err != nil {
		return err
	}
	if s.dir.Foreign() {
		return errors.New("its workspace cannot be given to the run's user")
	}
	shape, err := r.shape(ctx, s.kind, s.dir, s.dir.Workspace(), func(string) {})
	if err != nil {
		return err
	}
	s.spec = shape.spec
	ctx, cancel := context.WithTimeout(ctx, createTime)
	defer cancel()
	if err := r.o.Backend.Create(ctx, s.spec); err != nil {
		return err
	}
	return r.o.Backend.Start(ctx, s.spec.ULID)
}

// take hands out the waiting container if it is of that kind, or nil. It waits
// for one that is being made: that is sooner ready than another.
func (r *Runner) take(ctx context.Context, k kind) *standby {
	r.mu.Lock()
	last := k
	s := r.standby
	r.last, r.standby = &last, nil
	r.mu.Unlock()
	if s == nil {
		return nil
	}
	wanted := s.kind == k
	if wanted {
		select {
		case <-s.made:
			wanted = s.err == nil
		case <-ctx.Done():
			wanted = false
		}
	}
	s.cancel()
	if wanted {
		<-s.over
		return s
	}
	r.owned.Go(func() { r.drop(s) })
	return nil
}

// drop ends one that nobody will take.
func (r *Runner) drop(s *standby) {
	s.cancel()
	<-s.over
	if s.dir == nil {
		return
	}
	if !r.discard(s.dir) {
		r.discardLater(s.dir)
	}
}

// fits reports whether the waiting container is the very one that would be made
// now, and still waits.
func (r *Runner) fits(ctx context.Context, s *standby, spec container.Spec) bool {
	if s == nil || !reflect.DeepEqual(s.spec, spec) {
		return false
	}
	// An engine that hangs here would hold up the run for as long as it hangs.
	ctx, cancel := context.WithTimeout(ctx, engineTime)
	defer cancel()
	st, err := r.o.Backend.Inspect(ctx, spec.ULID)
	return err == nil && st.Running
}

// Close ends what waits for a job. Nothing may be run afterwards.
func (r *Runner) Close() {
	r.mu.Lock()
	s := r.standby
	r.standby, r.closed = nil, true
	r.mu.Unlock()
	r.stopTrying()
	if s != nil {
		r.drop(s)
	}
	r.owned.Wait()
}
