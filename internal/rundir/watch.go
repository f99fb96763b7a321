package rundir

import (
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// How long a quiet directory is left alone before the next look.
const (
	pollFirst = 10 * time.Millisecond
	pollLast  = 100 * time.Millisecond
)

// Watcher says when to look again. It ticks at once when the system notifies of a
// change, and in any case after 10 ms, then 20, 40 … 100 ms, since notification
// does not work on every file system and may be lost on any.
type Watcher struct {
	// C ticks; a tick that nobody waits for is not repeated.
	C    <-chan struct{}
	done chan struct{}
	wg   sync.WaitGroup
}

// Watch watches directories; those that cannot be watched are polled.
func Watch(dirs ...string) *Watcher {
	c := make(chan struct{}, 1)
	w := &Watcher{C: c, done: make(chan struct{})}
	hints, err := fsnotify.NewWatcher()
	if err != nil {
		hints = nil // too many of them on this host: polling is enough
	} else {
		for _, d := range dirs {
			_ = hints.Add(d)
		}
	}
	w.wg.Go(func() { w.run(hints, c) })
	return w
}

// WatchOut watches what the worker writes, but for its requests.
func (d *Dir) WatchOut() *Watcher {
	return Watch(d.Out(), filepath.Join(d.Out(), wire.OutLog))
}

// WatchRequests watches for requests.
func (d *Dir) WatchRequests() *Watcher { return Watch(filepath.Join(d.Out(), wire.OutRequests)) }

func (w *Watcher) run(hints *fsnotify.Watcher, c chan<- struct{}) {
	var events <-chan fsnotify.Event
	var errs <-chan error
	if hints != nil {
		defer func() { _ = hints.Close() }()
		events, errs = hints.Events, hints.Errors
	}
	wait := pollFirst
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-w.done:
			return
		case _, open := <-events:
			if !open {
				events = nil
				continue
			}
			wait = pollFirst
		case _, open := <-errs:
			if !open {
				errs = nil
			}
			continue
		case <-timer.C:
			wait = min(2*wait, pollLast)
		}
		timer.Reset(wait)
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Close ends the watching and waits for it.
func (w *Watcher) Close() {
	close(w.done)
	w.wg.Wait()
}
