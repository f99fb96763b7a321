package queue

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/run"
)

// Reasons says why a run has not gone on: what blocks it while it is QUEUED, and
// why no worker takes it while it waits for one.
func (s *Service) Reasons(ctx context.Context, q db.Queryer, r *runs.Run) ([]runs.Reason, error) {
	c, err := stackOf(ctx, q, r.Stack)
	if err != nil {
		return nil, err
	}
	c.Run = r
	switch {
	case r.State == run.Queued:
		why, err := s.reasons(ctx, q, c, false)
		if err != nil || len(why) > 0 || !r.Type.Blocking() {
			return why, err
		}
		return s.behind(ctx, q, c)
	case r.State.Waiting():
		return s.noWorker(ctx, q, r)
	}
	return nil, nil
}

// behind names the run of the stack that goes first.
func (s *Service) behind(ctx context.Context, q db.Queryer, c Candidate) ([]runs.Reason, error) {
	var next string
	err := q.QueryRowContext(ctx, `SELECT r.id FROM run r WHERE r.stack = $1 AND r.blocking AND r.state = 'QUEUED' ORDER BY `+first+` LIMIT 1`,
		c.Stack, c.LockedBy).Scan(&next)
	if errors.Is(err, sql.ErrNoRows) || next == c.Run.ID {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the next run of stack %s: %w", c.Stack, err)
	}
	return []runs.Reason{{Code: "stack_busy", Run: next, Message: fmt.Sprintf("run %s of stack %q goes first", next, c.Slug)}}, nil
}

// noWorker says what is the matter with the pool's workers.
func (s *Service) noWorker(ctx context.Context, q db.Queryer, r *runs.Run) ([]runs.Reason, error) {
	needed, err := recipients(ctx, q, r)
	if err != nil {
		return nil, err
	}
	type row struct {
		id      string
		keys    []string
		drained bool
	}
	rows, err := q.QueryContext(ctx, `SELECT w.id, w.keys, w.drained FROM worker w WHERE w.pool = $1 AND w.gone_at IS NULL`, r.Pool)
	workers, err := db.Collect(rows, err, func(rows *sql.Rows) (row, error) {
		var (
			w    row
			keys string
		)
		if err := rows.Scan(&w.id, &keys, &w.drained); err != nil {
			return w, err
		}
		return w, json.Unmarshal([]byte(keys), &w.keys)
	})
	if err != nil {
		return nil, fmt.Errorf("list workers of pool %s: %w", r.Pool, err)
	}
	all := len(workers)
	workers = slices.DeleteFunc(workers, func(w row) bool { return !s.o.Online(w.id) })
	switch {
	case all == 0:
		return []runs.Reason{{Code: "no_workers", Message: "the pool has no workers"}}, nil
	case len(workers) == 0:
		return []runs.Reason{{Code: "no_workers", Message: "none of the pool's workers has been heard of lately"}}, nil
	}
	drained, keyed := true, false
	for _, w := range workers {
		drained = drained && w.drained
		keyed = keyed || holds(w.keys, needed)
	}
	switch {
	case !keyed:
		return []runs.Reason{{Code: "no_key", Message: "no worker holds key " + strings.Join(needed, " or ")}}, nil
	case drained:
		return []runs.Reason{{Code: "all_drained", Message: "all workers of the pool are drained"}}, nil
	}
	return []runs.Reason{{Code: "no_free_worker", Message: "no worker of the pool is free"}}, nil
}
