package state

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/client"
	"github.com/spaceport-iac/spaceport/internal/launcher/journal"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

const stack = "01HSTACK000000000000000000"

var testKeys = sync.OnceValue(func() [2]*seal.PoolKey {
	var keys [2]*seal.PoolKey
	for i := range keys {
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		if keys[i], err = seal.NewPoolKey(private); err != nil {
			panic(err)
		}
	}
	return keys
})

// mothership keeps one state.
type mothership struct {
	mu     sync.Mutex
	state  client.State
	put    func(id string, s client.State, body []byte) (wire.StateAnswer, error)
	bodies map[string][]byte
	locked []string
}

func (m *mothership) GetState(context.Context) (client.State, error) { return m.state, nil }

func (m *mothership) PutState(_ context.Context, id string, s client.State, body func() (io.ReadCloser, error), _ int64) (wire.StateAnswer, error) {
	r, err := body()
	if err != nil {
		return wire.StateAnswer{}, err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return wire.StateAnswer{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.put != nil {
		if a, err := m.put(id, s, data); err != nil || a.Recovery {
			return a, err
		}
	}
	m.bodies[id] = data
	base := s.Sequence
	s.Sequence, s.Body = base+1, data
	m.state = s
	return wire.StateAnswer{Sequence: base + 1}, nil
}

func (m *mothership) Lock(_ context.Context, in wire.LockRequest) error {
	m.locked = append(m.locked, in.ID)
	return nil
}
func (m *mothership) Unlock(context.Context, wire.LockRequest) error { m.locked = nil; return nil }

type world struct {
	t        *testing.T
	m        *mothership
	o        Options
	said     []string
	recovery *age.X25519Identity
	fence    chan struct{}
}

func setup(t *testing.T, mode string, class run.Class) *world {
	t.Helper()
	j, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	marks, err := seal.NewMarks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	recovery, err := seal.ParseRecipients(identity.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, m: &mothership{bodies: map[string][]byte{}}, recovery: identity, fence: make(chan struct{})}
	w.o = Options{
		Remote: w.m, Journal: j, Marks: marks, Log: slog.New(slog.DiscardHandler), Say: func(line string) { w.said = append(w.said, line) },
		Key: testKeys()[0], Recovery: recovery, Origin: "01ORIGIN", Pool: "01POOL", Stack: stack, Ref: wire.AttemptRef{Run: "01HRUN00000000000000000001", Attempt: 1},
		Class: class, Core: "sha256:" + strings.Repeat("ab", 32), Store: wire.JobState{Mode: mode, Digest: "none", Statement: "none"}, Fenced: w.fence,
	}
	return w
}

func (w *world) server() *Server {
	w.t.Helper()
	s, err := New(w.o)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func body(text string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
}

func (w *world) put(s *Server, id, text string) wire.Answer {
	a, _ := s.Serve(w.t.Context(), id, wire.Request{ID: id, Op: wire.OpStatePut, Body: true}, body(text))
	return a
}

func (w *world) get(s *Server) (wire.Answer, string) {
	a, data := s.Serve(w.t.Context(), "g", wire.Request{ID: "g", Op: wire.OpStateGet}, nil)
	return a, string(data)
}

func TestAStateIsWrittenReadAndWrittenAgainInBothModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{wire.StateManaged, wire.StateSealed} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := setup(t, mode, run.Write)
			s := w.server()
			if a, _ := w.get(s); a.Status != 204 {
				t.Fatalf("got %+v", a)
			}
			for i, text := range []string{`{"serial":1}`, `{"serial":2}`} {
				if a := w.put(s, "w"+text[len(text)-2:len(text)-1], text); a.Status != 200 {
					t.Fatalf("write %d: %+v", i, a)
				}
				if a, got := w.get(s); a.Status != 200 || got != text {
					t.Fatalf("read %d: %+v %q", i, a, got)
				}
			}
			sealed := w.m.bodies["w2"]
			if open := strings.Contains(string(sealed), "serial"); open != (mode == wire.StateManaged) {
				t.Fatalf("the mothership has %q", sealed)
			}
			sequence, _, marked, _ := w.o.Marks.Get(stack)
			if mode == wire.StateManaged {
				if marked {
					t.Fatal("a managed state has a mark")
				}
				return
			}
			if sequence != 2 {
				t.Fatalf("the mark is at %d", sequence)
			}
			if plain, err := seal.OpenBytes(sealed, w.recovery); err != nil || string(plain) != `{"serial":2}` {
				t.Fatalf("the recovery key opens %q, %v", plain, err)
			}
			st, err := seal.ParseStatement(w.m.state.Statement)
			if err != nil || st.Sequence != 2 || st.Previous == "" || st.Stack != stack || st.Kind != seal.KindState {
				t.Fatalf("statement %+v, %v", st, err)
			}
		})
	}
}

