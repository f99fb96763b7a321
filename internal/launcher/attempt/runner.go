package attempt

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/spaceport-iac/spaceport/internal/launcher/client"
	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/journal"
	"github.com/spaceport-iac/spaceport/internal/launcher/lease"
	"github.com/spaceport-iac/spaceport/internal/launcher/policy"
	"github.com/spaceport-iac/spaceport/internal/launcher/setting"
	"github.com/spaceport-iac/spaceport/internal/launcher/source"
	"github.com/spaceport-iac/spaceport/internal/launcher/tool"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Session is the launcher's present registration.
type Session struct {
	Worker   string
	Number   int64
	Identity age.Identity // that jobs are sealed to
	JobKeys  []ed25519.PublicKey
	Bearer   *client.Bearer
}

// Options are all that attempts need.
type Options struct {
	Client   *client.Client
	Backend  container.Backend
	Settings *setting.Settings
	Source   *source.Fetcher
	Tools    *tool.Finder
	Journal  *journal.Journal
	Marks    *seal.Marks
	Key      *seal.PoolKey
	Earlier  []*seal.PoolKey // from before a rotation; they only open
	Origin   string
	Pool     string
	RunsDir  string // of run directories, below the data directory
	Binary   string // the worker's, below the data directory
	Log      *slog.Logger
	// Policy is asked about every job; none is if nil.
	Policy  *policy.Policy
	Version string // of this launcher

	Now    func() time.Time
	Clock  lease.Clock
	Boot   string        // this boot of the machine
	NewID  func() string // ULIDs
	Random func() string // nonces

	// Session returns the present session; Renew makes a new one if the one
	// with that number is refused.
	Session func() Session
	Renew   func(ctx context.Context, refused int64) error

	// LogWait is how long an outcome waits for the log to be stored, and LogLimit
	// how long in all before the rest is declared lost. Ten seconds and two
	// minutes if zero.
	LogWait, LogLimit time.Duration
}

// Runner runs attempts, one at a time, and ends what is left of others.
type Runner struct {
	o Options

	mu      sync.Mutex
	task    *task
	over    map[string]bool // containers that Discard is busy with
	last    *kind           // of the last container that was made for a job
	standby *standby        // waits for a job, or is being made
	closed  bool

	owned sync.WaitGroup // goroutines

	trying     context.Context // of what is tried again in the background
	stopTrying context.CancelFunc
}

// New makes a Runner.
func New(o Options) (*Runner, error) {
	if o.Client == nil || o.Backend == nil || o.Settings == nil || o.Source == nil || o.Tools == nil || o.Journal == nil ||
		o.Marks == nil || o.Key == nil || o.Log == nil || o.Now == nil || o.Clock == nil || o.NewID == nil || o.Random == nil ||
		o.Session == nil || o.Renew == nil || o.RunsDir == "" || o.Binary == "" || o.Origin == "" || o.Pool == "" {
		return nil, errors.New("attempt: an option is missing")
	}
	if o.LogWait == 0 {
		o.LogWait = 10 * time.Second
	}
	if o.LogLimit == 0 {
		o.LogLimit = 2 * time.Minute
	}
	r := &Runner{o: o, over: map[string]bool{}}
	r.trying, r.stopTrying = context.WithCancel(context.Background())
	return r, nil
}

// Busy returns the attempt that is held, or nil.
func (r *Runner) Busy() *wire.AttemptRef {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.task == nil {
		return nil
	}
	ref := r.task.ref
	return &ref
}

// Stop carries out an order about the attempt that is held; one about another
// attempt means nothing. Repeating it changes nothing.
func (r *Runner) Stop(s wire.Stop) {
	r.mu.Lock()
	t := r.task
	r.mu.Unlock()
	if t != nil && t.ref == s.AttemptRef {
		t.stop(s.Kill, s.Reason)
	}
}

// StopAll stops whatever is held: by an interrupt, or at once.
func (r *Runner) StopAll(kill bool, reason string) {
	if ref := r.Busy(); ref != nil {
		r.Stop(wire.Stop{AttemptRef: *ref, Kill: kill, Reason: reason})
	}
}

// Given is the job that came with an assignment, which is accepted by that.
type Given struct {
	Session Session // that it was asked for by
	Nonce   string
	Job     wire.JobAnswer
}

// Run takes an assignment and returns once nothing of it is left here, or ctx
// has ended: then its container lives on, for a launcher that comes after. found
// are the records of run directories that belong to the attempt; given is its job,
// or nil.
func (r *Runner) Run(ctx context.Context, a wire.Assignment, found []*Record, given *Given) error {
	if err := checkAssignment(a); err != nil {
		return err
	}
	leaving := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := newTask(r, a, cancel)
	r.mu.Lock()
	if r.task != nil {
		r.mu.Unlock()
		return errors.New("attempt: another one is held")
	}
	r.task = t
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.task = nil
		r.mu.Unlock()
	}()
	err := t.run(ctx, a, found, given)
	if err == nil { // else it is taken up again, from what is on the disk
		for _, d := range t.undiscarded {
			r.discardLater(d)
		}
	}
	if leaving.Err() == nil {
		r.foresee() // if that has not been done yet
	}
	return err
}
