package statefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/blob"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// MaxSize is the largest state that is taken, in bytes.
const MaxSize = 256 << 20

// None is the digest where there is nothing.
const None = "none"

type keeper interface {
	opener
	Wrap(ctx context.Context, purpose string, plaintext []byte) ([]byte, error)
}

type authorizer interface {
	Require(ctx context.Context, action access.Action, space string) error
	RequireAnywhere(ctx context.Context, action access.Action) error
}

type auditor interface {
	Record(ctx context.Context, tx *db.Tx, action access.Action, subject, space string, data map[string]string) error
}

// Options are what a Service works with. All are needed.
type Options struct {
	DB     *db.DB
	Blob   blob.Store
	Vault  keeper
	Access authorizer
	Audit  auditor
	Origin string // the installation's id, which statements name
	Now    func() time.Time
	NewID  func() string
}

// Service keeps states and their locks.
type Service struct{ o Options }

// New returns the service, or an error if an option is missing.
func New(o Options) (*Service, error) {
	if o.DB == nil || o.Blob == nil || o.Vault == nil || o.Access == nil || o.Audit == nil || o.Origin == "" || o.Now == nil || o.NewID == nil {
		return nil, errors.New("statefile: an option is missing")
	}
	return &Service{o: o}, nil
}

// Caller is the attempt in whose name a worker asks.
type Caller struct {
	Worker  string
	Run     string
	Attempt int64
}

// State is a stored state.
type State struct {
	Mode            string
	Sequence        int64  // 0: there is none yet
	Digest          string // sha256:<hex> of the bytes as written, or "none"
	Statement       []byte // where there is one
	Signature       []byte
	StatementDigest string // or "none"
	id, object      string
}

// attempt is what the database says about a caller.
type attempt struct {
	stack, pool, mode string
	class             run.Class
	live, wrote       bool
}

// attempt returns the caller's attempt. Another worker's is refused: a bearer says
// who a worker is, and only the database says whose an attempt is.
func (s *Service) attempt(ctx context.Context, q db.Queryer, c Caller) (attempt, error) {
	var (
		a      attempt
		worker string
	)
	err := q.QueryRowContext(ctx, `SELECT a.worker, a.stack, a.pool, a.class, a.live, a.wrote, s.state_mode
		FROM attempt a JOIN stack s ON s.id = a.stack WHERE a.run = $1 AND a.attempt = $2`, c.Run, c.Attempt).
		Scan(&worker, &a.stack, &a.pool, &a.class, &a.live, &a.wrote, &a.mode)
	if errors.Is(err, sql.ErrNoRows) {
		return a, fault.New(fault.NotFound, "there is no attempt %d of run %q", c.Attempt, c.Run)
	}
	if err != nil {
		return a, fmt.Errorf("look up attempt %d of run %s: %w", c.Attempt, c.Run, err)
	}
	if worker != c.Worker {
		return a, fault.New(fault.Forbidden, "attempt %d of run %s is another worker's", c.Attempt, c.Run)
	}
	if a.mode == wire.StateExternal {
		return a, fault.New(fault.Conflict, "run %s is of a stack that keeps its state elsewhere", c.Run)
	}
	return a, nil
}

func stale(c Caller) error {
	return fault.New(fault.Stale, "attempt %d of run %s is over", c.Attempt, c.Run)
}

// Current returns what is stored about a stack's current state, without its bytes.
func (s *Service) Current(ctx context.Context, q db.Queryer, stack string) (State, error) {
	st := State{Digest: None, StatementDigest: None}
	err := q.QueryRowContext(ctx, `SELECT id, mode, sequence, digest, object, statement, signature, statement_digest FROM state
		WHERE stack = $1 AND NOT recovery ORDER BY sequence DESC LIMIT 1`, stack).
		Scan(&st.id, &st.Mode, &st.Sequence, &st.Digest, &st.object, &st.Statement, &st.Signature, &st.StatementDigest)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return st, fmt.Errorf("look up state of stack %s: %w", stack, err)
	}
	return st, nil
}

// Get returns the current state and its bytes for a live attempt: opened if it is
// managed, as it came if it is sealed. Without a state the bytes are nil.
func (s *Service) Get(ctx context.Context, c Caller) (State, []byte, error) {
	a, err := s.attempt(ctx, s.o.DB.Read(), c)
	if err != nil {
		return State{}, nil, err
	}
	if !a.live {
		return State{}, nil, stale(c)
	}
	st, err := s.Current(ctx, s.o.DB.Read(), a.stack)
	if err != nil || st.Sequence == 0 {
		st.Mode = a.mode
		return st, nil, err
	}
	data, err := read(ctx, s.o.Blob, s.o.Vault, st)
	if err != nil {
		return State{}, nil, fmt.Errorf("state %d of stack %s: %w", st.Sequence, a.stack, err)
	}
	return st, data, nil
}

type getter interface {
	Get(ctx context.Context, key string) (io.ReadCloser, error)
}

type opener interface {
	Unwrap(ctx context.Context, purpose string, ciphertext []byte) ([]byte, error)
}

// read returns a state's bytes: opened if it is managed, as they came if it is sealed.
func read(ctx context.Context, objects getter, vault opener, st State) ([]byte, error) {
	r, err := objects.Get(ctx, st.object)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // only read from
	stored, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if st.Mode != wire.StateManaged {
		return stored, nil
	}
	data, err := vault.Unwrap(ctx, purpose(st.id), stored)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return data, nil
}

// purpose binds a wrapped state to its row.
func purpose(id string) string { return "state:" + id }

// ForJob answers what a job says about the stack's current state.
func (s *Service) ForJob(ctx context.Context, q db.Queryer, stack string) (sequence int64, digest, statement string, err error) {
	st, err := s.Current(ctx, q, stack)
	return st.Sequence, st.Digest, st.StatementDigest, err
}
