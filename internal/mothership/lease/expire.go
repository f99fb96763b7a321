package lease

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/run"
)

// Expire discards the runs that nobody confirmed in time and removes the
// workspaces that no run can go on from any more. It is called now and then. What
// fails is told and holds nothing else up.
func (s *Service) Expire(ctx context.Context) error {
	before := db.Micros(s.o.Now().Add(-s.o.Terms.ParkedFor))
	old, err := list(ctx, s.o.DB.Read(), `SELECT id FROM run WHERE state = 'UNCONFIRMED' AND state_at < $1 ORDER BY state_at LIMIT 100`, before)
	errs := []error{err}
	for _, id := range old {
		errs = append(errs, s.expire(ctx, id))
	}
	return errors.Join(append(errs, s.remove(ctx), s.removeUploads(ctx))...)
}

func (s *Service) expire(ctx context.Context, id string) error {
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		r, err := runs.Load(ctx, tx, id)
		if err != nil || r.State != run.Unconfirmed {
			return err
		}
		note := fmt.Sprintf("nobody confirmed it within %s", days(s.o.Terms.ParkedFor))
		if err := s.o.Mover.Move(ctx, tx, r, run.Discarded, run.Scheduler, runs.Mothership, note); err != nil {
			return err
		}
		return s.o.Queue.Stack(ctx, tx, r.Stack)
	})
	if err != nil {
		return fmt.Errorf("expire run %s: %w", id, err)
	}
	return nil
}

func days(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	return d.String()
}

// remove deletes the parked workspaces of ended runs.
func (s *Service) remove(ctx context.Context) error {
	objects, err := list(ctx, s.o.DB.Read(), `SELECT p.object FROM parked p JOIN run r ON r.id = p.run WHERE p.removed_at IS NULL
		AND r.state IN ('FINISHED', 'FAILED', 'DISCARDED', 'CANCELED', 'STOPPED', 'SKIPPED') LIMIT 1000`)
	errs := []error{err}
	now := db.Micros(s.o.Now())
	for _, object := range objects {
		errs = append(errs, s.removeObject(ctx, object, `UPDATE parked SET removed_at = $2 WHERE object = $1`, now))
	}
	return errors.Join(errs...)
}

// removeUploads deletes what attempts were asked to upload and did not park. That
// is done only when the last URL for it has expired: an upload could come after
// its removal.
func (s *Service) removeUploads(ctx context.Context) error {
	before := db.Micros(s.o.Now().Add(-uploadFor - time.Minute))
	objects, err := list(ctx, s.o.DB.Read(), `SELECT u.object FROM upload u JOIN attempt a ON a.run = u.run AND a.attempt = u.attempt
		WHERE NOT a.live AND a.ended_at < $1 LIMIT 1000`, before)
	errs := []error{err}
	for _, object := range objects {
		errs = append(errs, s.removeObject(ctx, object, `DELETE FROM upload WHERE object = $1`))
	}
	return errors.Join(errs...)
}

// removeObject deletes an object and then notes that with a statement.
func (s *Service) removeObject(ctx context.Context, object, statement string, args ...any) error {
	err := s.o.Blob.Delete(ctx, object)
	if err == nil {
		err = s.o.DB.Write(ctx, func(tx *db.Tx) error {
			_, err := tx.ExecContext(ctx, statement, append([]any{object}, args...)...)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("remove workspace %s: %w", object, err)
	}
	return nil
}

func list(ctx context.Context, q db.Queryer, query string, args ...any) ([]string, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	all, err := db.Collect(rows, err, func(rows *sql.Rows) (string, error) {
		var one string
		return one, rows.Scan(&one)
	})
	if err != nil {
		return nil, fmt.Errorf("list what has expired: %w", err)
	}
	return all, nil
}
