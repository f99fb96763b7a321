package stack

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/audit"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/event"
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
type Service struct{ o Options }

// New returns the service, or an error if an option is missing.
func New(o Options) (*Service, error) {
	if o.DB == nil || o.Audit == nil || o.Events == nil || o.Vault == nil || o.Now == nil || o.NewID == nil {
		return nil, errors.New("stack: DB, Audit, Events, Vault, Now and NewID are needed")
	}
	return &Service{o: o}, nil
}

// stamp is the time as the database keeps it, so that what a change answers and
// what is read later are equal.
func (s *Service) stamp() time.Time { return s.o.Now().Truncate(time.Microsecond) }

// locate returns the stack if the caller may do action to it.
func (s *Service) locate(ctx context.Context, q db.Queryer, action access.Action, ref string) (Stack, error) {
	if err := s.o.Auth.RequireAnywhere(ctx, action); err != nil {
		return Stack{}, err
	}
	st, err := s.Find(ctx, q, ref)
	if err != nil {
		return Stack{}, err
	}
	return st, s.o.Auth.Require(ctx, action, st.Space)
}

// change locates a stack, lets f change it in a transaction, and records that.
func (s *Service) change(ctx context.Context, action access.Action, ref, kind string, f func(tx *db.Tx, st *Stack) (map[string]string, error)) (Stack, error) {
	var st Stack
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		var err error
		if st, err = s.locate(ctx, tx, action, ref); err != nil {
			return err
		}
		data, err := f(tx, &st)
		if err != nil {
			return err
		}
		return s.record(ctx, tx, action, st, kind, data)
	})
	if err != nil {
		return Stack{}, err
	}
	return st, nil
}

func (s *Service) record(ctx context.Context, tx *db.Tx, action access.Action, st Stack, kind string, data map[string]string) error {
	if data == nil {
		data = map[string]string{}
	}
	data["slug"] = st.Slug
	if err := s.o.Audit.Record(ctx, tx, action, st.ID, st.Space, data); err != nil {
		return err
	}
	return s.o.Events.Append(ctx, tx, event.Event{Kind: kind, Subject: st.ID, Data: map[string]string{"slug": st.Slug, "pool": st.Pool}})
}

