package pool

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/event"
)

// Limits of what a person may give.
const (
	maxName        = 255
	maxDescription = 16 << 10
	maxLabels      = 100
)

// clean trims and checks what a person gave.
func (in *Input) clean() error {
	in.Name = strings.TrimSpace(in.Name)
	switch {
	case in.Name == "" || len(in.Name) > maxName || strings.ContainsFunc(in.Name, unicode.IsControl):
		return fault.New(fault.Invalid, "the name of a worker pool has 1 to %d characters, none of them a control character", maxName).Named("pool_name")
	case len(in.Description) > maxDescription:
		return fault.New(fault.Invalid, "the description of a worker pool has at most %d bytes", maxDescription).Named("pool_description")
	case len(in.Labels) > maxLabels:
		return fault.New(fault.Invalid, "a worker pool has at most %d labels", maxLabels).Named("pool_labels")
	}
	labels := []string{}
	for _, l := range in.Labels {
		l = strings.TrimSpace(l)
		if l == "" || len(l) > maxName {
			return fault.New(fault.Invalid, "a label has 1 to %d characters", maxName).Named("pool_labels")
		}
		if !slices.Contains(labels, l) {
			labels = append(labels, l)
		}
	}
	in.Labels = labels
	if in.DriftLimit != nil && *in.DriftLimit < 0 {
		in.DriftLimit = nil
	}
	return nil
}

