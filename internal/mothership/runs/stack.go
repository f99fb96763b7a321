package runs

import (
	"context"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Stack is what a run has to know about its stack.
type Stack struct {
	ID          string // ULID
	Slug        string
	Name        string
	Space       string
	Pool        string // empty: none attached
	LockedBy    string // access.Principal.Actor of the lock's owner; empty: not locked
	Disabled    bool
	Labels      []string
	Repository  string
	Branch      string
	ProjectRoot string
	Image       string
	Autodeploy  bool
	RetryLost   bool // queue a run again that was lost while reading
	StateMode   string
	Vendor      wire.Vendor
	Hooks       map[string][]string
}

// Config is a stack's resolved configuration, its values opened.
type Config struct {
	Environment []wire.Variable
	Files       []wire.File
}

// Stacks is what runs need of the stack service.
type Stacks interface {
	// Find returns the stack with this slug or ULID, or a not-found fault.
	Find(ctx context.Context, q db.Queryer, ref string) (Stack, error)
	// Resolve opens the stack's variables and files.
	Resolve(ctx context.Context, q db.Queryer, id string) (Config, error)
	// SetState records the state of the stack's newest tracked run.
	SetState(ctx context.Context, tx *db.Tx, id string, s run.State, at time.Time) error
}
