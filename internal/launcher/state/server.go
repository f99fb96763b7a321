package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/client"
	"github.com/spaceport-iac/spaceport/internal/launcher/journal"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// remote is the part of the mothership that is needed.
type remote interface {
	GetState(ctx context.Context) (client.State, error)
	PutState(ctx context.Context, writeID string, s client.State, body func() (io.ReadCloser, error), size int64) (wire.StateAnswer, error)
	Lock(ctx context.Context, in wire.LockRequest) error
	Unlock(ctx context.Context, in wire.LockRequest) error
}

var _ remote = (*client.Attempt)(nil)

// Options are what the launcher knows of the attempt and the stack.
type Options struct {
	Remote  remote
	Journal *journal.Journal
	Marks   *seal.Marks
	Log     *slog.Logger
	// Say writes a line to the run's log.
	Say func(line string)

	Key      *seal.PoolKey
	Earlier  []*seal.PoolKey  // from before a rotation; they only open
	Recovery []seal.Recipient // of the launcher's own settings
	Origin   string
	Pool     string
	Stack    string // ULID
	Ref      wire.AttemptRef
	Class    run.Class
	Core     string        // digest of the job core
	Store    wire.JobState // what is current: the signed job's word, or the last Moved
	// Moved, if set, is told what the next write builds on, each time that this
	// changes by a write and before the tool hears of it. A launcher that comes
	// after must build on the same: else what its tool writes is nobody's successor.
	Moved func(wire.JobState)
	// Fenced is closed when the run has been without contact for too long.
	Fenced <-chan struct{}
}

func (o Options) keys() seal.PoolKeys { return append(seal.PoolKeys{o.Key}, o.Earlier...) }

// Server serves the requests of one container, one write at a time.
type Server struct {
	o Options

	mu    sync.Mutex
	store wire.JobState // what is current, as far as this launcher knows
}

// Admit decides whether a job's state can be served at all; ask it before anything
// of the run is started. It refuses a sealed state where the launcher has no
// recovery recipient (invalid.recovery_missing), and a stack that is said to be
// managed though this launcher has seen it sealed (invalid.state_mode).
func Admit(stack string, store wire.JobState, recovery []seal.Recipient, marks *seal.Marks) error {
	switch store.Mode {
	case wire.StateSealed:
		if len(recovery) == 0 {
			return fault.New(fault.Invalid, "sealed state needs a recovery recipient in the launcher's settings, and there is none").
				Named("recovery_missing").WithHint("set SPACELIFT_RECOVERY_RECIPIENTS on every worker of the pool")
		}
	case wire.StateManaged, wire.StateExternal:
		// Else a mothership could have a sealed stack's next state handed over open.
		_, _, marked, err := marks.Get(stack)
		if err != nil {
			return err
		}
		if marked {
			return fault.New(fault.Invalid, "the stack's state is said to be %s, but this launcher has seen it sealed", store.Mode).Named("state_mode")
		}
	default:
		return fault.New(fault.Unsupported, "this launcher does not know the state mode %q", store.Mode).Named("state_mode")
	}
	return nil
}

// New makes a Server, for a job that Admit lets in.
func New(o Options) (*Server, error) {
	if o.Remote == nil || o.Journal == nil || o.Marks == nil || o.Key == nil || o.Say == nil || o.Log == nil || o.Stack == "" {
		return nil, errors.New("state: an option is missing")
	}
	if err := Admit(o.Stack, o.Store, o.Recovery, o.Marks); err != nil {
		return nil, err
	}
	return &Server{o: o, store: o.Store}, nil
}

// Serve does what a request asks. body gives the request's bytes. The same
// request may be served again after a restart.
func (s *Server) Serve(ctx context.Context, id string, req wire.Request, body func() (io.ReadCloser, error)) (wire.Answer, []byte) {
	var out []byte
	var err error
	status := http.StatusOK
	switch req.Op {
	case wire.OpStateGet:
		out, err = s.get(ctx)
		if err == nil && out == nil {
			status = http.StatusNoContent
		}
	case wire.OpStatePut:
		err = s.put(ctx, id, body)
	case wire.OpStateLock, wire.OpStateUnlock:
		err = s.lock(ctx, req, body)
	default:
		err = fault.New(fault.Invalid, "there is no operation %q", req.Op)
	}
	a := wire.Answer{ID: req.ID, Status: status, Body: out != nil}
	if err != nil {
		a.Status, a.Message = statusOf(err), fault.Public(err).Error()
		s.o.Log.Warn("a state request was refused", "run", s.o.Ref.Run, "op", req.Op, "err", err)
	}
	return a, out
}

