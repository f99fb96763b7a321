package statefile_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/lease/leasetest"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/mothership/statefile"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

var ctx = context.Background()

// world is a mothership with one task in its writing container.
type world struct {
	*leasetest.World
	st     stack.Stack
	worker pool.WorkerIdentity
	run    *runs.Run
	ref    wire.AttemptRef
}

func setup(t *testing.T, mode string) *world {
	t.Helper()
	w := &world{World: leasetest.New(t)}
	w.st = w.Stack("web", func(in *stack.Input) { in.StateMode = mode })
	w.worker = w.Worker("01WRITER")
	w.begin()
	return w
}

func (w *world) begin() {
	w.T.Helper()
	w.run = w.Task(w.st, true)
	w.ref = w.Ref(w.run)
	w.Start(w.worker, w.ref, run.Write, run.PhasePerform, "c")
}

func (w *world) caller() statefile.Caller {
	return statefile.Caller{Worker: w.worker.Worker, Run: w.ref.Run, Attempt: w.ref.Attempt}
}

func (w *world) put(id string, base int64, body string) (wire.StateAnswer, error) {
	return w.State.Put(ctx, w.caller(), statefile.Write{ID: id, Base: base, Digest: leasetest.Digest([]byte(body))}, strings.NewReader(body))
}

func (w *world) mustPut(id string, base int64, body string) wire.StateAnswer {
	w.T.Helper()
	answer, err := w.put(id, base, body)
	if err != nil {
		w.T.Fatal(err)
	}
	return answer
}

func (w *world) wantState(sequence int64, body string) {
	w.T.Helper()
	st, data, err := w.State.Get(ctx, w.caller())
	if err != nil || st.Sequence != sequence || string(data) != body {
		w.T.Fatalf("the state is %d %q, %v; want %d %q", st.Sequence, data, err, sequence, body)
	}
}

func TestAManagedStateIsKeptEncryptedAndReadBack(t *testing.T) {
	t.Parallel()
	w := setup(t, wire.StateManaged)
	w.wantState(0, "")
	if answer := w.mustPut("a", 0, "canary-one"); answer.Sequence != 1 || answer.Recovery {
		t.Fatalf("the first write is answered %+v", answer)
	}
	w.mustPut("b", 1, "canary-two")
	w.wantState(2, "canary-two")
	var object string
	w.Scan(`SELECT object FROM state WHERE sequence = 2`, &object)
	r, err := w.Blob.Get(ctx, object)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := io.ReadAll(r)
	if err != nil || bytes.Contains(stored, []byte("canary")) {
		t.Errorf("the object store holds the state in the clear (%v)", err)
	}
}

func TestAWriteThatIsRepeatedIsStoredOnce(t *testing.T) {
	t.Parallel()
	w := setup(t, wire.StateManaged)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if answer, err := w.put("same", 0, "state"); err != nil || answer.Sequence != 1 || answer.Recovery {
				t.Errorf("a repeat is answered %+v, %v", answer, err)
			}
		})
	}
	wg.Wait()
	var n int
	w.Scan(`SELECT COUNT(*) FROM state`, &n)
	if n != 1 {
		t.Errorf("%d states are stored", n)
	}
	if _, err := w.put("same", 0, "other bytes"); !fault.Is(err, fault.Conflict) {
		t.Errorf("other bytes under the same id are answered %v", err)
	}
}

func TestWhatMayNotBecomeCurrentIsKeptForRecovery(t *testing.T) {
	t.Parallel()
	t.Run("when its base is not the current state", func(t *testing.T) {
		t.Parallel()
		w := setup(t, wire.StateManaged)
		w.mustPut("a", 0, "one")
		answer := w.mustPut("b", 0, "from before")
		if !answer.Recovery || !strings.Contains(answer.Reason, "current one is 1") {
			t.Errorf("a stale base is answered %+v", answer)
		}
		w.wantState(1, "one")
		kept, err := w.State.RecoveriesOfRun(w.Ctx(), w.st.ID, w.ref.Run)
		if err != nil || len(kept) != 1 || kept[0].Reason != answer.Reason || kept[0].Base != 0 || kept[0].Sequence != 1 || kept[0].Size != 11 {
			t.Errorf("recovery versions are %+v, %v", kept, err)
		}
		if of, err := w.State.RecoveriesOfStack(w.Ctx(), w.st.ID); err != nil || !slices.Equal(of, kept) {
			t.Errorf("those of the stack are %+v, %v", of, err)
		}
		if none, err := w.State.RecoveriesOfRun(w.Ctx(), w.st.ID, "01OTHER"); err != nil || len(none) != 0 {
			t.Errorf("those of another run are %+v, %v", none, err)
		}
		if _, err := w.State.RecoveriesOfStack(ctx, w.st.ID); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("nobody is answered %v", err)
		}
	})
	t.Run("when its attempt is over and another one may write", func(t *testing.T) {
		t.Parallel()
		w := setup(t, wire.StateManaged)
		w.mustPut("a", 0, "one")
		late := w.caller()
		w.End(w.worker, w.ref, wire.Outcome{Container: "c", Class: run.Write})
		w.begin()
		answer, err := w.State.Put(ctx, late, statefile.Write{ID: "z", Base: 1, Digest: leasetest.Digest([]byte("late"))}, strings.NewReader("late"))
		if err != nil || !answer.Recovery {
			t.Errorf("a stale attempt's state is answered %+v, %v", answer, err)
		}
		w.wantState(1, "one")
	})
}

