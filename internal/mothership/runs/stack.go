package runs

import (
	"context"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Stacks is what runs need of the stack service. None of these asks for
// permission: whoever calls them has.
type Stacks interface {
	// Find returns the stack with this slug or ULID, or a not-found fault.
	Find(ctx context.Context, q db.Queryer, ref string) (stack.Stack, error)
	// ForRun returns the stack with this ULID, deleted or not.
	ForRun(ctx context.Context, q db.Queryer, id string) (stack.Stack, error)
	// Resolve opens the stack's variables and files.
	Resolve(ctx context.Context, q db.Queryer, id string) ([]wire.Variable, []wire.File, error)
	// SetState records the state of the stack's newest tracked run.
	SetState(ctx context.Context, tx *db.Tx, id string, s run.State, at time.Time) error
	// SetTrackedCommit records the commit that the stack's newest tracked run is at.
	SetTrackedCommit(ctx context.Context, tx *db.Tx, id string, c wire.Commit) error
}

var _ Stacks = (*stack.Service)(nil)