// checkPlace checks, in the transaction, that the space is there and the name is
// free.
func (in *Input) checkPlace(ctx context.Context, tx *db.Tx, id string) error {
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM space WHERE id = $1`, in.Space).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.Invalid, "there is no space %q", in.Space).Named("space")
	}
	if err != nil {
		return fmt.Errorf("look for space: %w", err)
	}
	err = tx.QueryRowContext(ctx, `SELECT 1 FROM pool WHERE name = $1 AND deleted_at IS NULL AND id <> $2`, in.Name, id).Scan(&one)
	if err == nil {
		return fault.New(fault.Conflict, "there is already a worker pool named %q", in.Name).Named("pool_name").
			WithHint("choose another name")
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("look for pool of this name: %w", err)
	}
	return nil
}

// locate returns the pool if the caller may do action to it.
func (s *Service) locate(ctx context.Context, q db.Queryer, action access.Action, id string) (Pool, error) {
	if err := s.o.Auth.RequireAnywhere(ctx, action); err != nil {
		return Pool{}, err
	}
	p, err := findPool(ctx, q, id)
	if err != nil {
		return Pool{}, err
	}
	return p, s.o.Auth.Require(ctx, action, p.Space)
}

// stamp is the time as the database keeps it, so that what a change answers and
// what is read later are equal.
func (s *Service) stamp() time.Time { return s.o.Now().Truncate(time.Microsecond) }

// Update changes a pool's name, description, space, labels and drift limit.
func (s *Service) Update(ctx context.Context, id string, in Input) (Pool, error) {
	// Asked before anything is looked at, and again for the pool's own space.
	if err := s.o.Auth.RequireAnywhere(ctx, access.PoolUpdate); err != nil {
		return Pool{}, err
	}
	if err := in.clean(); err != nil {
		return Pool{}, err
	}
	var p Pool
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		var err error
		if p, err = s.locate(ctx, tx, access.PoolUpdate, id); err != nil {
			return err
		}
		if in.Space == "" {
			in.Space = p.Space
		}
		if in.Space != p.Space {
			if err := s.o.Auth.Require(ctx, access.PoolUpdate, in.Space); err != nil {
				return err
			}
			if err := refuseAttached(ctx, tx, p, "moved to another space"); err != nil {
				return err
			}
		}
		if err := in.checkPlace(ctx, tx, id); err != nil {
			return err
		}
		p.Name, p.Description, p.Space, p.Labels, p.DriftLimit = in.Name, in.Description, in.Space, in.Labels, in.DriftLimit
		p.UpdatedAt = s.stamp()
		labels, err := json.Marshal(p.Labels)
		if err != nil {
			return fmt.Errorf("encode labels: %w", err)
		}
		_, err = tx.ExecContext(ctx, `UPDATE pool SET name = $1, description = $2, space = $3, labels = $4, drift_limit = $5, updated_at = $6 WHERE id = $7`,
			p.Name, p.Description, p.Space, string(labels), p.DriftLimit, db.Micros(p.UpdatedAt), p.ID)
		if err != nil {
			return fmt.Errorf("update pool: %w", err)
		}
		return s.record(ctx, tx, access.PoolUpdate, p, EventPoolChanged)
	})
	if err != nil {
		return Pool{}, err
	}
	return s.counted(ctx, p)
}

// Delete removes a pool. It is refused while stacks are attached or runs live.
func (s *Service) Delete(ctx context.Context, id string) (Pool, error) {
	var p Pool
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		var err error
		if p, err = s.locate(ctx, tx, access.PoolDelete, id); err != nil {
			return err
		}
		if err := refuseAttached(ctx, tx, p, "deleted"); err != nil {
			return err
		}
		if err := refuseRunning(ctx, tx, p); err != nil {
			return err
		}
		now := db.Micros(s.o.Now())
		for _, change := range []string{
			`UPDATE pool SET deleted_at = $1, updated_at = $1 WHERE id = $2`,
			`UPDATE pool_certificate SET revoked_at = $1 WHERE pool = $2 AND revoked_at IS NULL`,
			`UPDATE worker SET gone_at = $1, available_at = NULL WHERE pool = $2 AND gone_at IS NULL`,
		} {
			if _, err := tx.ExecContext(ctx, change, now, id); err != nil {
				return fmt.Errorf("delete pool: %w", err)
			}
		}
		tx.AfterCommit(func() { s.cutOff(id) })
		return s.record(ctx, tx, access.PoolDelete, p, EventPoolDeleted)
	})
	return p, err
}

// cutOff makes memory forget a pool's registrations after their commit.
func (s *Service) cutOff(pool string) {
	s.registry.forgetPool(pool)
	s.presence.forgetPool(pool)
}

func refuseAttached(ctx context.Context, q db.Queryer, p Pool, what string) error {
	rows, err := q.QueryContext(ctx, `SELECT slug FROM stack WHERE pool = $1 AND deleted_at IS NULL ORDER BY slug LIMIT 4`, p.ID)
	slugs, err := db.Collect(rows, err, func(r *sql.Rows) (slug string, err error) { return slug, r.Scan(&slug) })
	if err != nil {
		return fmt.Errorf("look for attached stacks: %w", err)
	}
	if len(slugs) == 0 {
		return nil
	}
	if len(slugs) > 3 {
		slugs[3] = "…"
	}
	return fault.New(fault.Conflict, "worker pool %q cannot be %s while stacks are attached to it: %s", p.Name, what, strings.Join(slugs, ", ")).Named("pool_attached").
		WithHint("attach them to another pool or delete them")
}

func refuseRunning(ctx context.Context, q db.Queryer, p Pool) error {
	var run string
	err := q.QueryRowContext(ctx, `SELECT run FROM attempt WHERE pool = $1 AND live
		UNION ALL SELECT id FROM run WHERE pool = $1 AND state IN ('READY', 'CONFIRMED', 'REPLAN_REQUESTED', 'UNCONFIRMED') LIMIT 1`, p.ID).Scan(&run)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for runs of the pool: %w", err)
	}
	return fault.New(fault.Conflict, "worker pool %q cannot be deleted while it has runs that have not ended: %s", p.Name, run).Named("pool_running").
		WithHint("wait for them, or stop or discard them")
}

// record writes the audit row and the event of a change.
func (s *Service) record(ctx context.Context, tx *db.Tx, action access.Action, p Pool, kind string) error {
	if err := s.o.Audit.Record(ctx, tx, action, p.ID, p.Space, map[string]string{"name": p.Name}); err != nil {
		return err
	}
	return s.o.Events.Append(ctx, tx, event.Event{Kind: kind, Subject: p.ID, Data: map[string]string{"pool": p.ID}})
}

func (s *Service) counted(ctx context.Context, p Pool) (Pool, error) {
	one := []Pool{p}
	err := s.count(ctx, s.o.DB.Read(), one)
	return one[0], err
}

// Get returns a pool with its counters.
func (s *Service) Get(ctx context.Context, id string) (Pool, error) {
	p, err := s.locate(ctx, s.o.DB.Read(), access.PoolRead, id)
	if err != nil {
		return Pool{}, err
	}
	return s.counted(ctx, p)
}

// List returns all pools that the caller may read, by name, with their counters.
func (s *Service) List(ctx context.Context) ([]Pool, error) {
	if err := s.o.Auth.RequireAnywhere(ctx, access.PoolRead); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.Read().QueryContext(ctx, `SELECT `+poolColumns+` FROM pool WHERE deleted_at IS NULL ORDER BY name`)
	all, err := db.Collect(rows, err, func(r *sql.Rows) (Pool, error) { return scanPool(r.Scan) })
	if err != nil {
		return nil, fmt.Errorf("list pools: %w", err)
	}
	all = slices.DeleteFunc(all, func(p Pool) bool { return !s.o.Auth.Allowed(ctx, access.PoolRead, p.Space) })
	return all, s.count(ctx, s.o.DB.Read(), all)
}
