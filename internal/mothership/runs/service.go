package runs

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/runlog"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// MaxCommand is the longest command of a task, in bytes.
const MaxCommand = 32 << 10

// maxMetadata is the longest text that people may add to a run at once, in bytes.
const maxMetadata = 64 << 10

// commitID is a whole SHA-1 or SHA-256 commit id.
var commitID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// auditor is what the service needs of the audit log.
type auditor interface {
	Record(ctx context.Context, tx *db.Tx, action access.Action, subject, space string, data map[string]string) error
}

// authorizer is what the service asks whether a caller may do something.
type authorizer interface {
	Require(ctx context.Context, action access.Action, space string) error
	RequireAnywhere(ctx context.Context, action access.Action) error
}

// scheduler is what the service needs of the queue.
type scheduler interface {
	// Stack looks at a stack's runs in tx: what can go on does, at once.
	Stack(ctx context.Context, tx *db.Tx, stack string) error
	// Reasons says why a run waits.
	Reasons(ctx context.Context, q db.Queryer, r *Run) ([]Reason, error)
	// Rank computes a waiting run's place in the queue again.
	Rank(ctx context.Context, tx *db.Tx, r *Run) error
}

// stopper is what the service needs of the lease: stop is desired state.
type stopper interface {
	// Stop asks that the run's live attempt ends. It reports false if there was
	// none, or if the attempt was taken back before a worker accepted it.
	Stop(ctx context.Context, tx *db.Tx, r *Run, who, reason string) (asked bool, err error)
}

// Options are what a Service works with. All are needed.
type Options struct {
	DB     *db.DB
	Access authorizer
	Audit  auditor
	Stacks Stacks
	Mover  *Mover
	Queue  scheduler
	Lease  stopper
	Now    func() time.Time
	NewID  func() string // a new ULID, ascending
}

// Service is what people do with runs.
type Service struct{ o Options }

// New returns the service, or an error if an option is missing.
func New(o Options) (*Service, error) {
	if o.DB == nil || o.Access == nil || o.Audit == nil || o.Stacks == nil || o.Mover == nil ||
		o.Queue == nil || o.Lease == nil || o.Now == nil || o.NewID == nil {
		return nil, errors.New("runs: an option of the service is missing")
	}
	return &Service{o: o}, nil
}

// Trigger makes a tracked or proposed run. It is on its way to a worker when the
// call returns, if nothing blocks it and a worker is free.
func (s *Service) Trigger(ctx context.Context, in TriggerInput) (*Run, error) {
	if in.Type != run.Tracked && in.Type != run.Proposed {
		return nil, fault.New(fault.Invalid, "a run of type %q cannot be triggered", in.Type).WithHint("use TRACKED or PROPOSED")
	}
	// A launcher gives it to git: nothing but a whole commit id may be in it.
	if in.CommitSHA != "" && !commitID.MatchString(in.CommitSHA) {
		return nil, fault.New(fault.Invalid, "%q is not the id of a commit", in.CommitSHA).
			WithHint("give all 40 or 64 hexadecimal digits, or nothing for the head of the branch")
	}
	if err := metadataFits(in.Metadata); err != nil {
		return nil, err
	}
	return s.create(ctx, access.RunTrigger, in.Stack, func(st stack.Stack, r *Run) {
		r.Type, r.Branch, r.Title, r.Prioritized = in.Type, st.Settings.Branch, "Manual run", in.Prioritized
		r.Commit = wire.Commit{SHA: in.CommitSHA}
		if in.Metadata != "" {
			r.Metadata = []string{in.Metadata}
		}
	})
}

// CreateTask makes a run that performs a command in the stack's workspace.
func (s *Service) CreateTask(ctx context.Context, in TaskInput) (*Run, error) {
	if strings.TrimSpace(in.Command) == "" {
		return nil, fault.New(fault.Invalid, "a task needs a command")
	}
	if strings.ContainsRune(in.Command, 0) {
		return nil, fault.New(fault.Invalid, "the command holds a null byte, which a shell would drop")
	}
	if len(in.Command) > MaxCommand {
		return nil, fault.New(fault.Invalid, "the command is %d bytes long, more than %d", len(in.Command), MaxCommand)
	}
	if err := metadataFits(in.Metadata); err != nil {
		return nil, err
	}
	return s.create(ctx, access.TaskCreate, in.Stack, func(st stack.Stack, r *Run) {
		r.Type, r.Branch, r.Command, r.SkipInit, r.Title = run.Task, st.Settings.Branch, in.Command, in.SkipInit, "Task"
		// A task works on what the stack tracks, not on what was pushed since.
		r.Commit = st.TrackedCommit
		if in.Metadata != "" {
			r.Metadata = []string{in.Metadata}
		}
	})
}

