package rundir

import (
	"errors"
	"io"
	"os"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// readAhead is how much of a file is read at once, in bytes; more only where a
// frame needs it.
const readAhead = 256 << 10

// stream reads frames from a growing file of the container.
type stream struct {
	out  *tree
	name string
	file *os.File // nil until it has appeared
	off  int64    // of the next frame
	max  int64    // size in bytes over which the file is refused
	buf  []byte   // bytes from off on
	room []byte   // the array that buf lies in
	err  error    // final
}

// next returns the payload of the next frame, valid until the next call, io.EOF
// if there is no whole frame yet, or a final error.
func (s *stream) next() ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	for {
		payload, size, err := wire.NextFrame(s.buf)
		switch {
		case err == nil && len(payload) == 0:
			// Nobody writes empty frames, but a sparse file is full of them.
			s.err = corrupt(s.name, "an empty frame at byte %d", s.off)
			return nil, s.err
		case err == nil:
			s.buf = s.buf[size:]
			s.off += int64(size)
			return payload, nil
		case !errors.Is(err, wire.ErrTorn):
			s.err = corrupt(s.name, "the frame at byte %d fails its checksum or length", s.off)
			return nil, s.err
		}
		more, err := s.fill()
		if err != nil {
			if !Missing(err) {
				s.err = err
			}
			return nil, s.eof(err)
		}
		if !more {
			return nil, io.EOF
		}
	}
}

func (s *stream) eof(err error) error {
	if Missing(err) {
		return io.EOF
	}
	return err
}

// fill reads on behind buf and reports whether there was anything.
func (s *stream) fill() (bool, error) {
	if s.file == nil {
		f, err := s.out.file(s.name)
		if err != nil {
			return false, err
		}
		s.file = f
	}
	size, err := s.out.size(s.file, s.name)
	if err != nil {
		return false, err
	}
	have := s.off + int64(len(s.buf))
	switch {
	case size < have:
		return false, corrupt(s.name, "it has shrunk from %d to %d bytes", have, size)
	case size > s.max:
		return false, tooLarge(s.name, s.max, "bytes")
	case size == have:
		return false, nil
	}
	want := int(min(size-have, readAhead))
	// The payload returned last lies in the same array and is the caller's no more.
	held := len(s.buf)
	if len(s.room) < held+want {
		s.room = make([]byte, held+want)
	}
	grown := s.room[:held+want]
	copy(grown, s.buf)
	s.buf = grown[:held]
	n, err := s.file.ReadAt(grown[held:], have)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	s.buf = grown[:held+n]
	return n > 0, nil
}

func (s *stream) close() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return f.Close()
}
