package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
)

// Candidate is a run that wants to go on, and what blockers ask about its stack.
type Candidate struct {
	Run      *runs.Run
	Stack    string // ULID
	Slug     string
	Pool     string // of the stack; empty: none
	LockedBy string
	Disabled bool
}

// Blocker is one rule that may hold a run back.
type Blocker interface {
	// Reason says why the rule holds the run back, and whether it does.
	Reason(ctx context.Context, q db.Queryer, c Candidate) (runs.Reason, bool, error)
}

// Blockers returns the rules in the order in which their reasons are shown.
func Blockers() []Blocker {
	return []Blocker{disabled{}, noPool{}, locked{}, quarantine{}, busy{}}
}

type disabled struct{}

func (disabled) Reason(_ context.Context, _ db.Queryer, c Candidate) (runs.Reason, bool, error) {
	return runs.Reason{Code: "disabled", Message: fmt.Sprintf("stack %q is disabled", c.Slug)}, c.Disabled, nil
}

type noPool struct{}

func (noPool) Reason(_ context.Context, _ db.Queryer, c Candidate) (runs.Reason, bool, error) {
	return runs.Reason{Code: "no_pool", Message: fmt.Sprintf("stack %q has no worker pool", c.Slug)}, c.Pool == "", nil
}

// locked holds back what would take the stack for itself, unless the owner of
// the lock asked for it. Proposed runs change nothing and go on.
type locked struct{}

func (locked) Reason(_ context.Context, _ db.Queryer, c Candidate) (runs.Reason, bool, error) {
	held := c.LockedBy != "" && c.LockedBy != c.Run.TriggeredBy && c.Run.Type.Blocking()
	return runs.Reason{Code: "locked", Message: fmt.Sprintf("stack %q is locked by %s", c.Slug, c.LockedBy)}, held, nil
}

// quarantine holds back every new writer after a worker was lost while it wrote.
type quarantine struct{}

func (quarantine) Reason(ctx context.Context, q db.Queryer, c Candidate) (runs.Reason, bool, error) {
	if !c.Run.Type.Blocking() {
		return runs.Reason{}, false, nil
	}
	var by string
	err := q.QueryRowContext(ctx, `SELECT run FROM state_lock WHERE stack = $1 AND quarantined_at IS NOT NULL`, c.Stack).Scan(&by)
	if errors.Is(err, sql.ErrNoRows) {
		return runs.Reason{}, false, nil
	}
	return runs.Reason{
		Code: "quarantine", Run: by,
		Message: fmt.Sprintf("run %s was lost while it was changing stack %q: nothing else may write until its end is certain", by, c.Slug),
	}, err == nil, err
}

// busy holds back a blocking run while another one has the stack.
type busy struct{}

func (busy) Reason(ctx context.Context, q db.Queryer, c Candidate) (runs.Reason, bool, error) {
	if !c.Run.Type.Blocking() {
		return runs.Reason{}, false, nil
	}
	by, err := runs.BlockerOf(ctx, q, c.Stack)
	if err != nil || by == "" || by == c.Run.ID {
		return runs.Reason{}, false, err
	}
	return runs.Reason{Code: "stack_busy", Run: by, Message: fmt.Sprintf("stack %q is busy with run %s", c.Slug, by)}, true, nil
}

// stackOf reads what blockers ask about a stack, for a candidate without its run.
func stackOf(ctx context.Context, q db.Queryer, stack string) (Candidate, error) {
	c := Candidate{Stack: stack}
	err := q.QueryRowContext(ctx, `SELECT slug, COALESCE(pool, ''), COALESCE(locked_by, ''), disabled FROM stack WHERE id = $1`, stack).
		Scan(&c.Slug, &c.Pool, &c.LockedBy, &c.Disabled)
	if err != nil {
		return c, fmt.Errorf("load stack %s for the queue: %w", stack, err)
	}
	return c, nil
}

func (c Candidate) with(r *runs.Run) Candidate {
	c.Run = r
	return c
}

// reasons returns what holds a run back; with first, only the first reason.
func (s *Service) reasons(ctx context.Context, q db.Queryer, c Candidate, first bool) ([]runs.Reason, error) {
	var all []runs.Reason
	for _, b := range s.o.Blockers {
		reason, holds, err := b.Reason(ctx, q, c)
		if err != nil {
			return nil, fmt.Errorf("ask what blocks run %s: %w", c.Run.ID, err)
		}
		if !holds {
			continue
		}
		all = append(all, reason)
		if first {
			break
		}
	}
	return all, nil
}
