package stack

import (
	"context"
	"errors"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/audit"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/event"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// keeper keeps values at rest; *vault.Keeper is one.
type keeper interface {
	Wrap(ctx context.Context, purpose string, plaintext []byte) ([]byte, error)
	Unwrap(ctx context.Context, purpose string, ciphertext []byte) ([]byte, error)
}

// Options are what a Service works with.
type Options struct {
	DB     *db.DB
	Auth   access.Authorizer
	Audit  *audit.Writer
	Events *event.Log
	Vault  keeper
	Now    func() time.Time
	NewID  func() string // a new ULID
	// AllowFileSource lets repositories be file:// URLs.
	AllowFileSource bool
}

// Service answers and changes stacks. It is safe for concurrent use. Wherever a
// stack is named, its slug and its id both do.
type Service struct{ Options }

// New returns the service, or an error if an option is missing.
func New(o Options) (*Service, error) {
	if o.DB == nil || o.Audit == nil || o.Events == nil || o.Vault == nil || o.Now == nil || o.NewID == nil {
		return nil, errors.New("stack: DB, Audit, Events, Vault, Now and NewID are needed")
	}
	return &Service{o}, nil
}

var errNotYet = errors.New("not built yet")

// Create makes a stack.
func (s *Service) Create(ctx context.Context, in Input) (Stack, error) { return Stack{}, errNotYet }

// Update changes a stack.
func (s *Service) Update(ctx context.Context, stack string, in Input) (Stack, error) {
	return Stack{}, errNotYet
}

// Get returns a stack.
func (s *Service) Get(ctx context.Context, stack string) (Stack, error) { return Stack{}, errNotYet }

// List returns all stacks that the caller may read, by name.
func (s *Service) List(ctx context.Context) ([]Stack, error) { return nil, errNotYet }

// Delete removes a stack. It is refused while the stack is protected or has runs
// that have not ended.
func (s *Service) Delete(ctx context.Context, stack string) (Stack, error) {
	return Stack{}, errNotYet
}

// Lock takes the stack's lock for the caller.
func (s *Service) Lock(ctx context.Context, stack, note string) (Stack, error) {
	return Stack{}, errNotYet
}

// Unlock releases the stack's lock; somebody else's only as an administrator.
func (s *Service) Unlock(ctx context.Context, stack string) (Stack, error) {
	return Stack{}, errNotYet
}

// SetDisabled turns a stack off or on. A disabled stack's runs wait.
func (s *Service) SetDisabled(ctx context.Context, stack string, disabled bool) (Stack, error) {
	return Stack{}, errNotYet
}

// SetConfig sets a variable or a file.
func (s *Service) SetConfig(ctx context.Context, stack string, in ConfigInput) (ConfigElement, error) {
	return ConfigElement{}, errNotYet
}

// DeleteConfig removes a variable or a file and returns what it was.
func (s *Service) DeleteConfig(ctx context.Context, stack, id string) (ConfigElement, error) {
	return ConfigElement{}, errNotYet
}

// Config lists a stack's variables and files by id.
func (s *Service) Config(ctx context.Context, stack string) ([]ConfigElement, error) {
	return nil, errNotYet
}

// Resolve opens all of a stack's variables and files, for a run's job. It asks
// for no permission: a transport must never call it.
func (s *Service) Resolve(ctx context.Context, q db.Queryer, stackID string) ([]wire.Variable, []wire.File, error) {
	return nil, nil, errNotYet
}

// ForRun returns the stack with this id, for the runs service, which asks for
// its own permissions. A deleted stack is still found.
func (s *Service) ForRun(ctx context.Context, q db.Queryer, stackID string) (Stack, error) {
	return Stack{}, errNotYet
}

// Find returns the stack with this slug or id, for the runs service, which asks
// for its own permissions.
func (s *Service) Find(ctx context.Context, q db.Queryer, stack string) (Stack, error) {
	return Stack{}, errNotYet
}

// SetState records the state of the stack's newest tracked run, in the runs
// service's transaction.
func (s *Service) SetState(ctx context.Context, tx *db.Tx, stackID string, state run.State, at time.Time) error {
	return errNotYet
}

// SetTrackedCommit records the commit that the stack's newest tracked run is at.
func (s *Service) SetTrackedCommit(ctx context.Context, tx *db.Tx, stackID string, c wire.Commit) error {
	return errNotYet
}
