package pool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

// registration is what decides whether a worker is one at this moment.
type registration struct {
	pool      string
	session   int64 // its newest
	epoch     int64 // it registered in
	poolEpoch int64
	gone      bool // deregistered, or its pool was reset or deleted
}

// registry remembers registrations, so that a bearer costs no query. Whoever
// changes one forgets it here after the commit. A miss is read from the database
// with the lock held: were it not, what was read before a commit could be
// remembered after it.
type registry struct {
	q db.Queryer

	mu      sync.RWMutex
	workers map[string]registration
}

func newRegistry(q db.Queryer) *registry {
	return &registry{q: q, workers: map[string]registration{}}
}

func (g *registry) worker(ctx context.Context, id string) (registration, error) {
	g.mu.RLock()
	r, ok := g.workers[id]
	g.mu.RUnlock()
	if ok {
		return r, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if r, ok := g.workers[id]; ok {
		return r, nil
	}
	err := g.q.QueryRowContext(ctx, `SELECT w.pool, w.session, w.epoch, p.epoch, w.gone_at IS NOT NULL OR p.deleted_at IS NOT NULL
		FROM worker w JOIN pool p ON p.id = w.pool WHERE w.id = $1`, id).
		Scan(&r.pool, &r.session, &r.epoch, &r.poolEpoch, &r.gone)
	if errors.Is(err, sql.ErrNoRows) {
		// Not remembered: ids that never were must not fill the memory.
		return registration{gone: true}, nil
	}
	if err != nil {
		return r, fmt.Errorf("read registration of worker %s: %w", id, err)
	}
	g.workers[id] = r
	return r, nil
}

func (g *registry) forget(worker string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.workers, worker)
}

func (g *registry) forgetPool(pool string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, r := range g.workers {
		if r.pool == pool {
			delete(g.workers, id)
		}
	}
}

// check compares a bearer's claim with the registration. Each refusal has its own
// code, since the launcher does different things about them.
func (r registration) check(id WorkerIdentity) error {
	switch {
	case r.pool != "" && r.epoch != r.poolEpoch, r.pool == id.Pool && id.Epoch != r.poolEpoch:
		return fault.New(fault.Unauthenticated, "the pool has been reset since this launcher registered").Named("pool_reset").
			WithHint("give it the pool's new token and key")
	case r.gone || r.pool != id.Pool:
		return fault.New(fault.Unauthenticated, "the worker is not registered").Named("not_registered").
			WithHint("the launcher registers again")
	case id.Session < r.session:
		return fault.New(fault.Stale, "a newer session of this worker has registered").Named("session").
			WithHint("a copy of the data directory is running elsewhere, or this launcher was replaced")
	case id.Session > r.session:
		return fault.New(fault.Unauthenticated, "the worker is not registered").Named("not_registered").
			WithHint("the launcher registers again")
	}
	return nil
}

// Active reports whether a worker may hold a connection: registered, of the
// pool's epoch, and the pool not deleted. The broker asks at each connect.
func (s *Service) Active(ctx context.Context, pool, worker string) error {
	r, err := s.registry.worker(ctx, worker)
	if err != nil {
		return err
	}
	return r.check(WorkerIdentity{Pool: pool, Worker: worker, Session: r.session, Epoch: r.epoch})
}