func statusOf(err error) int {
	f := fault.As(err)
	switch {
	case f == nil:
		return http.StatusInternalServerError
	case f.Kind == fault.Forbidden, f.Kind == fault.Stale:
		return http.StatusForbidden
	case f.Code == "conflict.tool_locked", f.Code == "conflict.state_locked":
		return http.StatusLocked
	case f.Kind == fault.Conflict:
		return http.StatusConflict
	case f.Kind == fault.Invalid:
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// get returns the current state in the open, or nil if there is none.
func (s *Server) get(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.o.Remote.GetState(ctx)
	if err != nil {
		return nil, err
	}
	if st.Sequence == 0 {
		// A stack that has ever had a sealed state has one for good.
		if err := s.o.Marks.CheckAbsent(s.o.Stack); err != nil {
			return nil, err
		}
		if s.store.Sequence > 0 {
			return nil, fault.New(fault.Invalid, "the mothership has no state, but the signed job names number %d", s.store.Sequence).Named("seal_rollback")
		}
		return nil, nil
	}
	if s.store.Mode != wire.StateSealed {
		if seal.Digest(st.Body) != st.Digest {
			return nil, fault.New(fault.Invalid, "the state arrived damaged").Named("state_digest")
		}
		s.store.Sequence = st.Sequence
		return st.Body, nil
	}
	return s.open(st)
}

// open judges a sealed state and opens it.
func (s *Server) open(st client.State) ([]byte, error) {
	digest := seal.StatementDigest(st.Statement)
	// The signed job (or the own last write) says which state is current. A
	// reading container may find a newer one; nobody may find an older one.
	if st.Sequence < s.store.Sequence ||
		(st.Sequence == s.store.Sequence && digest != s.store.Statement) ||
		(s.o.Class == run.Write && st.Sequence != s.store.Sequence) {
		return nil, fault.New(fault.Invalid, "the mothership gave state number %d (%s), but number %d (%s) is current", st.Sequence, digest, s.store.Sequence, s.store.Statement).Named("seal_sequence")
	}
	_, err := seal.VerifySealed(st.Statement, st.Signature, s.o.keys().Signers(), seal.Expectation{
		Kind: seal.KindState, Origin: s.o.Origin, Pool: s.o.Pool, Stack: s.o.Stack,
		Sequence: &st.Sequence, Recipients: s.o.keys().Fingerprints(),
	}, bytes.NewReader(st.Body))
	if err != nil {
		return nil, err
	}
	if err := s.o.Marks.Check(s.o.Stack, st.Sequence, digest); err != nil {
		return nil, err
	}
	plain, err := seal.OpenBytes(st.Body, s.o.keys().Identities()...)
	if err != nil {
		return nil, err
	}
	if err := s.o.Marks.Advance(s.o.Stack, st.Sequence, digest); err != nil {
		return nil, err
	}
	s.store.Sequence, s.store.Statement = st.Sequence, digest
	return plain, nil
}

// lock nests the tool's own lock in the stack's, which a writing attempt holds
// from its start. A reading one excludes nobody.
func (s *Server) lock(ctx context.Context, req wire.Request, body func() (io.ReadCloser, error)) error {
	if s.o.Class == run.Read {
		return nil
	}
	if req.Op == wire.OpStateUnlock {
		return s.o.Remote.Unlock(ctx, wire.LockRequest{ID: req.Lock})
	}
	in := wire.LockRequest{ID: req.Lock}
	if req.Body {
		data, err := readAll(body, maxLockInfo)
		if err != nil {
			return err
		}
		if json.Valid(data) {
			in.Info = data
		}
	}
	return s.o.Remote.Lock(ctx, in)
}

// maxLockInfo is the longest description of a tool's lock, in bytes. Locks of one
// container are not served one by one, as states are, and are all in memory.
const maxLockInfo = 64 << 10

// readAll reads a request's body of at most limit bytes. Fault: invalid.request_size.
func readAll(body func() (io.ReadCloser, error), limit int64) ([]byte, error) {
	r, err := body()
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, fault.New(fault.Invalid, "the request is longer than %d bytes", limit).Named("request_size")
	}
	return data, nil
}
