package lease

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/blob"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/runlog"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/mothership/statefile"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// scheduler is what attempts need of the queue.
type scheduler interface {
	Stack(ctx context.Context, tx *db.Tx, stack string) error
	Left(ctx context.Context, tx *db.Tx, stack, pool string) error
	For(ctx context.Context, tx *db.Tx, pool, worker string) error
}

// workers is what attempts need of the pool service.
type workers interface {
	Spoke(ctx context.Context, id pool.WorkerIdentity, r pool.Report) (pool.Desired, error)
	Worker(ctx context.Context, q db.Queryer, id string) (pool.Worker, error)
	Bearer(id pool.WorkerIdentity) pool.Bearer
	AttemptBearer(id pool.WorkerIdentity, a wire.AttemptRef) pool.Bearer
	Seen(worker string)
}

// composer makes jobs.
type composer interface {
	Compose(ctx context.Context, q db.Queryer, r *runs.Run, t runs.Target) (*wire.JobAnswer, error)
}

// hints tells launchers to look again. Hint does not block.
type hints interface {
	Live(worker string) bool
	Hint(pool, worker string)
}

// Terms are the durations of leases. Each has the documented default; a zero
// value takes it. Tests scale them.
type Terms struct {
	Beat       time.Duration // between beats: 10 s
	AckWithin  time.Duration // an acknowledgement that comes later counts for nothing: 10 s
	Accept     time.Duration // from the hint to the acceptance: 3 s
	Lost       time.Duration // same beat while reading, then lost: 45 s
	ReadFence  time.Duration // a reading launcher's time without contact: 15 min
	WriteFence time.Duration // a writing launcher's: 5 min
	ReadGrace  time.Duration // between interrupt and kill while reading: 1 min
	WriteGrace time.Duration // while writing: 10 min
	Margin     time.Duration // added to both before a writer is lost: 2 min
	Slack      time.Duration // what PID 1 adds to the fence: 30 s
	RetryCap   time.Duration // longest pause between a launcher's tries: 10 s
	RunTimeout time.Duration // of a launcher that does not say its own: 70 min
	HardMargin time.Duration // added to timeout and grace for the hard limit: 5 min
	LogWait    time.Duration // how long an outcome waits for its log: 10 s
	ParkedFor  time.Duration // how long a plan may wait to be confirmed: 7 d
	AskHinted  time.Duration // between looks of a launcher that can be hinted: 10 min
	AskPolling time.Duration // of one that cannot: 5 s
	Tick       time.Duration // between looks of the watcher: 1 s
}

func (t *Terms) defaults() {
	for d, value := range map[*time.Duration]time.Duration{
		&t.Beat: 10 * time.Second, &t.AckWithin: 10 * time.Second, &t.Accept: 3 * time.Second, &t.Lost: 45 * time.Second,
		&t.ReadFence: 15 * time.Minute, &t.WriteFence: 5 * time.Minute, &t.ReadGrace: time.Minute, &t.WriteGrace: 10 * time.Minute,
		&t.Margin: 2 * time.Minute, &t.Slack: 30 * time.Second, &t.RetryCap: 10 * time.Second, &t.RunTimeout: 70 * time.Minute,
		&t.HardMargin: 5 * time.Minute, &t.LogWait: 10 * time.Second, &t.ParkedFor: 7 * 24 * time.Hour,
		&t.AskHinted: 10 * time.Minute, &t.AskPolling: 5 * time.Second, &t.Tick: time.Second,
	} {
		if *d <= 0 {
			*d = value
		}
	}
}

// of returns what a launcher is told about a class.
func (t Terms) of(c run.Class) wire.Terms {
	fence, grace := t.ReadFence, t.ReadGrace
	if c == run.Write {
		fence, grace = t.WriteFence, t.WriteGrace
	}
	return wire.Terms{
		BeatMs: t.Beat.Milliseconds(), AckWithinMs: t.AckWithin.Milliseconds(), FenceMs: fence.Milliseconds(),
		GraceMs: grace.Milliseconds(), SlackMs: t.Slack.Milliseconds(), RetryCapMs: t.RetryCap.Milliseconds(),
	}
}

// silence is how long the same beat is watched before an attempt is lost. A
// writer's launcher must certainly have stopped it before that.
func (t Terms) silence(c run.Class) time.Duration {
	if c == run.Write {
		return t.WriteFence + t.WriteGrace + t.Margin
	}
	return t.Lost
}

// hard is how long a container may live from its recorded start.
func (t Terms) hard(c run.Class, timeout time.Duration) time.Duration {
	if timeout <= 0 {
		timeout = t.RunTimeout
	}
	grace := t.ReadGrace
	if c == run.Write {
		grace = t.WriteGrace
	}
	return timeout + grace + t.HardMargin
}

// MaxLost is how often a run that is lost while reading is queued again.
const MaxLost = 2

// MaxWorkspace is the largest sealed workspace that may be parked, in bytes.
const MaxWorkspace = 16 << 30

// Options are what a Service works with. All but Terms are needed.
type Options struct {
	DB       *db.DB
	Mover    *runs.Mover
	Stacks   runs.Stacks
	Queue    scheduler
	Pool     workers
	Composer composer
	State    *statefile.Service
	Logs     *runlog.Service
	Blob     blob.Store
	Hints    hints
	Origin   string // the installation's id
	Now      func() time.Time
	Mono     func() time.Duration // the process's monotonic clock
	NewID    func() string
	Log      *slog.Logger
	Terms    Terms
}

// Service answers launchers about their attempts.
type Service struct {
	o Options

	mu sync.Mutex
	// waits holds since when an outcome waits for its log, on the monotonic clock.
	waits map[wire.AttemptRef]time.Duration
}

// New returns the service, or an error if an option is missing.
func New(o Options) (*Service, error) {
	if o.DB == nil || o.Mover == nil || o.Stacks == nil || o.Queue == nil || o.Pool == nil || o.Composer == nil ||
		o.State == nil || o.Logs == nil || o.Blob == nil || o.Hints == nil || o.Origin == "" || o.Now == nil ||
		o.Mono == nil || o.NewID == nil || o.Log == nil {
		return nil, errors.New("lease: an option is missing")
	}
	o.Terms.defaults()
	return &Service{o: o, waits: map[wire.AttemptRef]time.Duration{}}, nil
}
