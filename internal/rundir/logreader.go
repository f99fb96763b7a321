package rundir

import (
	"errors"
	"io"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

const (
	// segmentSize is the size in bytes from which the worker begins a new segment.
	segmentSize = 4 << 20
	// segmentMax is the size over which a segment is refused.
	segmentMax = segmentSize + 2*wire.MaxFrame
)

// LogPosition is a place between two frames of a log. The zero value is the
// beginning. A launcher keeps it on disk to go on after a restart.
type LogPosition struct {
	Segment int   `json:"segment"` // from 1
	Offset  int64 `json:"offset"`  // in the segment's file, in bytes
	Payload int64 `json:"payload"` // bytes of log before it
}

// LogReader reads a run's log. It is for one goroutine.
type LogReader struct {
	out    *tree
	pos    LogPosition
	limit  int64
	stream *stream
	err    error
}

// LogReader returns a reader that goes on at a position. The caller closes it.
func (d *Dir) LogReader(at LogPosition) *LogReader {
	at.Segment = max(at.Segment, 1)
	r := &LogReader{out: d.out, pos: at, limit: d.o.Limits.LogBytes}
	r.stream = r.segment(at.Segment, at.Offset)
	return r
}

func (r *LogReader) segment(n int, off int64) *stream {
	return &stream{out: r.out, name: wire.OutLog + "/" + segmentName(n), off: off, max: segmentMax}
}

// Next returns the next piece of the log, valid until the next call. It returns
// io.EOF if there is nothing more yet, and any other error for good.
func (r *LogReader) Next() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	payload, err := r.stream.next()
	if errors.Is(err, io.EOF) {
		payload, err = r.advance()
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case err != nil:
		r.err = err
		return nil, err
	}
	if r.pos.Payload+int64(len(payload)) > r.limit {
		r.err = tooLarge(wire.OutLog, r.limit, "bytes")
		return nil, r.err
	}
	r.pos.Offset = r.stream.off
	r.pos.Payload += int64(len(payload))
	return payload, nil
}

// advance goes to the next segment if there is one and this one is read.
func (r *LogReader) advance() ([]byte, error) {
	next := r.segment(r.pos.Segment+1, 0)
	if _, err := next.fill(); err != nil {
		return nil, next.eof(err)
	}
	// The worker never touches a segment again once the next one exists: what
	// arrived between our last look and that moment is there now, or never.
	payload, err := r.stream.next()
	if !errors.Is(err, io.EOF) {
		_ = next.close()
		return payload, err
	}
	if len(r.stream.buf) > 0 {
		_ = next.close()
		return nil, corrupt(r.stream.name, "it ends in the middle of a frame though the log goes on")
	}
	if r.stream.off == 0 {
		// Else a flood of empty segments would keep us walking.
		_ = next.close()
		return nil, corrupt(r.stream.name, "it is empty or missing though the log goes on")
	}
	_ = r.stream.close()
	r.stream = next
	r.pos.Segment++
	r.pos.Offset = 0
	return r.stream.next()
}

// Position returns the place behind what Next returned last.
func (r *LogReader) Position() LogPosition { return r.pos }

// Torn returns how many bytes of an unfinished frame stand behind the position.
// After the container's end they will never be finished.
func (r *LogReader) Torn() int { return len(r.stream.buf) }

// Close lets go of the open segment.
func (r *LogReader) Close() error { return r.stream.close() }
