package logship

import (
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// ErrEnded is returned by writes to a state whose log has ended.
var ErrEnded = errors.New("the log of this state has ended")

// Options configure a Shipper. Durations and sizes that are zero get the values
// of the package's description.
type Options struct {
	// Put stores a chunk at a signed address, trying once.
	Put func(ctx context.Context, url string, data []byte) error
	// Commit sends an update on its own.
	Commit func(ctx context.Context, u wire.LogUpdate) (wire.LogsAnswer, error)
	// Settled, if set, is told how many bytes of a state are committed. It is
	// called from the goroutine that settles, without any lock of the Shipper.
	Settled func(version int, bytes int64)
	Log     *slog.Logger
	Now     func() time.Time

	First, Eager, EagerFor, Calm time.Duration
	RetryCap                     time.Duration
	Chunk, Buffer                int // bytes
}

// Shipper ships the log of one attempt. Its methods are safe for concurrent use.
type Shipper struct {
	o Options

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change
	streams []*stream     // in order of their state versions
	urls    map[[2]int]address
	watched bool
	stopped error
}

type address struct {
	url   string
	until time.Time
}

// New makes a Shipper; Run makes it work.
func New(o Options) (*Shipper, error) {
	if o.Put == nil || o.Commit == nil || o.Log == nil || o.Now == nil {
		return nil, errors.New("logship: an option is missing")
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&o.First, 10 * time.Millisecond}, {&o.Eager, 250 * time.Millisecond}, {&o.EagerFor, 10 * time.Second}, {&o.Calm, 5 * time.Second}, {&o.RetryCap, 10 * time.Second}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.Chunk == 0 {
		o.Chunk = 4 << 20
	}
	if o.Buffer == 0 {
		o.Buffer = 2 * o.Chunk
	}
	return &Shipper{o: o, changed: make(chan struct{}), urls: map[[2]int]address{}}, nil
}

// Place is where a stream goes on after a restart. The zero value is the
// beginning.
type Place struct {
	// Offset is how many bytes of the stream come before what will be written,
	// and Hash the state of their SHA-256, from Snapshot. Without it the close
	// will name no hash.
	Offset int64
	Hash   []byte
	// Committed is how many bytes the mothership has: as many are passed over.
	Committed int64
	// Chunk is the number of the next chunk. It must be greater than any that was
	// ever given out, since a chunk that is committed may not change.
	Chunk int
}

// Begin opens the log of a state version.
func (s *Shipper) Begin(version int, at Place) error {
	sum := sha256.New()
	if at.Offset > 0 && at.Hash == nil {
		sum = nil
	} else if at.Offset > 0 {
		if err := sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(at.Hash); err != nil {
			return fmt.Errorf("go on with the log of state %d: %w", version, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.find(version) != nil {
		return nil
	}
	now := s.o.Now()
	s.streams = append(s.streams, &stream{
		version: version, began: now, lastCut: now, total: at.Offset, sum: sum,
		stored: max(at.Offset, at.Committed), skip: max(0, at.Committed-at.Offset), chunk: at.Chunk,
	})
	s.notify()
	return nil
}

// Snapshot returns how many bytes a stream has and the state of their hash, to
// go on from there after a restart.
func (s *Shipper) Snapshot(version int) (offset int64, hash []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.find(version)
	if st == nil {
		return 0, nil
	}
	if st.sum == nil {
		return st.total, nil
	}
	hash, err := st.sum.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return 0, nil
	}
	return st.total, hash
}

// NextChunk returns the number of a stream's next chunk.
func (s *Shipper) NextChunk(version int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.find(version); st != nil {
		return st.chunk
	}
	return 0
}

// Write appends to the log of a state version. It waits while the buffer is full.
func (s *Shipper) Write(ctx context.Context, version int, p []byte) error {
	for {
		s.mu.Lock()
		st := s.find(version)
		switch {
		case st == nil || st.ended:
			s.mu.Unlock()
			return ErrEnded
		case s.buffered() == 0 || s.buffered()+len(p) <= s.o.Buffer || s.stopped != nil:
			if s.stopped == nil {
				st.add(s.o.Now(), p)
				s.notify()
			}
			s.mu.Unlock()
			return nil
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// Flush ships what has been written to a state version without waiting for more.
func (s *Shipper) Flush(version int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.find(version); st != nil && len(st.buf) > 0 {
		st.flush = true
		s.notify()
	}
}

// End says that no more will be written to a state version.
func (s *Shipper) End(version int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.find(version); st != nil {
		st.ended = true
		s.notify()
	}
}

// Offer adds signed addresses.
func (s *Shipper) Offer(urls []wire.LogURL) {
	if len(urls) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range urls {
		s.urls[[2]int{u.StateVersion, u.Chunk}] = address{url: u.URL, until: s.o.Now().Add(time.Duration(u.ExpiresInMs) * time.Millisecond)}
	}
	s.notify()
}

// Watched says whether somebody reads the log at this moment.
func (s *Shipper) Watched(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watched != yes {
		s.watched = yes
		s.notify()
	}
}

// Pending returns what a call to the mothership should carry. It may be carried
// by several calls; Settle those that were answered.
func (s *Shipper) Pending() wire.LogUpdate {
	s.mu.Lock()
	defer s.mu.Unlock()
	var u wire.LogUpdate
	for _, st := range s.streams {
		u.Commits = append(u.Commits, st.commits...)
		if st.complete() && !st.closed {
			u.Closes = append(u.Closes, st.close())
		}
	}
	s.want(&u)
	return u
}

// want asks for addresses before the last ones are used up.
func (s *Shipper) want(u *wire.LogUpdate) {
	for _, st := range s.streams {
		if st.complete() {
			continue
		}
		first := st.chunk
		for s.usable(st.version, first) {
			first++
		}
		if first < st.chunk+4 {
			u.Want, u.WantStateVersion, u.WantFrom = 16, st.version, first
			return
		}
	}
}

// Settle notes that the mothership has an update.
func (s *Shipper) Settle(u wire.LogUpdate) {
	settled := map[int]int64{}
	s.mu.Lock()
	for _, c := range u.Commits {
		if st := s.find(c.StateVersion); st != nil {
			settled[c.StateVersion] = max(settled[c.StateVersion], c.Offset+c.Length)
			for i, have := range st.commits {
				if have == c {
					st.commits = append(st.commits[:i:i], st.commits[i+1:]...)
					break
				}
			}
		}
	}
	for _, c := range u.Closes {
		if st := s.find(c.StateVersion); st != nil {
			st.closed = true
		}
	}
	s.notify()
	s.mu.Unlock()
	if s.o.Settled != nil {
		for _, version := range slices.Sorted(maps.Keys(settled)) {
			s.o.Settled(version, settled[version])
		}
	}
}

// Stored waits until everything written so far to streams that have ended is
// stored. The commits may still be pending.
func (s *Shipper) Stored(ctx context.Context) error {
	for {
		s.mu.Lock()
		done := true
		for _, st := range s.streams {
			done = done && (!st.ended || st.complete())
		}
		changed, stopped := s.changed, s.stopped
		s.mu.Unlock()
		if done || stopped != nil {
			return stopped
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// GiveUp declares lost what has not been stored of streams that have ended, and
// returns how many bytes that are.
func (s *Shipper) GiveUp() (lost int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		if st.ended && len(st.buf) > 0 {
			st.lost += int64(len(st.buf))
			lost += int64(len(st.buf))
			st.buf = nil
		}
	}
	s.notify()
	return lost
}

func (s *Shipper) find(version int) *stream {
	for _, st := range s.streams {
		if st.version == version {
			return st
		}
	}
	return nil
}

func (s *Shipper) buffered() (n int) {
	for _, st := range s.streams {
		n += len(st.buf)
	}
	return n
}

func (s *Shipper) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}
