package runs

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

// Waiting returns the runs that wait for a worker of a pool, in the order in which
// they get one, as far as the caller may read them. limit bounds how many.
func (s *Service) Waiting(ctx context.Context, pool string, limit int) ([]*Run, error) {
	if err := s.o.Access.RequireAnywhere(ctx, access.RunRead); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.Read().QueryContext(ctx, `SELECT `+Columns+` FROM run r WHERE r.pool = $1
		AND r.state IN ('READY', 'CONFIRMED', 'REPLAN_REQUESTED') ORDER BY r.sort_key, r.id LIMIT $2`, pool, limit)
	all, err := db.Collect(rows, err, func(rows *sql.Rows) (*Run, error) { return Scan(rows) })
	if err != nil {
		return nil, fmt.Errorf("list runs that wait for pool %s: %w", pool, err)
	}
	var readable []*Run
	for _, r := range all {
		st, err := s.o.Stacks.Find(ctx, s.o.DB.Read(), r.Stack)
		if err != nil {
			return nil, err
		}
		if s.o.Access.Require(ctx, access.RunRead, st.Space) == nil {
			readable = append(readable, r)
		}
	}
	return readable, nil
}
