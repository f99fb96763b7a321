package apikey

import (
	"context"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/audit"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

// CreateOffline makes a key in the database itself, for a command on the server's
// host: whoever can write that file needs nobody's permission. A server may be
// running on the same file; it knows the key at once.
func CreateOffline(ctx context.Context, d *db.DB, now func() time.Time, newID func() string, in Input) (Created, error) {
	writer, err := audit.New(audit.Options{Now: now, NewID: newID})
	if err != nil {
		return Created{}, err
	}
	s, err := New(Options{DB: d, Audit: writer, Now: now, NewID: newID})
	if err != nil {
		return Created{}, err
	}
	return s.Create(access.With(ctx, access.System("command line")), in)
}
