package quickstart

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/spaceport-iac/spaceport/internal/run"
)

// mothership is the public API as far as the quickstart needs it.
type mothership interface {
	// PoolByName returns nil if there is no such pool.
	PoolByName(ctx context.Context, name string) (*Pool, error)
	CreatePool(ctx context.Context, name, csr, description string) (*Pool, error)
	ResetPool(ctx context.Context, id, csr string) (*Pool, error)
	Workers(ctx context.Context, pool string) ([]Worker, error)
	Drain(ctx context.Context, pool, worker string, drain bool) error

	// StackByID returns nil if there is no such stack.
	StackByID(ctx context.Context, id string) (*Stack, error)
	CreateStack(ctx context.Context, s StackSpec) (*Stack, error)
	UpdateStack(ctx context.Context, id string, s StackSpec) (*Stack, error)
	Outputs(ctx context.Context, stack string) ([]Output, error)

	// LiveRun returns the oldest tracked run of the stack that has not ended,
	// or nil.
	LiveRun(ctx context.Context, stack string) (*liveRun, error)
	Trigger(ctx context.Context, stack string) (*liveRun, error)
	Run(ctx context.Context, stack, id string) (*liveRun, error)
	Logs(ctx context.Context, stack, id string, state run.State, version int, token string) (*LogPage, error)
	Confirm(ctx context.Context, stack, id string) error
	Discard(ctx context.Context, stack, id string) error
}

// Pool is a worker pool. Token is what its launchers are given.
type Pool struct{ ID, Name, Token string }

// Worker is a worker that is connected now.
type Worker struct {
	ID      string
	Drained bool
	// Launcher is our own tag of it, see launcherTag; empty if it is not ours.
	Launcher string
}

// Stack is a stack as the quickstart needs it.
type Stack struct{ ID string }

// StackSpec is what the quickstart says about its stack.
type StackSpec struct {
	Name, Description, Pool string
	RepositoryURL, Branch   string
	RunnerImage             string // empty with the process backend
	Tool                    tool
}

// Output is an output of the stack; Value is its JSON and empty if Sensitive.
type Output struct {
	Name      string
	Value     json.RawMessage
	Sensitive bool
}

// liveRun is a run with its history, as last seen.
type liveRun struct {
	ID      string
	State   run.State
	Changes *Changes // nil before the plan
	History []Transition
}

// was reports whether the run has been in a state.
func (r *liveRun) was(state run.State) bool {
	return slices.ContainsFunc(r.History, func(t Transition) bool { return t.State == state })
}

// Changes is what the plan found.
type Changes struct{ Added, Changed, Deleted int }

// Transition is one entry of a run's history.
type Transition struct {
	State   run.State
	Version int
	Who     string // a worker's id where a worker caused it
	Note    string
	HasLogs bool
}

// LogPage is a piece of the log of one state.
type LogPage struct {
	Text  string
	Token string // to go on from
	// Finished: all there will ever be is read. More: there is more right now.
	Finished, More bool
}
