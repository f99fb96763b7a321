package logship

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// store is a mothership and an object store in one.
type store struct {
	t       *testing.T
	mu      sync.Mutex
	objects map[string][]byte
	text    map[int][]byte
	closes  map[int]wire.LogClose
	puts    int
	failPut func(n int) error
	stale   bool
}

func newStore(t *testing.T) *store {
	return &store{t: t, objects: map[string][]byte{}, text: map[int][]byte{}, closes: map[int]wire.LogClose{}}
}

func (s *store) put(_ context.Context, url string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	if s.failPut != nil {
		if err := s.failPut(s.puts); err != nil {
			return err
		}
	}
	s.objects[url] = bytes.Clone(data)
	return nil
}

func (s *store) commit(_ context.Context, u wire.LogUpdate) (wire.LogsAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stale {
		return wire.LogsAnswer{}, fault.New(fault.Stale, "the attempt is stale")
	}
	for _, c := range u.Commits {
		data := s.objects[fmt.Sprintf("%d/%d", c.StateVersion, c.Chunk)]
		sum := sha256.Sum256(data)
		if hex.EncodeToString(sum[:]) != c.SHA256 || int64(len(data)) != c.Length {
			s.t.Errorf("commit %+v of other bytes", c)
		}
		switch have := int64(len(s.text[c.StateVersion])); {
		case c.Offset == have:
			s.text[c.StateVersion] = append(s.text[c.StateVersion], data...)
		case c.Offset > have:
			s.t.Errorf("commit at %d, only %d bytes are there", c.Offset, have)
		}
	}
	for _, c := range u.Closes {
		s.closes[c.StateVersion] = c
	}
	var a wire.LogsAnswer
	for i := range u.Want {
		n := u.WantFrom + i
		a.URLs = append(a.URLs, wire.LogURL{StateVersion: u.WantStateVersion, Chunk: n, URL: fmt.Sprintf("%d/%d", u.WantStateVersion, n), ExpiresInMs: 60000})
	}
	return a, nil
}

