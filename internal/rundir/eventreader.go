package rundir

import (
	"encoding/json"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// EventPosition is a place between two events. The zero value is the beginning.
type EventPosition struct {
	Offset int64 `json:"offset"` // in bytes
	Seq    int64 `json:"seq"`    // of the last event read
}

// EventReader reads a run's events. It is for one goroutine.
type EventReader struct {
	pos    EventPosition
	stream *stream
}

// EventReader returns a reader that goes on at a position. The caller closes it.
func (d *Dir) EventReader(at EventPosition) *EventReader {
	return &EventReader{
		pos:    at,
		stream: &stream{out: d.out, name: wire.OutEvents, off: at.Offset, max: d.o.Limits.EventBytes},
	}
}

// Next returns the next event, io.EOF if there is none yet, and any other error
// for good.
func (r *EventReader) Next() (wire.Event, error) {
	payload, err := r.stream.next()
	if err != nil {
		return wire.Event{}, err
	}
	var e wire.Event
	if err := json.Unmarshal(payload, &e); err != nil {
		r.stream.err = corrupt(wire.OutEvents, "the event at byte %d is not JSON", r.pos.Offset)
		return wire.Event{}, r.stream.err
	}
	if e.Seq != r.pos.Seq+1 {
		r.stream.err = corrupt(wire.OutEvents, "event %d follows event %d", e.Seq, r.pos.Seq)
		return wire.Event{}, r.stream.err
	}
	r.pos = EventPosition{Offset: r.stream.off, Seq: e.Seq}
	return e, nil
}

// Position returns the place behind what Next returned last.
func (r *EventReader) Position() EventPosition { return r.pos }

// Close lets go of the file.
func (r *EventReader) Close() error { return r.stream.close() }
