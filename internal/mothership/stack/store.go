package stack

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

const columns = `id, slug, name, space, pool, settings, state_mode, state, state_set_at, tracked_commit,
	locked_by, lock_note, locked_at, disabled, created_at, updated_at`

func scan(into func(...any) error) (Stack, error) {
	var st Stack
	var settings, state, commit string
	var pool, lockedBy sql.NullString
	var stateSet, locked sql.NullInt64
	var created, updated int64
	err := into(&st.ID, &st.Slug, &st.Name, &st.Space, &pool, &settings, &st.StateMode, &state, &stateSet, &commit,
		&lockedBy, &st.LockNote, &locked, &st.Disabled, &created, &updated)
	if err != nil {
		return Stack{}, err
	}
	if err := json.Unmarshal([]byte(settings), &st.Settings); err != nil {
		return Stack{}, fmt.Errorf("read settings of stack %s: %w", st.ID, err)
	}
	if err := json.Unmarshal([]byte(commit), &st.TrackedCommit); err != nil {
		return Stack{}, fmt.Errorf("read commit of stack %s: %w", st.ID, err)
	}
	st.Pool, st.LockedBy, st.State = pool.String, lockedBy.String, run.State(state)
	st.StateSetAt, st.LockedAt = moment(stateSet), moment(locked)
	st.CreatedAt, st.UpdatedAt = db.Time(created), db.Time(updated)
	return st, nil
}

func moment(micros sql.NullInt64) *time.Time {
	if !micros.Valid {
		return nil
	}
	t := db.Time(micros.Int64)
	return &t
}

func optional(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// Find returns the stack with this slug or id, for the runs service, which asks
// for its own permissions. A slug is lower case and an id upper: they never meet.
func (s *Service) Find(ctx context.Context, q db.Queryer, ref string) (Stack, error) {
	return one(q.QueryRowContext(ctx, `SELECT `+columns+` FROM stack WHERE (slug = $1 OR id = $1) AND deleted_at IS NULL`, ref), ref)
}

// ForRun returns the stack with this id, for the runs service, which asks for
// its own permissions. A deleted stack is still found.
func (s *Service) ForRun(ctx context.Context, q db.Queryer, stackID string) (Stack, error) {
	return one(q.QueryRowContext(ctx, `SELECT `+columns+` FROM stack WHERE id = $1`, stackID), stackID)
}

func one(row *sql.Row, ref string) (Stack, error) {
	st, err := scan(row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Stack{}, fault.New(fault.NotFound, "there is no stack %q", ref)
	}
	if err != nil {
		return Stack{}, fmt.Errorf("read stack %s: %w", ref, err)
	}
	return st, nil
}

// SetState records the state of the stack's newest tracked run, in the runs
// service's transaction.
func (s *Service) SetState(ctx context.Context, tx *db.Tx, stackID string, state run.State, at time.Time) error {
	if _, err := tx.ExecContext(ctx, `UPDATE stack SET state = $1, state_set_at = $2 WHERE id = $3`, string(state), db.Micros(at), stackID); err != nil {
		return fmt.Errorf("set state of stack %s: %w", stackID, err)
	}
	return nil
}

// SetTrackedCommit records the commit that the stack's newest tracked run is at,
// in the runs service's transaction.
func (s *Service) SetTrackedCommit(ctx context.Context, tx *db.Tx, stackID string, c wire.Commit) error {
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode commit: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE stack SET tracked_commit = $1 WHERE id = $2`, string(data), stackID); err != nil {
		return fmt.Errorf("set commit of stack %s: %w", stackID, err)
	}
	return nil
}