func start(t *testing.T, st *store, change func(*Options)) *Shipper {
	t.Helper()
	o := Options{
		Put: st.put, Commit: st.commit, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		First: time.Millisecond, Eager: time.Millisecond, Calm: 2 * time.Millisecond, EagerFor: time.Second, RetryCap: 2 * time.Millisecond, Chunk: 1000,
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

// finish stores the rest and sends the last update, as an outcome would.
func finish(t *testing.T, s *Shipper, st *store) {
	t.Helper()
	if err := s.Stored(t.Context()); err != nil {
		t.Fatal(err)
	}
	u := s.Pending()
	if _, err := st.commit(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	s.Settle(u)
}

func check(t *testing.T, st *store, version int, want []byte) {
	t.Helper()
	st.mu.Lock()
	defer st.mu.Unlock()
	sum := sha256.Sum256(want)
	c := st.closes[version]
	if !bytes.Equal(st.text[version], want) || c.Bytes != int64(len(want)) || c.SHA256 != hex.EncodeToString(sum[:]) || c.Lost != 0 {
		t.Fatalf("state %d: %d bytes stored, close %+v; %d were written", version, len(st.text[version]), c, len(want))
	}
}

func TestALogIsCompleteAndInOrderWhateverFails(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	st.failPut = func(n int) error {
		switch n % 5 {
		case 1:
			return fault.New(fault.Unavailable, "the store is away")
		case 3:
			return fault.New(fault.Forbidden, "the address has expired")
		}
		return nil
	}
	s := start(t, st, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	for version := 2; version <= 4; version++ {
		begin(t, s, version, Place{})
		var want []byte
		for i := range 200 {
			line := fmt.Appendf(nil, "state %d line %d %s\n", version, i, bytes.Repeat([]byte("x"), rng.IntN(90)))
			want = append(want, line...)
			if err := s.Write(t.Context(), version, line); err != nil {
				t.Fatal(err)
			}
		}
		s.End(version)
		finish(t, s, st)
		check(t, st, version, want)
	}
}

func TestWhatIsFlushedIsShippedTogetherAndWithoutWaiting(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	s := start(t, st, func(o *Options) { o.First, o.Eager, o.Calm = time.Hour, time.Hour, time.Hour })
	begin(t, s, 1, Place{})
	for _, line := range []string{"$ echo hello\n", "hello\n"} {
		if err := s.Write(t.Context(), 1, []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	s.Flush(1)
	waitFor(t, st, 1, "$ echo hello\nhello\n")
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.puts != 1 {
		t.Errorf("it went in %d pieces", st.puts)
	}
}

func TestTheFirstBytesOfAStateAreShippedAtOnce(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	s := start(t, st, func(o *Options) { o.Eager, o.Calm = time.Hour, time.Hour })
	begin(t, s, 1, Place{})
	if err := s.Write(t.Context(), 1, []byte("first\n")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, st, 1, "first\n")
}

func TestAWatchedLogIsShippedSooner(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	s := start(t, st, func(o *Options) { o.EagerFor, o.Calm = time.Nanosecond, time.Hour })
	begin(t, s, 1, Place{})
	_ = s.Write(t.Context(), 1, []byte("a"))
	waitFor(t, st, 1, "a")
	_ = s.Write(t.Context(), 1, []byte("b"))
	s.Watched(true)
	waitFor(t, st, 1, "ab")
}

func waitFor(t *testing.T, st *store, version int, want string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		st.mu.Lock()
		have := string(st.text[version])
		st.mu.Unlock()
		if have == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log has %q, want %q", have, want)
		}
		time.Sleep(time.Millisecond)
	}
}

func begin(t *testing.T, s *Shipper, version int, at Place) {
	t.Helper()
	if err := s.Begin(version, at); err != nil {
		t.Fatal(err)
	}
}

func TestARestartedLauncherGoesOnWhereTheCommitsEnd(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	before := start(t, newStore(t), nil)
	begin(t, before, 3, Place{})
	_ = before.Write(t.Context(), 3, []byte("one\n"))
	offset, hash := before.Snapshot(3)

	st.text[3] = []byte("one\ntwo\n")
	s := start(t, st, nil)
	begin(t, s, 3, Place{Offset: offset, Hash: hash, Committed: 8, Chunk: 5})
	for _, p := range []string{"t", "wo\nth", "ree\n"} {
		if err := s.Write(t.Context(), 3, []byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	s.End(3)
	finish(t, s, st)
	check(t, st, 3, []byte("one\ntwo\nthree\n"))
}

func TestBytesGivenUpAreSaidInTheClose(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	st.failPut = func(int) error { return fault.New(fault.Unavailable, "the store is away") }
	s := start(t, st, nil)
	begin(t, s, 1, Place{})
	_ = s.Write(t.Context(), 1, []byte("12345"))
	s.End(1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Stored(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("stored: %v", err)
	}
	if lost := s.GiveUp(); lost != 5 {
		t.Fatalf("gave up %d bytes", lost)
	}
	u := s.Pending()
	if len(u.Closes) != 1 || u.Closes[0].Lost != 5 || u.Closes[0].Bytes != 5 {
		t.Fatalf("got %+v", u)
	}
}

func TestAStaleAttemptShipsNoMoreAndBlocksNobody(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	st.stale = true
	s := start(t, st, nil)
	begin(t, s, 1, Place{})
	for range 50 {
		if err := s.Write(t.Context(), 1, bytes.Repeat([]byte("x"), 900)); err != nil {
			t.Fatal(err)
		}
	}
	s.End(1)
	if err := s.Stored(t.Context()); !fault.Is(err, fault.Stale) {
		t.Fatalf("got %v", err)
	}
}

func TestALongLogTakesNoMoreThanItsBuffer(t *testing.T) {
	t.Parallel()
	st, most := &stream{}, 0
	for range 1000 {
		st.add(time.Time{}, make([]byte, 1000))
		st.add(time.Time{}, make([]byte, 500))
		st.drop(len(st.buf) - 200)
		most = max(most, cap(st.buf))
	}
	if first := &st.buf[:1][0]; most > 4096 {
		t.Errorf("the buffer has grown to %d bytes", most)
	} else if st.add(time.Time{}, make([]byte, 100)); &st.buf[0] != first {
		t.Error("the array was given up though it has room")
	}
	lent := []byte("abcdef")
	st = &stream{buf: lent, lent: true}
	if st.drop(4); string(st.buf) != "ef" || string(lent) != "abcdef" || st.lent {
		t.Errorf("got %q; what a request may still be reading is %q", st.buf, lent)
	}
}
