package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
)

// The sort key is the time of creation in microseconds, plus offsets. Offsets age
// by themselves: a run never waits longer behind runs of better ranks than the
// distance of the ranks.
const (
	// rankStep lies between two ranks; there are six, so that the last waits at
	// most 30 min behind the first.
	rankStep = 6 * time.Minute
	// share is what each waiting run of a stack puts the stack's next one back, so
	// that a thousand runs of one stack leave room for the one run of another.
	share    = 30 * time.Second
	maxShare = 60 // runs that count
)

// rank orders runs of the same age, the first first: prioritised ones, then
// those that hold their stack. Drift detection will stand last in each half.
func rank(r *runs.Run) int64 {
	var n int64
	if !r.Prioritized {
		n = 3
	}
	if !r.Type.Blocking() {
		n++
	}
	return n
}

// sortKey computes where r stands in the queue of its pool.
func sortKey(ctx context.Context, q db.Queryer, r *runs.Run) (int64, error) {
	var (
		ahead int64
		last  int64
	)
	err := q.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(MAX(sort_key), 0) FROM (SELECT sort_key FROM run
		WHERE stack = $1 AND id <> $2 AND (id < $2 OR blocking) AND state IN (`+waiting+`) ORDER BY sort_key DESC LIMIT $3) AS ahead`,
		r.Stack, r.ID, maxShare).Scan(&ahead, &last)
	if err != nil {
		return 0, fmt.Errorf("rank run %s: %w", r.ID, err)
	}
	key := r.CreatedAt.UnixMicro() + rank(r)*rankStep.Microseconds()
	if r.Type.Blocking() {
		return key, nil // one a stack waits at a time: there is nothing to share
	}
	key += ahead * share.Microseconds()
	if r.Prioritized && ahead > 0 && key <= last {
		// Being prioritised goes before other stacks; within its own the order stays.
		key = last + 1
	}
	return key, nil
}

// Rank computes a waiting run's place in the queue again, in tx.
func (s *Service) Rank(ctx context.Context, tx *db.Tx, r *runs.Run) error {
	key, err := sortKey(ctx, tx, r)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE run SET sort_key = $2, pool = $3 WHERE id = $1`, r.ID, key, r.Pool); err != nil {
		return fmt.Errorf("rank run %s: %w", r.ID, err)
	}
	r.SortKey = key
	return nil
}

// waiting is the text of the index run_schedulable, so that it serves a query.
const waiting = `'READY', 'CONFIRMED', 'REPLAN_REQUESTED'`
