package runs

import (
	"encoding/json"
	"time"

	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Run is one job of a stack.
type Run struct {
	ID           string
	Stack        string // ULID of the stack
	Type         run.Type
	State        run.State
	StateVersion int
	StateAt      time.Time
	Branch       string
	Commit       wire.Commit
	Command      string // of a task
	SkipInit     bool
	Targets      []string
	Title        string
	TriggeredBy  string
	Metadata     []string // given by people, append-only
	Prioritized  bool
	Pool         string // set once it is schedulable
	SortKey      int64
	Attempt      int64 // newest; 0: never given to a worker
	Lost         int64 // how often it was lost while reading
	Phase        run.Phase
	Delta        *wire.Delta // after a plan
	Reason       string      // why it ended as it did
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Transition is an entry of a run's history.
type Transition struct {
	State        run.State
	StateVersion int
	At           time.Time
	Who          string // an API key's name; a person, as Actor has it; a worker id; "spaceport"
	Note         string
	HasLogs      bool // there are lines, or they may still come
}

// Reason says why a run waits.
type Reason struct {
	Code    string // stable: stack_busy, quarantine, locked, no_pool, no_workers, …
	Message string // one sentence for people
	Run     string // the run in the way, if it is one
}

// TriggerInput is what a person may choose about a new run.
type TriggerInput struct {
	Stack       string // slug or ULID
	Type        run.Type
	CommitSHA   string // empty: head of the branch, pinned at the first fetch
	Metadata    string
	Prioritized bool
}

// TaskInput is a command to be run in a stack's workspace.
type TaskInput struct {
	Stack    string // slug or ULID
	Command  string
	SkipInit bool
	Metadata string
}

// ListInput pages through a stack's runs, newest first.
type ListInput struct {
	Stack  string     // slug or ULID
	Before string     // run id; empty: from the newest
	Limit  int        // 0: 50; at most 200
	Types  []run.Type // empty: all
}

// Output is an output of a stack.
type Output struct {
	Name      string
	Value     json.RawMessage // nil if sensitive
	Sensitive bool
	Run       string // the run that set it
}

// CanRetry reports whether a new run like this one may be asked for.
func (r *Run) CanRetry() bool { return r.State.Terminal() }
