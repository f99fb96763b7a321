package rundir

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// LogOptions bound a log that is written.
type LogOptions struct {
	// Unacked is how many bytes may wait for the launcher before Write waits too;
	// 0 means 1 GiB.
	Unacked int64
	// Total is how many bytes are kept in all; 0 means 2 GiB. What follows is
	// dropped behind one line that says so.
	Total int64
	// Segment is the size from which a new segment begins; 0 means 4 MiB.
	Segment int64
}

// Lines that stand where something is missing.
const (
	markTotal   = "\n[worker] the log has reached its limit; what follows is not kept\n"
	markUnacked = "\n[worker] nobody takes the log; what follows is not kept\n"
)

// LogWriter writes a run's log. Safe for concurrent use; what one Write call has
// stays together.
type LogWriter struct {
	inside *Inside
	o      LogOptions

	mu      sync.Mutex
	file    *os.File
	n       int   // of the open segment
	size    int64 // of its file
	frame   []byte
	ended   []ended // closed segments that may still be there
	acked   int64
	marked  bool // a mark stands, nothing follows
	err     error
	written atomic.Int64
	blocked atomic.Bool

	relent     chan struct{}
	relentOnce sync.Once
}

// ended is a segment with the count of payload bytes up to its end.
type ended struct {
	n   int
	end int64
}

// LogWriter returns a writer that begins the log.
func (i *Inside) LogWriter(o LogOptions) (*LogWriter, error) {
	pick := func(v *int64, def int64) {
		if *v <= 0 {
			*v = def
		}
	}
	pick(&o.Unacked, 1<<30)
	pick(&o.Total, 2<<30)
	pick(&o.Segment, segmentSize)
	o.Segment = min(o.Segment, segmentSize)
	if err := i.mkdir(wire.OutLog); err != nil {
		return nil, err
	}
	w := &LogWriter{inside: i, o: o, relent: make(chan struct{})}
	if err := w.roll(); err != nil {
		return nil, named(err, "begin the log")
	}
	return w, nil
}

// Write appends p to the log. It waits while too much is unacknowledged. After an
// error, which may be ErrDiskFull, every call returns that error.
func (w *LogWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for len(p) > 0 && w.err == nil && !w.marked {
		part := p[:min(len(p), wire.MaxFrame)]
		p = p[len(part):]
		w.err = w.one(part)
	}
	if w.err != nil {
		return 0, w.err
	}
	return n, nil
}

func (w *LogWriter) one(p []byte) error {
	if room := w.o.Total - w.written.Load(); int64(len(p)) > room {
		w.marked = true
		if err := w.append(p[:max(room, 0)]); err != nil {
			return err
		}
		return w.append([]byte(markTotal))
	}
	if !w.wait(int64(len(p))) {
		w.marked = true
		return w.append([]byte(markUnacked))
	}
	return w.append(p)
}

// wait returns true once n bytes more may be written, false if it gave up.
func (w *LogWriter) wait(n int64) bool {
	over := func() bool { return w.written.Load()+n-w.acked > w.o.Unacked }
	if !over() {
		return true
	}
	defer w.blocked.Store(false)
	for pause := pollFirst; ; pause = min(2*pause, pollLast) {
		w.acked = max(w.acked, w.inside.Acked())
		if !over() {
			return true
		}
		w.blocked.Store(true)
		select {
		case <-w.relent:
			return false
		case <-time.After(pause):
		}
	}
}

func (w *LogWriter) append(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if w.size >= w.o.Segment {
		if err := w.roll(); err != nil {
			return named(err, "write the log")
		}
	}
	w.frame = wire.AppendFrame(w.frame[:0], p)
	// One call a frame, so that a reader rarely meets half of one.
	n, err := w.file.Write(w.frame)
	w.size += int64(n)
	if err != nil {
		return named(err, "write the log")
	}
	w.written.Add(int64(len(p)))
	return nil
}

// roll closes the segment, begins the next and deletes those that are not needed
// any more.
func (w *LogWriter) roll() error {
	if w.file != nil {
		if err := w.file.Close(); err != nil {
			return err
		}
		w.ended = append(w.ended, ended{n: w.n, end: w.written.Load()})
		w.acked = max(w.acked, w.inside.Acked())
		for len(w.ended) > 0 && w.ended[0].end <= w.acked {
			_ = os.Remove(w.path(w.ended[0].n))
			w.ended = w.ended[1:]
		}
	}
	f, err := w.inside.create(w.path(w.n + 1))
	if err != nil {
		return err
	}
	w.file, w.n, w.size = f, w.n+1, 0
	return nil
}

func (w *LogWriter) path(n int) string {
	return filepath.Join(w.inside.out, wire.OutLog, segmentName(n))
}

// Written returns how many payload bytes the log has.
func (w *LogWriter) Written() int64 { return w.written.Load() }

// Blocked reports whether a Write waits for the launcher at this moment. A tool
// that cannot be heard is not silent.
func (w *LogWriter) Blocked() bool { return w.blocked.Load() }

// Relent makes Write wait no more: what finds no room is dropped behind a line
// that says so. For when the tool has to end whether it is heard or not.
func (w *LogWriter) Relent() { w.relentOnce.Do(func() { close(w.relent) }) }

// Close ends the log.
func (w *LogWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	if w.err == nil {
		w.err = io.ErrClosedPipe
	}
	return named(err, "close the log")
}

// EventWriter writes a run's events. Safe for concurrent use.
type EventWriter struct {
	mu   sync.Mutex
	file *os.File
	seq  int64
}

// EventWriter returns a writer that begins the events.
func (i *Inside) EventWriter() (*EventWriter, error) {
	f, err := i.create(filepath.Join(i.out, wire.OutEvents))
	if err != nil {
		return nil, named(err, "begin the events")
	}
	return &EventWriter{file: f}, nil
}

// Write numbers an event and appends it.
func (w *EventWriter) Write(e wire.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.Seq = w.seq + 1
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if len(data) > wire.MaxFrame {
		return errors.New("write an event: it is too long")
	}
	if _, err := w.file.Write(wire.AppendFrame(nil, data)); err != nil {
		return named(err, "write an event")
	}
	w.seq++
	return nil
}

// Close ends the events.
func (w *EventWriter) Close() error { return w.file.Close() }
