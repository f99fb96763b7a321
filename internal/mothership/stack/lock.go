package stack

import (
	"context"
	"fmt"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

const maxNote = 4 << 10

// Lock takes the stack's lock for the caller, whose runs alone may then be
// triggered. Taking one's own lock again changes its note.
func (s *Service) Lock(ctx context.Context, ref, note string) (Stack, error) {
	if len(note) > maxNote {
		return Stack{}, fault.New(fault.Invalid, "the note of a lock has at most %d bytes", maxNote).Named("note")
	}
	return s.change(ctx, access.StackLock, ref, EventChanged, func(tx *db.Tx, st *Stack) (map[string]string, error) {
		p, _ := access.From(ctx)
		if st.Locked(p.Actor()) {
			return nil, fault.New(fault.Conflict, "stack %q is locked by %s", st.Slug, st.LockedBy).Named("stack_locked").
				WithHint("ask them, or an administrator, to unlock it")
		}
		now := s.stamp()
		st.LockedBy, st.LockNote, st.LockedAt = p.Actor(), note, &now
		_, err := tx.ExecContext(ctx, `UPDATE stack SET locked_by = $1, lock_note = $2, locked_at = $3 WHERE id = $4`,
			st.LockedBy, st.LockNote, db.Micros(now), st.ID)
		if err != nil {
			return nil, fmt.Errorf("lock stack: %w", err)
		}
		return map[string]string{"note": note}, nil
	})
}

// Unlock releases the stack's lock; somebody else's only as an administrator.
// Unlocking a stack that is not locked changes nothing.
func (s *Service) Unlock(ctx context.Context, ref string) (Stack, error) {
	return s.change(ctx, access.StackUnlock, ref, EventChanged, func(tx *db.Tx, st *Stack) (map[string]string, error) {
		p, _ := access.From(ctx)
		was := st.LockedBy
		if st.Locked(p.Actor()) {
			if err := s.o.Auth.Require(ctx, access.StackForce, st.Space); err != nil {
				return nil, err
			}
		}
		st.LockedBy, st.LockNote, st.LockedAt = "", "", nil
		if _, err := tx.ExecContext(ctx, `UPDATE stack SET locked_by = NULL, lock_note = '', locked_at = NULL WHERE id = $1`, st.ID); err != nil {
			return nil, fmt.Errorf("unlock stack: %w", err)
		}
		return map[string]string{"locked_by": was}, nil
	})
}

// SetDisabled turns a stack off or on. A disabled stack's runs wait.
func (s *Service) SetDisabled(ctx context.Context, ref string, disabled bool) (Stack, error) {
	return s.change(ctx, access.StackUpdate, ref, EventChanged, func(tx *db.Tx, st *Stack) (map[string]string, error) {
		st.Disabled, st.UpdatedAt = disabled, s.stamp()
		if _, err := tx.ExecContext(ctx, `UPDATE stack SET disabled = $1, updated_at = $2 WHERE id = $3`, disabled, db.Micros(st.UpdatedAt), st.ID); err != nil {
			return nil, fmt.Errorf("disable stack: %w", err)
		}
		return map[string]string{"disabled": fmt.Sprint(disabled)}, nil
	})
}
