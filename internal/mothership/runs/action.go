package runs

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/run"
)

// Confirm lets a planned run be applied: UNCONFIRMED becomes CONFIRMED. metadata
// is added to what people said about the run and may be empty.
func (s *Service) Confirm(ctx context.Context, id, metadata string) (*Run, error) {
	return s.act(ctx, access.RunConfirm, id, func(tx *db.Tx, r *Run) error {
		switch r.State {
		case run.Confirmed, run.PreparingApply, run.Applying:
			return nil // it was
		case run.Finished:
			if r.Phase == run.PhaseApply {
				return nil
			}
		case run.Unconfirmed:
			if err := addMetadata(ctx, tx, r, metadata); err != nil {
				return err
			}
			return s.o.Mover.Move(ctx, tx, r, run.Confirmed, run.User, actor(ctx), "")
		}
		return refuse(r, "confirmed")
	})
}

// Discard rejects a run before it was applied: one that waits, was planned, or
// was confirmed and not yet given to a worker.
func (s *Service) Discard(ctx context.Context, id string) (*Run, error) {
	return s.act(ctx, access.RunDiscard, id, func(tx *db.Tx, r *Run) error {
		switch r.State {
		case run.Discarded:
			return nil
		case run.Queued, run.Ready, run.Unconfirmed, run.PendingReview, run.Confirmed:
			return s.o.Mover.Move(ctx, tx, r, run.Discarded, run.User, actor(ctx), "")
		}
		return refuseEnd(r, "discarded")
	})
}

// Cancel takes back a run that no worker has picked up.
func (s *Service) Cancel(ctx context.Context, id string) (*Run, error) {
	return s.actBlocking(ctx, access.RunCancel, access.RunCancelBlock, id, func(tx *db.Tx, r *Run) error {
		switch r.State {
		case run.Canceled:
			return nil
		case run.Queued, run.Ready:
			return s.o.Mover.Move(ctx, tx, r, run.Canceled, run.User, actor(ctx), "")
		}
		return refuseEnd(r, "cancelled")
	})
}

// Stop interrupts a run that is being prepared, initialised or planned. A worker
// is asked to stop and the run's state changes when it has; a run that no worker
// has accepted yet is cancelled at once. What may have begun to write is not
// stopped: half an apply is worse than a whole one.
func (s *Service) Stop(ctx context.Context, id, note string) (*Run, error) {
	return s.actBlocking(ctx, access.RunStop, access.RunStopBlock, id, func(tx *db.Tx, r *Run) error {
		switch r.State {
		case run.Stopped, run.Canceled:
			return nil
		case run.Preparing, run.Initializing, run.Planning:
			who := actor(ctx)
			reason := "stopped by " + named(ctx)
			if note != "" {
				reason += ": " + note
			}
			asked, err := s.o.Lease.Stop(ctx, tx, r, who, reason)
			if err != nil || asked || r.State != run.Ready {
				return err
			}
			// Taken back before anybody accepted it: nothing has run.
			return s.o.Mover.Move(ctx, tx, r, run.Canceled, run.User, who, reason)
		}
		return refuseEnd(r, "stopped")
	})
}

// refuseEnd says that a run cannot be ended in the way that was asked for, and
// which way there is.
func refuseEnd(r *Run, what string) error {
	f := refuse(r, what)
	switch r.State {
	case run.Queued, run.Ready:
		return f.WithHint("cancel it instead")
	case run.Preparing, run.Initializing, run.Planning:
		return f.WithHint("stop it instead")
	case run.Unconfirmed, run.PendingReview:
		return f.WithHint("discard it instead")
	case run.Confirmed:
		return f.WithHint("it has been confirmed; as long as no worker has it, discard it")
	case run.PreparingApply:
		return f.WithHint("it has been confirmed, and a worker has it")
	case run.Applying, run.Performing, run.Destroying:
		return f.WithHint("it is changing things and ends by itself")
	}
	return f
}