func TestInQuarantineTheLostAttemptsStateIsStillTaken(t *testing.T) {
	t.Parallel()
	w := setup(t, wire.StateManaged)
	if _, err := w.Lease.Gone(ctx, w.worker, w.ref, wire.GoneRequest{Session: 1}); err != nil {
		t.Fatal(err)
	}
	if answer := w.mustPut("a", 0, "journalled"); answer.Recovery {
		t.Errorf("the state of a lost writer is answered %+v, though nothing stands against it", answer)
	}
	if answer := w.mustPut("b", 0, "older"); !answer.Recovery {
		t.Error("an older one became current")
	}
	// A recovery version waits for a person: the quarantine does not end by itself.
	if _, err := w.Lease.Gone(ctx, w.worker, w.ref, wire.GoneRequest{Session: 1, Delivered: true}); err != nil {
		t.Fatal(err)
	}
	if next := w.Trigger(w.st, run.Tracked); next.State != run.Queued {
		t.Errorf("a new writer is %s", next.State)
	}
}

func TestWhoMayNotWrite(t *testing.T) {
	t.Parallel()
	w := setup(t, wire.StateManaged)
	other := w.caller()
	other.Worker = "01OTHER"
	body := func() io.Reader { return strings.NewReader("x") }
	write := statefile.Write{ID: "a", Digest: leasetest.Digest([]byte("x"))}
	if _, err := w.State.Put(ctx, other, write, body()); !fault.Is(err, fault.Forbidden) {
		t.Errorf("another worker's write is answered %v", err)
	}
	if _, _, err := w.State.Get(ctx, other); !fault.Is(err, fault.Forbidden) {
		t.Errorf("another worker's read is answered %v", err)
	}
	reader := w.Worker("01READER")
	r := w.Trigger(w.st, run.Proposed)
	ref := w.Ref(r)
	w.Start(reader, ref, run.Read, run.PhaseInit, "r")
	reading := statefile.Caller{Worker: reader.Worker, Run: ref.Run, Attempt: ref.Attempt}
	if _, err := w.State.Put(ctx, reading, write, body()); !fault.Is(err, fault.Forbidden) {
		t.Errorf("a reading container's write is answered %v", err)
	}
	if err := w.State.Lock(ctx, reading, wire.LockRequest{ID: "l"}); err != nil {
		t.Errorf("a reading container's lock is answered %v, though it excludes nobody", err)
	}
	write.Digest = leasetest.Digest([]byte("y"))
	if _, err := w.State.Put(ctx, w.caller(), write, body()); !fault.Is(err, fault.Invalid) {
		t.Errorf("bytes that are not those announced are answered %v", err)
	}
}

func TestTheToolsLockNestsInTheAttempts(t *testing.T) {
	t.Parallel()
	w := setup(t, wire.StateManaged)
	for _, step := range []struct {
		name string
		err  error
		kind fault.Code
	}{
		{"taking it", w.State.Lock(ctx, w.caller(), wire.LockRequest{ID: "one", Info: []byte(`{"who":"me"}`)}), ""},
		{"taking it again", w.State.Lock(ctx, w.caller(), wire.LockRequest{ID: "one"}), ""},
		{"taking another", w.State.Lock(ctx, w.caller(), wire.LockRequest{ID: "two"}), fault.Conflict},
		{"giving another back", w.State.Unlock(ctx, w.caller(), "two"), fault.Conflict},
		{"giving it back", w.State.Unlock(ctx, w.caller(), "one"), ""},
		{"giving it back again", w.State.Unlock(ctx, w.caller(), "one"), ""},
		{"taking another now", w.State.Lock(ctx, w.caller(), wire.LockRequest{ID: "two"}), ""},
	} {
		if (step.kind == "" && step.err != nil) || (step.kind != "" && !fault.Is(step.err, step.kind)) {
			t.Errorf("%s is answered %v, want %q", step.name, step.err, step.kind)
		}
	}
	w.End(w.worker, w.ref, wire.Outcome{Container: "c", Class: run.Write})
	if err := w.State.Lock(ctx, w.caller(), wire.LockRequest{ID: "one"}); !fault.Is(err, fault.Stale) {
		t.Errorf("a lock after the end is answered %v", err)
	}
}

