package logship

import (
	"context"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/sleep"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Run stores and commits until ctx ends, or until the mothership refuses
// commits for good. After it, writers and waiters go on without a log.
func (s *Shipper) Run(ctx context.Context) error {
	err := s.run(ctx)
	s.stop(err)
	return err
}

func (s *Shipper) run(ctx context.Context) error {
	pause, warned := time.Duration(0), false
	for {
		if err := sleep.For(ctx, pause); err != nil {
			return err
		}
		err := s.step(ctx)
		switch {
		case err == nil:
			pause, warned = 0, false
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case fault.Is(err, fault.Stale):
			return err
		}
		if !warned {
			warned = true
			s.o.Log.Warn("log cannot be stored for now; it is kept", "err", err)
		}
		pause = min(max(2*pause, 50*time.Millisecond), s.o.RetryCap)
	}
}

// stop makes writers and waiters go on without a log.
func (s *Shipper) stop(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = err
	for _, st := range s.streams {
		st.buf = nil
	}
	s.notify()
}

// step waits for the next chunk that is due, stores and commits it.
func (s *Shipper) step(ctx context.Context) error {
	st, data, url, err := s.next(ctx)
	if err != nil {
		return err
	}
	if url == "" {
		return s.ask(ctx, st)
	}
	if err := s.o.Put(ctx, url, data); err != nil {
		s.mu.Lock()
		st.lent = true
		if !fault.Is(err, fault.Unavailable) {
			// The address is used up or no good: another one for the same chunk.
			delete(s.urls, [2]int{st.version, st.chunk})
		}
		s.mu.Unlock()
		return err
	}
	s.mu.Lock()
	ended := st.ended
	if len(st.buf) >= len(data) { // else it was given up meanwhile
		st.commits = append(st.commits, st.commit(data))
		stored := int64(len(data))
		st.drop(len(data))
		if len(st.buf) == 0 {
			st.flush = false
		}
		st.stored += stored
		st.chunk++
		ended = ended && len(st.buf) == 0
	}
	s.notify()
	s.mu.Unlock()
	if ended {
		return nil // the call that tells of the state's end carries it
	}
	return s.send(ctx, s.Pending())
}

func (s *Shipper) send(ctx context.Context, u wire.LogUpdate) error {
	answer, err := s.o.Commit(ctx, u)
	if err != nil {
		return err
	}
	s.Settle(u)
	s.Offer(answer.URLs)
	s.Watched(answer.Watched)
	return nil
}

// ask asks for addresses when there is none for the chunk that is due.
func (s *Shipper) ask(ctx context.Context, st *stream) error {
	if err := s.send(ctx, s.Pending()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.usable(st.version, st.chunk) && len(st.buf) > 0 {
		return fault.New(fault.Unavailable, "the mothership gave no address for the log")
	}
	return nil
}

// next waits until a chunk is due and returns it, with its address if there is one.
func (s *Shipper) next(ctx context.Context) (*stream, []byte, string, error) {
	for {
		s.mu.Lock()
		now := s.o.Now()
		wait := time.Hour
		for _, st := range s.streams {
			in, any := st.due(now, &s.o, s.watched)
			if any && in <= 0 {
				st.lastCut = now
				data := st.buf[:min(len(st.buf), s.o.Chunk):min(len(st.buf), s.o.Chunk)]
				url := ""
				if s.usable(st.version, st.chunk) {
					url = s.urls[[2]int{st.version, st.chunk}].url
				}
				s.mu.Unlock()
				return st, data, url, nil
			}
			if any {
				wait = min(wait, in)
			}
		}
		changed := s.changed
		s.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, nil, "", ctx.Err()
		case <-changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (s *Shipper) usable(version, chunk int) bool {
	a, ok := s.urls[[2]int{version, chunk}]
	return ok && s.o.Now().Before(a.until)
}
