package queue

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/event"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
)

// dirty collects what has changed since the last look.
type dirty struct {
	wake chan struct{} // holds one token while something is dirty

	mu     sync.Mutex
	pools  map[string]bool
	stacks map[string]bool
}

func newDirty() *dirty {
	return &dirty{wake: make(chan struct{}, 1), pools: map[string]bool{}, stacks: map[string]bool{}}
}

func (d *dirty) mark(pool, stack string) {
	d.mu.Lock()
	if pool != "" {
		d.pools[pool] = true
	}
	if stack != "" {
		d.stacks[stack] = true
	}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *dirty) take() (pools, stacks []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range d.pools {
		pools = append(pools, p)
	}
	for s := range d.stacks {
		stacks = append(stacks, s)
	}
	clear(d.pools)
	clear(d.stacks)
	return pools, stacks
}

// Wake asks for a look at a pool: a worker of it can be hinted again.
func (s *Service) Wake(pool string) { s.dirty.mark(pool, "") }

// Run looks at what changed until ctx ends, and at everything now and then. An
// error of the database is logged and the next look tries again.
func (s *Service) Run(ctx context.Context) error {
	stop := s.o.Events.Listen(func(e event.Event) {
		switch e.Kind {
		case stack.EventChanged:
			s.dirty.mark("", e.Subject)
		case pool.EventWorkerChanged:
			s.dirty.mark(e.Data["pool"], "")
		}
	})
	defer stop()
	every := time.NewTicker(s.o.Every)
	defer every.Stop()
	all := sweep{}
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-s.dirty.wake:
			err = s.look(ctx, nil)
		case <-every.C:
			err = s.look(ctx, &all)
		}
		if err != nil && ctx.Err() == nil {
			s.o.Log.Warn("the queue could not be looked at", "err", err)
		}
	}
}

// sweep remembers where the look at everything goes on, so that a huge queue
// costs a bounded share of each period.
type sweep struct{ stack, pool string }

// sweepSize is how many stacks and pools one period takes up.
const sweepSize = 200

// look takes up what is dirty and, with all, the next stretch of everything.
func (s *Service) look(ctx context.Context, all *sweep) error {
	pools, stacks := s.dirty.take()
	if all != nil {
		more, err := ids(ctx, s.o.DB.Read(), `SELECT id FROM stack WHERE id > $1 AND EXISTS
			(SELECT 1 FROM run r WHERE r.stack = stack.id AND r.state = 'QUEUED') ORDER BY id LIMIT $2`, &all.stack)
		if err != nil {
			return err
		}
		stacks = append(stacks, more...)
		more, err = ids(ctx, s.o.DB.Read(), `SELECT id FROM pool WHERE id > $1 AND EXISTS
			(SELECT 1 FROM run r WHERE r.pool = pool.id AND r.state IN (`+waiting+`)) ORDER BY id LIMIT $2`, &all.pool)
		if err != nil {
			return err
		}
		pools = append(pools, more...)
	}
	// Each in a transaction of its own: a long look must not hold up a beat.
	for _, id := range stacks {
		if err := s.o.DB.Write(ctx, func(tx *db.Tx) error { return s.Stack(ctx, tx, id) }); err != nil {
			return fmt.Errorf("look at stack %s: %w", id, err)
		}
	}
	for _, id := range pools {
		if err := s.o.DB.Write(ctx, func(tx *db.Tx) error { return s.Pool(ctx, tx, id) }); err != nil {
			return fmt.Errorf("look at pool %s: %w", id, err)
		}
	}
	return nil
}

// ids reads a stretch of ids after *from and moves it on, or back to the start.
func ids(ctx context.Context, q db.Queryer, query string, from *string) ([]string, error) {
	rows, err := q.QueryContext(ctx, query, *from, sweepSize)
	found, err := db.Collect(rows, err, func(rows *sql.Rows) (string, error) {
		var id string
		return id, rows.Scan(&id)
	})
	if err != nil {
		return nil, fmt.Errorf("list what waits: %w", err)
	}
	*from = ""
	if len(found) == sweepSize {
		*from = found[len(found)-1]
	}
	return found, nil
}
