package pool

import (
	"time"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Pool is a pool of workers.
type Pool struct {
	ID          string
	Name        string
	Description string
	Space       string
	Labels      []string
	// DriftLimit is the most drift detection runs at a time; nil for no limit.
	DriftLimit *int64
	// Epoch is raised by each reset.
	Epoch     int64
	CreatedAt time.Time
	UpdatedAt time.Time

	// Token is set by Create and Reset alone; Service.Token reads it later.
	Token string

	// Counters, as of the answer.
	Workers     int // listed ones
	Busy        int // workers with a live attempt
	PendingRuns int // runs that wait for a worker: READY, CONFIRMED, REPLAN_REQUESTED
}

// Input is what a pool is made from or changed to.
type Input struct {
	Name string
	// CSR is the customer's signing request: PEM, or base64 of it. Create only.
	CSR         string
	Description string
	// Space is a space's id; empty is the root space, or no change in an update.
	Space  string
	Labels []string
	// DriftLimit is nil, or negative, for no limit.
	DriftLimit *int64
}

// Status is a worker's, as people see it.
type Status string

// The statuses.
const (
	Idle    Status = "IDLE"
	Busy    Status = "BUSY"
	Drained Status = "DRAINED"
)

// Worker is a launcher that registered.
type Worker struct {
	ID   string
	Pool string

	// Status is Busy for as long as a live attempt names the worker, else
	// Drained or Idle. Draining marks one that is Busy and takes nothing more.
	Status   Status
	Busy     bool
	Drained  bool
	Draining bool
	// Cycle says that it will leave once idle, Leaving that it is shutting down.
	Cycle   bool
	Leaving bool
	Unwell  string // why it can take no run, in its own words; empty if it can

	// Online is false after a term of silence. Such a worker is listed no more,
	// unless it holds a live write attempt.
	Online bool
	Listed bool
	Hints  bool // a live hint channel stands
	SeenAt time.Time

	// Run is its live attempt, or nil.
	Run *wire.AttemptRef

	Session      int64
	Recipient    string   // age recipient of the session
	Keys         []string // fingerprints of all pool keys it holds
	Version      string
	Metadata     string // JSON object of strings as it came, never empty
	CreatedAt    time.Time
	RegisteredAt time.Time
	AvailableAt  *time.Time // since when it has been idle
}

// WorkerIdentity is who a bearer speaks for.
type WorkerIdentity struct {
	Pool   string
	Worker string
	// Session and Epoch are zero for the bearer of an attempt.
	Session int64
	Epoch   int64
	// Attempt is set for the bearer of an attempt, which is good for it alone.
	Attempt *wire.AttemptRef
}

// Bearer is a credential of a launcher, and how long it is good for.
type Bearer struct {
	Text string
	For  time.Duration
}

// Report is what a launcher says of itself when it asks for orders.
type Report struct {
	Hints   bool
	Leaving bool
	Unwell  string
}

// Desired is what the mothership wants of a launcher.
type Desired struct {
	Drain bool
	Cycle bool
}

// Event kinds of this package. The subject is the worker's or the pool's id;
// Data has "pool", and "worker" where there is one.
const (
	EventPoolChanged   = "pool.changed"
	EventPoolReset     = "pool.reset"     // cut the connections of its workers
	EventPoolDeleted   = "pool.deleted"   // likewise
	EventWorkerChanged = "worker.changed" // registered, drained, cycled, gone, well again: look at the queue, hint the worker
	EventWorkerGone    = "worker.gone"    // deregistered or superseded: cut its connection
)
