package attempt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// maxServed is how many requests of a container are served at the same time. An
// honest tool has one or two.
const maxServed = 16

// attend serves requests until ctx ends, and ends a container whose time is over.
// What is being served goes on until work ends.
func (w *watcher) attend(ctx, work context.Context) {
	overdue := time.NewTimer(w.remaining())
	defer overdue.Stop()
	files := w.dir.WatchRequests()
	defer files.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-overdue.C:
			w.fail(errors.New("the container did not end when its time was over"))
		case <-files.C:
			w.serve(work)
		}
	}
}

// remaining is how long the container may still go on. The worker keeps its limits
// itself; this is for one that does not.
func (w *watcher) remaining() time.Duration {
	limit := w.t.o.Settings.RunTimeout + time.Duration(w.rec.Terms.GraceMs)*time.Millisecond + 2*time.Minute
	return max(time.Second, limit-w.rec.age(w.t.o.Boot, w.t.o.Clock()))
}

// serve answers new requests, each in its own time.
func (w *watcher) serve(ctx context.Context) {
	if w.failure() != nil {
		return
	}
	requests, err := w.dir.Requests()
	if err != nil {
		w.fail(fmt.Errorf("read the requests: %w", err))
		return
	}
	for _, r := range requests {
		w.served.Go(func() {
			select {
			case w.room <- struct{}{}:
				defer func() { <-w.room }()
			case <-ctx.Done():
				return
			}
			// The write id follows from the request, so that the same request,
			// read again after a restart, is the same write.
			digest := seal.Digest([]byte("state write\n" + w.rec.Container + "\n" + r.ID))
			id := strings.TrimPrefix(digest, "sha256:")[:40]
			answer, body := w.state.Serve(ctx, id, r, func() (io.ReadCloser, error) { return w.dir.RequestBody(r.ID) })
			if ctx.Err() != nil {
				return // unanswered: the launcher that comes after serves it again
			}
			var content io.Reader
			if answer.Body {
				content = strings.NewReader(string(body))
			}
			if err := w.dir.Answer(answer, content); err != nil {
				w.t.log.Error("a request cannot be answered", "err", err)
				return
			}
			if r.Op == wire.OpStatePut && answer.Status == 200 {
				w.t.forget(id)
			}
		})
	}
}

// say writes a line to the run's log and does not wait for its room: what calls it
// holds up the tool.
func (w *watcher) say(line string) { w.served.Go(func() { w.t.say(line) }) }

// forget drops a delivered state write from the journal; one that only the
// journal has stays.
func (t *task) forget(id string) {
	t.mu.Lock()
	fenced := t.isFenced
	t.mu.Unlock()
	if fenced {
		return
	}
	if err := t.o.Journal.Done(id); err != nil {
		t.log.Error("a delivered state write cannot be forgotten", "err", err)
	}
}

// rest keeps what a container that does not exist any more has written and nobody
// has read: its state above all.
func (w *watcher) rest(ctx context.Context) {
	w.serve(ctx)
	w.served.Wait()
	w.t.collect(w)
}