func TestASealedStateThatIsNotTheCurrentOneIsNotOpened(t *testing.T) {
	t.Parallel()
	// written returns a world whose state was written once and then twice.
	written := func(t *testing.T) (w *world, first, second client.State) {
		w = setup(t, wire.StateSealed, run.Write)
		s := w.server()
		w.put(s, "w1", "one")
		first = w.m.state
		w.put(s, "w2", "two")
		second = w.m.state
		w.o.Store.Sequence, w.o.Store.Statement = 2, seal.StatementDigest(second.Statement)
		return w, first, second
	}
	for _, c := range []struct {
		name   string
		change func(w *world, first client.State)
		code   string
	}{
		{"nothing is changed", func(*world, client.State) {}, ""},
		{"an older one", func(w *world, first client.State) { w.m.state = first }, "seal_sequence"},
		{"an older one under the newer number", func(w *world, first client.State) {
			first.Sequence = 2
			w.m.state = first
		}, "seal_sequence"},
		{"an older one that the job names", func(w *world, first client.State) {
			w.m.state = first
			w.o.Store.Sequence, w.o.Store.Statement = 1, seal.StatementDigest(first.Statement)
		}, "seal_rollback"},
		{"none, though there was one", func(w *world, _ client.State) {
			w.m.state = client.State{}
			w.o.Store = wire.JobState{Mode: wire.StateSealed, Digest: "none", Statement: "none"}
		}, "seal_rollback"},
		{"a forged signature", func(w *world, _ client.State) { w.m.state.Signature = make([]byte, 256) }, "seal_signature"},
		{"other bytes", func(w *world, first client.State) { w.m.state.Body = first.Body }, "seal_"},
		{"a truncated one", func(w *world, _ client.State) { w.m.state.Body = w.m.state.Body[:50] }, "seal_"},
		{"of another stack", func(w *world, _ client.State) { w.o.Stack = "01HOTHER000000000000000000" }, "seal_stack"},
		{"of another pool", func(w *world, _ client.State) { w.o.Pool = "01OTHER" }, "seal_pool"},
		{"by another key", func(w *world, _ client.State) { w.o.Key = testKeys()[1] }, "seal_signature"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, first, _ := written(t)
			c.change(w, first)
			s := w.server()
			plain, err := s.get(t.Context())
			if c.code == "" {
				if err != nil || string(plain) != "two" {
					t.Fatalf("got %q, %v", plain, err)
				}
				return
			}
			if f := fault.As(err); f == nil || !strings.Contains(string(f.Code), c.code) || plain != nil {
				t.Fatalf("got %q, %v (%v)", plain, err, f)
			}
		})
	}
}

func TestTheMarkMovesOnlyWhenAWriteIsCurrent(t *testing.T) {
	t.Parallel()
	w := setup(t, wire.StateSealed, run.Write)
	w.m.put = func(string, client.State, []byte) (wire.StateAnswer, error) {
		return wire.StateAnswer{Recovery: true, Reason: "the attempt is over"}, nil
	}
	s := w.server()
	if a := w.put(s, "w1", "late"); a.Status != 200 {
		t.Fatalf("got %+v", a)
	}
	if _, _, marked, _ := w.o.Marks.Get(stack); marked || len(w.said) != 1 || !strings.Contains(w.said[0], "recovery version") {
		t.Fatalf("marked %v, said %q", marked, w.said)
	}
}

func TestAfterARotationEarlierKeysOpenAndNothingIsSealedToThem(t *testing.T) {
	t.Parallel()
	w := setup(t, wire.StateSealed, run.Write)
	if a := w.put(w.server(), "w1", `{"serial":1}`); a.Status != 200 {
		t.Fatalf("got %+v", a)
	}
	kept, err := w.o.Journal.Entries()
	if err != nil || len(kept) != 1 {
		t.Fatalf("the journal has %v, %v", kept, err)
	}
	old := w.o.Key
	w.o.Key, w.o.Store = testKeys()[1], wire.JobState{Mode: wire.StateSealed, Sequence: 1, Statement: seal.StatementDigest(w.m.state.Statement)}
	if a, got := w.get(w.server()); a.Status == 200 {
		t.Fatalf("without the earlier key the state is open: %q", got)
	}
	w.o.Earlier = []*seal.PoolKey{old}
	s := w.server()
	if a, got := w.get(s); a.Status != 200 || got != `{"serial":1}` {
		t.Fatalf("got %+v %q", a, got)
	}
	if a := w.put(s, "w2", `{"serial":2}`); a.Status != 200 {
		t.Fatalf("got %+v", a)
	}
	st, err := seal.ParseStatement(w.m.state.Statement)
	if err != nil || st.Signer != w.o.Key.Fingerprint() || slices.Contains(st.Recipients, old.Fingerprint()) || !slices.Contains(st.Recipients, w.o.Key.Fingerprint()) {
		t.Errorf("the new state is for %+v, %v", st, err)
	}
	if _, err := seal.OpenBytes(w.m.bodies["w2"], old.Identity()); err == nil {
		t.Error("the earlier key opens the new state")
	}
	// What was kept before the rotation is still delivered, in the clear if it must be.
	kept[0].Mode = wire.StateManaged
	if _, err := Deliver(t.Context(), w.m, w.o.Journal, w.o.keys(), kept[0]); err != nil || string(w.m.bodies[kept[0].ID]) != `{"serial":1}` {
		t.Errorf("got %q, %v", w.m.bodies[kept[0].ID], err)
	}
}