// Retry makes a new run of the type, commit and command of one that has ended.
// Each call makes another one.
func (s *Service) Retry(ctx context.Context, id string) (*Run, error) {
	old, st, err := s.read(ctx, access.RunRead, id)
	if err != nil {
		return nil, err
	}
	action := access.RunRetry
	if old.Type.Blocking() {
		action = access.RunRetryBlock
	}
	if err := s.o.Access.Require(ctx, action, st.Space); err != nil {
		return nil, err
	}
	if !old.CanRetry() {
		return nil, refuse(old, "retried").WithHint("wait until it has ended")
	}
	return s.create(ctx, action, st.ID, func(_ stack.Stack, r *Run) {
		r.Type, r.Branch, r.Commit, r.Title = old.Type, old.Branch, old.Commit, old.Title
		r.Command, r.SkipInit, r.Prioritized = old.Command, old.SkipInit, old.Prioritized
		r.Metadata = old.Metadata
	})
}

// Prioritize puts a run before those of other stacks, or takes that back.
func (s *Service) Prioritize(ctx context.Context, id string, prioritize bool) (*Run, error) {
	return s.act(ctx, access.RunPrioritize, id, func(tx *db.Tx, r *Run) error {
		if r.Prioritized == prioritize {
			return nil
		}
		if r.State.Terminal() {
			return refuse(r, "prioritised")
		}
		if _, err := tx.ExecContext(ctx, `UPDATE run SET prioritized = $2 WHERE id = $1`, r.ID, prioritize); err != nil {
			return fmt.Errorf("prioritise run %s: %w", r.ID, err)
		}
		r.Prioritized = prioritize
		if !r.State.Waiting() {
			return nil // its place is computed when it becomes schedulable
		}
		return s.o.Queue.Rank(ctx, tx, r)
	})
}

// actBlocking is act with the permission that the run's type asks for.
func (s *Service) actBlocking(ctx context.Context, action, blocking access.Action, id string, f func(*db.Tx, *Run) error) (*Run, error) {
	r, _, err := s.read(ctx, access.RunRead, id)
	if err != nil {
		return nil, err
	}
	if r.Type.Blocking() {
		action = blocking
	}
	return s.act(ctx, action, id, f)
}

// act does what a person asked of a run in one transaction: f, an audit row, and
// a look of the queue at the stack.
func (s *Service) act(ctx context.Context, action access.Action, id string, f func(*db.Tx, *Run) error) (*Run, error) {
	_, st, err := s.read(ctx, action, id)
	if err != nil {
		return nil, err
	}
	var done *Run
	err = s.o.DB.Write(ctx, func(tx *db.Tx) error {
		r, err := Load(ctx, tx, id)
		if err != nil {
			return err
		}
		before := r.StateVersion
		if err := f(tx, r); err != nil {
			return err
		}
		if err := s.o.Audit.Record(ctx, tx, action, r.ID, st.Space, map[string]string{"state": string(r.State)}); err != nil {
			return err
		}
		if r.StateVersion != before {
			if err := s.o.Queue.Stack(ctx, tx, r.Stack); err != nil {
				return err
			}
		}
		done, err = Load(ctx, tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

func addMetadata(ctx context.Context, tx *db.Tx, r *Run, text string) error {
	if text == "" {
		return nil
	}
	if err := metadataFits(text); err != nil {
		return err
	}
	all := append(append([]string{}, r.Metadata...), text)
	encoded, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE run SET metadata = $2 WHERE id = $1`, r.ID, string(encoded)); err != nil {
		return fmt.Errorf("add metadata to run %s: %w", r.ID, err)
	}
	r.Metadata = all
	return nil
}

func metadataFits(text string) error {
	if len(text) > maxMetadata {
		return fault.New(fault.Invalid, "the metadata is %d bytes long, more than %d", len(text), maxMetadata)
	}
	return nil
}