// Create makes a stack.
func (s *Service) Create(ctx context.Context, in Input) (Stack, error) {
	if in.Space == "" {
		in.Space = access.RootSpace
	}
	if err := s.o.Auth.Require(ctx, access.StackCreate, in.Space); err != nil {
		return Stack{}, err
	}
	if in.StateMode == "" {
		in.StateMode = wire.StateManaged
	}
	if err := in.clean(s.o.AllowFileSource); err != nil {
		return Stack{}, err
	}
	now := s.stamp()
	st := Stack{
		ID: s.o.NewID(), Name: in.Name, Space: in.Space, Pool: in.Pool, Settings: in.Settings,
		StateMode: in.StateMode, State: StateNone, CreatedAt: now, UpdatedAt: now,
	}
	settings, err := json.Marshal(st.Settings)
	if err != nil {
		return Stack{}, fmt.Errorf("encode settings: %w", err)
	}
	err = s.o.DB.Write(ctx, func(tx *db.Tx) error {
		if err := in.checkPlace(ctx, tx); err != nil {
			return err
		}
		if st.Slug, err = freeSlug(ctx, tx, in.Slug, in.Name); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO stack (id, slug, name, space, pool, settings, state_mode, state, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)`,
			st.ID, st.Slug, st.Name, st.Space, optional(st.Pool), string(settings), st.StateMode, string(st.State), db.Micros(now))
		if err != nil {
			return fmt.Errorf("store stack: %w", err)
		}
		return s.record(ctx, tx, access.StackCreate, st, EventChanged, nil)
	})
	if err != nil {
		return Stack{}, err
	}
	return st, nil
}

// Update changes a stack. Its slug stays, whatever its name.
func (s *Service) Update(ctx context.Context, ref string, in Input) (Stack, error) {
	return s.change(ctx, access.StackUpdate, ref, EventChanged, func(tx *db.Tx, st *Stack) (map[string]string, error) {
		if in.Space == "" {
			in.Space = st.Space
		}
		if in.Space != st.Space {
			if err := s.o.Auth.Require(ctx, access.StackCreate, in.Space); err != nil {
				return nil, err
			}
		}
		if in.StateMode == "" {
			in.StateMode = st.StateMode
		}
		if in.StateMode != st.StateMode {
			return nil, fault.New(fault.Conflict, "the state of stack %q is %s, which cannot be changed to %s", st.Slug, st.StateMode, in.StateMode).Named("state_mode").
				WithHint("it is chosen when a stack is made")
		}
		if err := in.clean(s.o.AllowFileSource); err != nil {
			return nil, err
		}
		if err := in.checkPlace(ctx, tx); err != nil {
			return nil, err
		}
		data := map[string]string{}
		if in.Pool != st.Pool {
			data["pool"] = in.Pool
		}
		if in.Settings.VCSIntegration != st.Settings.VCSIntegration {
			data["vcs_integration"] = in.Settings.VCSIntegration
		}
		before := st.Settings
		st.Name, st.Space, st.Pool, st.Settings, st.UpdatedAt = in.Name, in.Space, in.Pool, in.Settings, s.stamp()
		settings, err := json.Marshal(st.Settings)
		if err != nil {
			return nil, fmt.Errorf("encode settings: %w", err)
		}
		_, err = tx.ExecContext(ctx, `UPDATE stack SET name = $1, space = $2, pool = $3, settings = $4, updated_at = $5 WHERE id = $6`,
			st.Name, st.Space, optional(st.Pool), string(settings), db.Micros(st.UpdatedAt), st.ID)
		if err != nil {
			return nil, fmt.Errorf("update stack: %w", err)
		}
		if before.CloneURL() != st.Settings.CloneURL() || before.Branch != st.Settings.Branch {
			// The tracked commit is of another source now.
			st.TrackedCommit = wire.Commit{}
			if err := s.SetTrackedCommit(ctx, tx, st.ID, st.TrackedCommit); err != nil {
				return nil, err
			}
		}
		return data, nil
	})
}

// Get returns a stack.
func (s *Service) Get(ctx context.Context, ref string) (Stack, error) {
	return s.locate(ctx, s.o.DB.Read(), access.StackRead, ref)
}

// List returns all stacks that the caller may read, by name.
func (s *Service) List(ctx context.Context) ([]Stack, error) {
	if err := s.o.Auth.RequireAnywhere(ctx, access.StackRead); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.Read().QueryContext(ctx, `SELECT `+columns+` FROM stack WHERE deleted_at IS NULL ORDER BY name, id`)
	all, err := db.Collect(rows, err, func(r *sql.Rows) (Stack, error) { return scan(r.Scan) })
	if err != nil {
		return nil, fmt.Errorf("list stacks: %w", err)
	}
	return slices.DeleteFunc(all, func(st Stack) bool { return !s.o.Auth.Allowed(ctx, access.StackRead, st.Space) }), nil
}

// Delete removes a stack. It is refused while the stack is protected or has runs
// that have not ended.
func (s *Service) Delete(ctx context.Context, ref string) (Stack, error) {
	return s.change(ctx, access.StackDelete, ref, EventDeleted, func(tx *db.Tx, st *Stack) (map[string]string, error) {
		if st.Settings.ProtectFromDeletion {
			return nil, fault.New(fault.Conflict, "stack %q is protected from deletion", st.Slug).Named("stack_protected").
				WithHint("take the protection away first")
		}
		var run, state string
		err := tx.QueryRowContext(ctx, `SELECT id, state FROM run WHERE stack = $1
			AND state NOT IN ('FINISHED', 'FAILED', 'DISCARDED', 'CANCELED', 'STOPPED', 'SKIPPED') ORDER BY id LIMIT 1`, st.ID).Scan(&run, &state)
		if err == nil {
			return nil, fault.New(fault.Conflict, "stack %q cannot be deleted while it has runs that have not ended: %s is %s", st.Slug, run, state).Named("stack_running").
				WithHint("wait for them, or stop or discard them")
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("look for runs of the stack: %w", err)
		}
		err = tx.QueryRowContext(ctx, `SELECT run FROM state_lock WHERE stack = $1`, st.ID).Scan(&run)
		if err == nil {
			return nil, fault.New(fault.Conflict, "stack %q cannot be deleted while it is not certain that run %s has ended", st.Slug, run).Named("stack_quarantined").
				WithHint("wait for its worker, or clear the quarantine")
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("look for the state lock of the stack: %w", err)
		}
		now := db.Micros(s.o.Now())
		if _, err := tx.ExecContext(ctx, `UPDATE stack SET deleted_at = $1, updated_at = $1 WHERE id = $2`, now, st.ID); err != nil {
			return nil, fmt.Errorf("delete stack: %w", err)
		}
		// Its secrets go at once: nothing will need them again.
		if _, err := tx.ExecContext(ctx, `DELETE FROM stack_config WHERE stack = $1`, st.ID); err != nil {
			return nil, fmt.Errorf("delete configuration of stack: %w", err)
		}
		return nil, nil
	})
}
