package space

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

// Space is a space.
type Space struct {
	ID          string
	Name        string
	Description string
	Parent      string // id, or empty
	Inherit     bool
	CreatedAt   time.Time
}

// Options are what a Service works with.
type Options struct {
	DB   *db.DB
	Auth access.Authorizer
}

// Service answers spaces. It is safe for concurrent use.
type Service struct{ o Options }

// New returns the service, or an error if an option is missing.
func New(o Options) (*Service, error) {
	if o.DB == nil {
		return nil, errors.New("space: DB is needed")
	}
	return &Service{o: o}, nil
}

const columns = `id, name, description, COALESCE(parent, ''), inherit, created_at`

// Get returns a space.
func (s *Service) Get(ctx context.Context, id string) (Space, error) {
	if err := s.o.Auth.Require(ctx, access.SpaceRead, id); err != nil {
		return Space{}, err
	}
	found, err := scan(s.o.DB.Read().QueryRowContext(ctx, `SELECT `+columns+` FROM space WHERE id = $1`, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Space{}, fault.New(fault.NotFound, "there is no space %q", id)
	}
	if err != nil {
		return Space{}, fmt.Errorf("read space %s: %w", id, err)
	}
	return found, nil
}

// List returns the spaces that the caller may read, by name.
func (s *Service) List(ctx context.Context) ([]Space, error) {
	if err := s.o.Auth.RequireAnywhere(ctx, access.SpaceRead); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.Read().QueryContext(ctx, `SELECT `+columns+` FROM space ORDER BY name, id`)
	all, err := db.Collect(rows, err, func(r *sql.Rows) (Space, error) { return scan(r.Scan) })
	if err != nil {
		return nil, fmt.Errorf("list spaces: %w", err)
	}
	var readable []Space
	for _, one := range all {
		if s.o.Auth.Allowed(ctx, access.SpaceRead, one.ID) {
			readable = append(readable, one)
		}
	}
	return readable, nil
}

func scan(into func(...any) error) (Space, error) {
	var s Space
	var created int64
	if err := into(&s.ID, &s.Name, &s.Description, &s.Parent, &s.Inherit, &created); err != nil {
		return Space{}, err
	}
	s.CreatedAt = db.Time(created)
	return s, nil
}
