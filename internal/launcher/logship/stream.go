package logship

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"time"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// stream is the log of one state version. The shipper's lock guards it.
type stream struct {
	version int
	began   time.Time
	lastCut time.Time

	buf     []byte    // accepted, not yet stored
	lent    bool      // a request that failed may still be reading buf
	stored  int64     // bytes stored, or committed before a restart
	skip    int64     // bytes still to be passed over after a restart
	total   int64     // bytes accepted
	sum     hash.Hash // of all accepted bytes; nil if not known
	chunk   int       // number of the next chunk
	ended   bool
	arrived time.Time // when the first of the bytes in buf came
	flush   bool      // what is in buf is to be shipped now
	lost    int64
	commits []wire.LogCommit // stored, not settled
	closed  bool             // the close is settled
}

func (s *stream) add(now time.Time, p []byte) {
	if s.sum != nil {
		s.sum.Write(p)
	}
	s.total += int64(len(p))
	if n := min(s.skip, int64(len(p))); n > 0 {
		s.skip -= n
		p = p[n:]
	}
	if len(s.buf) == 0 {
		s.arrived = now
	}
	s.buf = append(s.buf, p...)
}

// drop lets go of the first n bytes, which are stored. The array stays, so that a
// log of any length takes no more memory than it needs at once.
func (s *stream) drop(n int) {
	switch rest := s.buf[n:]; {
	case len(rest) == 0 && s.ended:
		s.buf = nil
	case s.lent:
		s.buf = append([]byte(nil), rest...)
	default:
		s.buf = s.buf[:copy(s.buf, rest)]
	}
	s.lent = false
}

// due tells in how much time the next chunk is to be cut; false if there is
// nothing to cut.
func (s *stream) due(now time.Time, o *Options, eager bool) (time.Duration, bool) {
	if len(s.buf) == 0 {
		return 0, false
	}
	if s.ended || s.flush || len(s.buf) >= o.Chunk {
		return 0, true
	}
	if s.stored == 0 {
		return max(0, s.arrived.Add(o.First).Sub(now)), true
	}
	pause := o.Calm
	if eager || now.Sub(s.began) < o.EagerFor {
		pause = o.Eager
	}
	return max(0, s.lastCut.Add(pause).Sub(now)), true
}

// complete reports whether everything of the stream is stored or given up.
func (s *stream) complete() bool { return s.ended && len(s.buf) == 0 }

func (s *stream) close() wire.LogClose {
	c := wire.LogClose{StateVersion: s.version, Bytes: s.total, Lost: s.lost}
	if s.sum != nil {
		c.SHA256 = hex.EncodeToString(s.sum.Sum(nil))
	}
	return c
}

func (s *stream) commit(data []byte) wire.LogCommit {
	sum := sha256.Sum256(data)
	return wire.LogCommit{StateVersion: s.version, Chunk: s.chunk, Offset: s.stored, Length: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
}