// create makes a run on a stack, as fill completes it, and lets the queue look.
func (s *Service) create(ctx context.Context, action access.Action, ref string, fill func(stack.Stack, *Run)) (*Run, error) {
	if err := s.o.Access.RequireAnywhere(ctx, action); err != nil {
		return nil, err
	}
	st, err := s.o.Stacks.Find(ctx, s.o.DB.Read(), ref)
	if err != nil {
		return nil, err
	}
	if err := s.o.Access.Require(ctx, action, st.Space); err != nil {
		return nil, err
	}
	var made *Run
	err = s.o.DB.Write(ctx, func(tx *db.Tx) error {
		st, err := s.o.Stacks.Find(ctx, tx, st.ID)
		if err != nil {
			return err
		}
		who := actor(ctx)
		if st.Disabled {
			return fault.New(fault.Conflict, "stack %q is disabled", st.Slug).WithHint("enable it first")
		}
		if st.Locked(who) {
			return fault.New(fault.Conflict, "stack %q is locked by %s", st.Slug, st.LockedBy).
				WithHint("only the owner of the lock can start runs until it is unlocked")
		}
		now := s.o.Now()
		r := &Run{
			ID: s.o.NewID(), Stack: st.ID, State: run.Queued, StateVersion: 1,
			StateAt: now, CreatedAt: now, UpdatedAt: now, TriggeredBy: who,
		}
		fill(st, r)
		if err := insert(ctx, tx, r); err != nil {
			return err
		}
		if err := s.o.Mover.record(ctx, tx, r, who, ""); err != nil {
			return err
		}
		if err := s.o.Audit.Record(ctx, tx, action, r.ID, st.Space, map[string]string{"stack": st.ID, "type": string(r.Type)}); err != nil {
			return err
		}
		if err := s.o.Queue.Stack(ctx, tx, st.ID); err != nil {
			return err
		}
		made, err = Load(ctx, tx, r.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// Get returns a run.
func (s *Service) Get(ctx context.Context, id string) (*Run, error) {
	r, _, err := s.read(ctx, access.RunRead, id)
	return r, err
}

// List returns a stack's runs, newest first.
func (s *Service) List(ctx context.Context, in ListInput) ([]*Run, error) {
	st, err := s.stack(ctx, access.RunRead, in.Stack)
	if err != nil {
		return nil, err
	}
	switch {
	case in.Limit <= 0:
		in.Limit = 50
	case in.Limit > 200:
		in.Limit = 200
	}
	return list(ctx, s.o.DB.Read(), st.ID, in)
}

// History returns a run's states, newest first.
func (s *Service) History(ctx context.Context, id string) ([]Transition, error) {
	if _, _, err := s.read(ctx, access.RunRead, id); err != nil {
		return nil, err
	}
	return history(ctx, s.o.DB.Read(), id, s.o.Now().Add(-runlog.LateFor))
}

// Changes returns what the run's plan would change; nil before there is a plan.
func (s *Service) Changes(ctx context.Context, id string) ([]wire.Change, error) {
	if _, _, err := s.read(ctx, access.RunRead, id); err != nil {
		return nil, err
	}
	return changes(ctx, s.o.DB.Read(), id)
}

// Outputs returns the outputs of a stack (slug or ULID), sorted by name.
func (s *Service) Outputs(ctx context.Context, ref string) ([]Output, error) {
	st, err := s.stack(ctx, access.RunRead, ref)
	if err != nil {
		return nil, err
	}
	return outputs(ctx, s.o.DB.Read(), st.ID)
}

// WhyWaiting says why a run has not gone on: its blockers while it is QUEUED, the
// lack of a worker while it waits for one. It is empty for any other run.
func (s *Service) WhyWaiting(ctx context.Context, id string) ([]Reason, error) {
	r, _, err := s.read(ctx, access.RunRead, id)
	if err != nil {
		return nil, err
	}
	return s.o.Queue.Reasons(ctx, s.o.DB.Read(), r)
}

// Blocker returns the run that holds a stack (slug or ULID), or nil.
func (s *Service) Blocker(ctx context.Context, ref string) (*Run, error) {
	st, err := s.stack(ctx, access.RunRead, ref)
	if err != nil {
		return nil, err
	}
	id, err := BlockerOf(ctx, s.o.DB.Read(), st.ID)
	if err != nil || id == "" {
		return nil, err
	}
	return Load(ctx, s.o.DB.Read(), id)
}

// read returns a run and its stack if the caller may do action in its space.
func (s *Service) read(ctx context.Context, action access.Action, id string) (*Run, stack.Stack, error) {
	// Asked first, so that a caller without any right learns nothing of what exists.
	if err := s.o.Access.RequireAnywhere(ctx, action); err != nil {
		return nil, stack.Stack{}, err
	}
	r, err := Load(ctx, s.o.DB.Read(), id)
	if err != nil {
		return nil, stack.Stack{}, err
	}
	st, err := s.o.Stacks.ForRun(ctx, s.o.DB.Read(), r.Stack)
	if err != nil {
		return nil, stack.Stack{}, err
	}
	if err := s.o.Access.Require(ctx, action, st.Space); err != nil {
		return nil, stack.Stack{}, err
	}
	return r, st, nil
}

func (s *Service) stack(ctx context.Context, action access.Action, ref string) (stack.Stack, error) {
	if err := s.o.Access.RequireAnywhere(ctx, action); err != nil {
		return stack.Stack{}, err
	}
	st, err := s.o.Stacks.Find(ctx, s.o.DB.Read(), ref)
	if err != nil {
		return stack.Stack{}, err
	}
	return st, s.o.Access.Require(ctx, action, st.Space)
}

func actor(ctx context.Context) string {
	p, _ := access.From(ctx)
	return p.Actor()
}

// named is who asks, as people call them.
func named(ctx context.Context) string {
	p, _ := access.From(ctx)
	if p.Name == "" {
		return p.Actor()
	}
	return p.Name
}

// refuse is the conflict for an action that does not fit the run's state.
func refuse(r *Run, what string) *fault.Error {
	return fault.New(fault.Conflict, "run %s is %s and cannot be %s", r.ID, r.State, what)
}
