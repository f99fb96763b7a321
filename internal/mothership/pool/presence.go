package pool

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

// presence knows when each worker was last heard of. Signs of life stay in
// memory; once a second those whose stored time is half stale are written, all in
// one transaction. So ten thousand idle workers cost a few rows a second.
//
// After a start, and after a time in which this process did not run, nobody is
// taken for gone for a full term: the silence may have been ours.
type presence struct {
	term time.Duration
	now  func() time.Time

	mu      sync.Mutex
	workers map[string]*sign
	ticked  time.Time
	// Until spare, workers heard of at since or later still count as present.
	spare, since time.Time
}

type sign struct {
	pool         string
	seen, stored time.Time
}

// loadPresence reads the stored times. Which workers were there when the
// mothership last ran is told by the newest of them: those within a term of it.
func loadPresence(ctx context.Context, q db.Queryer, term time.Duration, now func() time.Time) (*presence, error) {
	p := &presence{term: term, now: now, workers: map[string]*sign{}, ticked: now()}
	rows, err := q.QueryContext(ctx, `SELECT id, pool, seen_at FROM worker WHERE gone_at IS NULL`)
	var newest time.Time
	_, err = db.Collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var id, pool string
		var micros int64
		if err := r.Scan(&id, &pool, &micros); err != nil {
			return struct{}{}, err
		}
		at := db.Time(micros)
		p.workers[id] = &sign{pool: pool, seen: at, stored: at}
		if at.After(newest) {
			newest = at
		}
		return struct{}{}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("read presence of workers: %w", err)
	}
	p.spareSince(newest)
	return p, nil
}

// spareSince spares everybody who was present at the time given. What is stored
// may be half a term older than the truth.
func (p *presence) spareSince(at time.Time) {
	p.since = at.Add(-p.term - p.term/2)
	p.spare = p.now().Add(p.term + p.term/2)
}

// register makes a worker known, seen now; its row has just been written.
func (p *presence) register(pool, worker string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.workers[worker] = &sign{pool: pool, seen: now, stored: now}
}

func (p *presence) forget(worker string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.workers, worker)
}

func (p *presence) forgetPool(pool string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, s := range p.workers {
		if s.pool == pool {
			delete(p.workers, id)
		}
	}
}

// saw records a sign of life. A worker that is not registered has none.
func (p *presence) saw(worker string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.workers[worker]; ok {
		s.seen = p.now()
	}
}

// at returns when the worker was last heard of, and whether it counts as present.
func (p *presence) at(worker string) (seen time.Time, online bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.workers[worker]
	if !ok {
		return time.Time{}, false
	}
	now := p.now()
	if now.Sub(s.seen) <= p.term {
		return s.seen, true
	}
	return s.seen, now.Before(p.spare) && !s.seen.Before(p.since)
}

// tick notices that this process stood still, and returns what is to be written.
func (p *presence) tick() map[string]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if now.Sub(p.ticked) > p.term/2 {
		p.spareSince(p.ticked)
	}
	p.ticked = now
	var due map[string]time.Time
	for id, s := range p.workers {
		if s.seen.Sub(s.stored) < p.term/2 {
			continue
		}
		if due == nil {
			due = map[string]time.Time{}
		}
		due[id] = s.seen
	}
	return due
}

func (p *presence) wrote(all map[string]time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, at := range all {
		if s, ok := p.workers[id]; ok && at.After(s.stored) {
			s.stored = at
		}
	}
}

// Run flushes presence until ctx ends. The caller waits for it.
func (s *Service) Run(ctx context.Context) error {
	ticker := time.NewTicker(s.o.FlushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := s.flush(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.WarnContext(ctx, "presence of workers could not be stored", slog.Any("err", err))
		}
	}
}

func (s *Service) flush(ctx context.Context) error {
	due := s.presence.tick()
	if len(due) == 0 {
		return nil
	}
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		stmt, err := tx.PrepareContext(ctx, `UPDATE worker SET seen_at = $1 WHERE id = $2 AND seen_at < $1`)
		if err != nil {
			return err
		}
		defer func() { _ = stmt.Close() }() // ends with the transaction anyway
		for id, at := range due {
			if _, err := stmt.ExecContext(ctx, db.Micros(at), id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.presence.wrote(due)
	return nil
}

// Seen records a sign of life, in memory.
func (s *Service) Seen(worker string) { s.presence.saw(worker) }

// Online reports whether a worker has been heard of within a term.
func (s *Service) Online(worker string) bool {
	_, online := s.presence.at(worker)
	return online
}
