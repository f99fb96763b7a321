package attempt

import (
	"context"
	"fmt"
	"time"

	"github.com/spaceport-iac/spaceport/internal/launcher/sleep"
	"github.com/spaceport-iac/spaceport/internal/rundir"
)

// removeTime bounds one try to end a container and have the backend forget it.
const removeTime = time.Minute

// remove ends a container and has the backend forget it.
func (r *Runner) remove(id string) error {
	// What is being cleaned up may be cleaned up because its context ended.
	ctx, cancel := context.WithTimeout(context.Background(), removeTime)
	defer cancel()
	if err := r.o.Backend.Remove(ctx, id); err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	return nil
}

// discard ends a container, if there is one, and removes its run directory. It
// reports whether nothing of it is left.
func (r *Runner) discard(d *rundir.Dir) bool {
	if err := r.remove(d.ID()); err != nil {
		r.o.Log.Error("a container cannot be removed", "container", d.ID(), "err", err)
		return false // its directory is still in use
	}
	if err := d.Remove(); err != nil {
		r.o.Log.Error("a run directory cannot be removed", "container", d.ID(), "err", err)
		return false
	}
	return true
}

// discardLater tries again, beside what comes next, until nothing is left or the
// launcher leaves: an engine that fails or hangs now must not leave a run's workspace,
// or even its processes, on this host for as long as the launcher lives.
func (r *Runner) discardLater(d *rundir.Dir) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return // the next launcher sweeps
	}
	r.owned.Go(func() {
		for wait := firstPause; sleep.For(r.trying, wait) == nil; wait = min(2*wait, longestWait) {
			if r.discard(d) {
				return
			}
		}
	})
}
