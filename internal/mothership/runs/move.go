package runs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/event"
	"github.com/spaceport-iac/spaceport/internal/run"
)

// Mothership is who a history names for what the mothership did on its own.
const Mothership = "spaceport"

// EventMoved is the event of a run's new state. Its data has run, stack, pool,
// type, state and version.
const EventMoved = "run.moved"

// events is what a Mover needs of the event log.
type events interface {
	Append(ctx context.Context, tx *db.Tx, e event.Event) error
}

// MoverOptions are what a Mover works with. All are needed.
type MoverOptions struct {
	Events events
	Stacks Stacks
	Now    func() time.Time
}

// Mover changes the states of runs. Nothing else does.
type Mover struct{ o MoverOptions }

// NewMover returns a mover, or an error if an option is missing.
func NewMover(o MoverOptions) (*Mover, error) {
	if o.Events == nil || o.Stacks == nil || o.Now == nil {
		return nil, errors.New("runs: a mover needs Events, Stacks and Now")
	}
	return &Mover{o: o}, nil
}

// Move brings r, as it was read in tx, to a state. by is the kind of actor that
// internal/run asks about, who its name for the history, note says why (it may be
// empty). On success r is as the database has it. A move that does not exist is
// refused with a conflict; a run that has moved on meanwhile, too.
func (m *Mover) Move(ctx context.Context, tx *db.Tx, r *Run, to run.State, by run.Actor, who, note string) error {
	if !run.CanMove(r.State, to, by) {
		return fault.New(fault.Conflict, "run %s is %s and cannot become %s", r.ID, r.State, to)
	}
	at := m.o.Now()
	reason := r.Reason
	if to.Terminal() && note != "" {
		reason = note
	}
	result, err := tx.ExecContext(ctx, `UPDATE run SET state = $3, state_version = state_version + 1, state_at = $4,
		updated_at = $4, reason = $5 WHERE id = $1 AND state_version = $2`,
		r.ID, r.StateVersion, string(to), db.Micros(at), reason)
	if err != nil {
		return fmt.Errorf("move run %s from %s to %s: %w", r.ID, r.State, to, err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, fault.New(fault.Conflict, "run %s was changed at the same time", r.ID).
			WithHint("look at it again and repeat what you wanted"))
	}
	r.State, r.StateVersion, r.StateAt, r.UpdatedAt, r.Reason = to, r.StateVersion+1, at, at, reason
	return m.record(ctx, tx, r, who, note)
}

// record writes what follows from r having its present state: history, event,
// and the stack's state.
func (m *Mover) record(ctx context.Context, tx *db.Tx, r *Run, who, note string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO run_history (run, state_version, state, at, actor, note) VALUES ($1, $2, $3, $4, $5, $6)`,
		r.ID, r.StateVersion, string(r.State), db.Micros(r.StateAt), who, note)
	if err != nil {
		return fmt.Errorf("write history of run %s: %w", r.ID, err)
	}
	err = m.o.Events.Append(ctx, tx, event.Event{Kind: EventMoved, Subject: r.ID, Data: map[string]string{
		"run": r.ID, "stack": r.Stack, "pool": r.Pool, "type": string(r.Type),
		"state": string(r.State), "version": strconv.Itoa(r.StateVersion),
	}})
	if err != nil {
		return err
	}
	if r.Type != run.Tracked || r.Attempt == 0 {
		return nil // the stack shows its newest tracked run that has been on a worker
	}
	return m.o.Stacks.SetState(ctx, tx, r.Stack, r.State, r.StateAt)
}