// statement is a true one for the world's first sealed state.
func (w *world) statement(body []byte) seal.Statement {
	return seal.Statement{
		Kind: seal.KindState, Origin: leasetest.Origin, Pool: leasetest.Pool, Signer: leasetest.Digest([]byte("signer")), Stack: w.st.ID,
		Run: w.ref.Run, Attempt: w.ref.Attempt, Sequence: 1, Ciphertext: leasetest.Digest(body), Size: int64(len(body)),
		Recipients: []string{"sha256:pool"},
	}
}

func TestASealedStateIsStoredAsItCame(t *testing.T) {
	t.Parallel()
	w := setup(t, wire.StateSealed)
	body := []byte("ciphertext")
	statement, signature := w.Sign(w.statement(body))
	write := statefile.Write{ID: "a", Digest: leasetest.Digest(body), Statement: statement, Signature: signature}
	if answer, err := w.State.Put(ctx, w.caller(), write, bytes.NewReader(body)); err != nil || answer.Recovery {
		t.Fatalf("it is answered %+v, %v", answer, err)
	}
	st, data, err := w.State.Get(ctx, w.caller())
	if err != nil || !bytes.Equal(data, body) || !bytes.Equal(st.Statement, statement) || !bytes.Equal(st.Signature, signature) ||
		st.StatementDigest != seal.StatementDigest(statement) {
		t.Errorf("read back: %+v %q, %v", st, data, err)
	}
	next := w.statement(body)
	next.Sequence, next.Previous = 2, leasetest.Digest([]byte("another"))
	statement, signature = w.Sign(next)
	write = statefile.Write{ID: "b", Base: 1, Digest: leasetest.Digest(body), Statement: statement, Signature: signature}
	if answer, err := w.State.Put(ctx, w.caller(), write, bytes.NewReader(body)); err != nil || !answer.Recovery {
		t.Errorf("a statement that follows another state is answered %+v, %v", answer, err)
	}
}

func TestASealedStateWithAFalseStatementIsRefused(t *testing.T) {
	t.Parallel()
	w := setup(t, wire.StateSealed)
	body := []byte("ciphertext")
	for name, change := range map[string]func(*seal.Statement){
		"of another kind":         func(s *seal.Statement) { s.Kind = seal.KindOutput },
		"of another installation": func(s *seal.Statement) { s.Origin = "elsewhere" },
		"of another stack":        func(s *seal.Statement) { s.Stack = "01OTHER" },
		"of another run":          func(s *seal.Statement) { s.Run = "01OTHER" },
		"of another attempt":      func(s *seal.Statement) { s.Attempt = 9 },
		"of another sequence":     func(s *seal.Statement) { s.Sequence = 7; s.Previous = leasetest.Digest(nil) },
		"of other bytes":          func(s *seal.Statement) { s.Ciphertext = leasetest.Digest(nil) },
		"of another size":         func(s *seal.Statement) { s.Size = 1 },
	} {
		st := w.statement(body)
		change(&st)
		statement, signature := w.Sign(st)
		write := statefile.Write{ID: name, Digest: leasetest.Digest(body), Statement: statement, Signature: signature}
		if _, err := w.State.Put(ctx, w.caller(), write, bytes.NewReader(body)); !fault.Is(err, fault.Invalid) {
			t.Errorf("a statement %s is answered %v", name, err)
		}
	}
	statement, signature := w.Sign(w.statement(body))
	signature[0] ^= 1
	write := statefile.Write{ID: "a", Digest: leasetest.Digest(body), Statement: statement, Signature: signature}
	if _, err := w.State.Put(ctx, w.caller(), write, bytes.NewReader(body)); !fault.Is(err, fault.Invalid) {
		t.Errorf("a forged signature is answered %v", err)
	}
	if _, err := w.put("b", 0, "no statement at all"); !fault.Is(err, fault.Invalid) {
		t.Errorf("no statement is answered %v", err)
	}
}