func TestARestartSendsTheVerySameBytes(t *testing.T) {
	t.Parallel()
	w := setup(t, wire.StateSealed, run.Write)
	var sent [][]byte
	w.m.put = func(_ string, _ client.State, data []byte) (wire.StateAnswer, error) {
		sent = append(sent, data)
		if len(sent) == 1 {
			return wire.StateAnswer{}, context.Canceled // the launcher is killed here
		}
		return wire.StateAnswer{}, nil
	}
	if a := w.put(w.server(), "w1", "text"); a.Status == 200 {
		t.Fatal("the tool was told that an unsent write is done")
	}
	s := w.server()
	if a := w.put(s, "w1", "another text, which a worker might give"); a.Status != 200 {
		t.Fatalf("got %+v", a)
	}
	if len(sent) != 2 || string(sent[0]) != string(sent[1]) {
		t.Fatal("the tries differ")
	}
	if err := s.Forget("w1"); err != nil {
		t.Fatal(err)
	}
	if left, _ := w.o.Journal.Entries(); len(left) != 0 {
		t.Fatalf("%d entries are left", len(left))
	}
}

func TestWithoutContactTheJournalAnswers(t *testing.T) {
	t.Parallel()
	w := setup(t, wire.StateManaged, run.Write)
	w.m.put = func(string, client.State, []byte) (wire.StateAnswer, error) {
		return wire.StateAnswer{}, fault.New(fault.Unavailable, "away")
	}
	close(w.fence)
	s := w.server()
	for _, id := range []string{"w1", "w2"} {
		if a := w.put(s, id, "text "+id); a.Status != 200 {
			t.Fatalf("got %+v", a)
		}
	}
	left, err := w.o.Journal.Entries()
	if err != nil || len(left) != 2 || left[1].Base != 1 || left[1].Sequence != 2 {
		t.Fatalf("kept %+v, %v", left, err)
	}
	w.m.put = nil
	for _, e := range left {
		if _, err := Deliver(t.Context(), w.m, w.o.Journal, w.o.keys(), e); err != nil {
			t.Fatal(err)
		}
	}
	if string(w.m.state.Body) != "text w2" || w.m.state.Sequence != 2 {
		t.Fatalf("the mothership has %+v", w.m.state)
	}
}

// Many of them may be in memory at once, and a sparse file costs its writer nothing.
func TestTheDescriptionOfALockIsShort(t *testing.T) {
	t.Parallel()
	w := setup(t, wire.StateManaged, run.Write)
	s := w.server()
	lock := func(size int) wire.Answer {
		a, _ := s.Serve(t.Context(), "l", wire.Request{ID: "l", Op: wire.OpStateLock, Lock: "tool", Body: true}, func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(strings.Repeat(" ", size))), nil
		})
		return a
	}
	if a := lock(1 << 10); a.Status != 200 {
		t.Fatalf("got %+v", a)
	}
	if a := lock(maxLockInfo + 1); a.Status != 400 || len(w.m.locked) != 1 {
		t.Fatalf("got %+v", a)
	}
}

func TestTheClassDecidesWhatIsGranted(t *testing.T) {
	t.Parallel()
	w := setup(t, wire.StateManaged, run.Read)
	s := w.server()
	if a := w.put(s, "w1", "text"); a.Status != 403 {
		t.Fatalf("a reading container wrote: %+v", a)
	}
	lock := func(s *Server) wire.Answer {
		a, _ := s.Serve(t.Context(), "l", wire.Request{ID: "l", Op: wire.OpStateLock, Lock: "tool"}, nil)
		return a
	}
	if a := lock(s); a.Status != 200 || len(w.m.locked) != 0 {
		t.Fatalf("a reading lock: %+v, %v", a, w.m.locked)
	}
	w.o.Class = run.Write
	if a := lock(w.server()); a.Status != 200 || len(w.m.locked) != 1 {
		t.Fatalf("a writing lock: %+v, %v", a, w.m.locked)
	}
	if a, _ := s.Serve(t.Context(), "x", wire.Request{ID: "x", Op: "state_delete"}, nil); a.Status != 400 {
		t.Fatalf("an unknown operation: %+v", a)
	}
}

func TestSealedStateNeedsARecoveryRecipientAndStaysSealed(t *testing.T) {
	t.Parallel()
	w := setup(t, wire.StateSealed, run.Write)
	w.o.Recovery = nil
	if _, err := New(w.o); err == nil || !strings.Contains(err.Error(), "needs a recovery recipient in the launcher's settings") {
		t.Fatalf("got %v", err)
	}
	w = setup(t, wire.StateSealed, run.Write)
	w.put(w.server(), "w1", "text")
	w.o.Store.Mode = wire.StateManaged
	if _, err := New(w.o); err == nil || !strings.Contains(err.Error(), "has seen it sealed") {
		t.Fatalf("got %v", err)
	}
}
