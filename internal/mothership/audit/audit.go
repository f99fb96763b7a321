package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

// Options are what a Writer works with.
type Options struct {
	Now   func() time.Time
	NewID func() string // a new ULID
}

// Writer writes audit rows.
type Writer struct {
	now   func() time.Time
	newID func() string
}

// New returns a writer, or an error if an option is missing.
func New(o Options) (*Writer, error) {
	if o.Now == nil || o.NewID == nil {
		return nil, errors.New("audit: Now and NewID are needed")
	}
	return &Writer{now: o.Now, newID: o.NewID}, nil
}

// Record writes a row in tx: the principal of ctx did action to subject (an id)
// in space. data says more and may be nil; it must not hold secrets.
func (w *Writer) Record(ctx context.Context, tx *db.Tx, action access.Action, subject, space string, data map[string]string) error {
	// An unknown actor is written down as such: a change without a principal
	// is what an auditor would want to see most.
	p, _ := access.From(ctx)
	if data == nil {
		data = map[string]string{}
	}
	encoded, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encode audit row of %s: %w", action, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO audit (id, at, actor, action, subject, space, remote, data)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		w.newID(), db.Micros(w.now()), p.Actor(), string(action), subject, space, p.Remote, string(encoded))
	if err != nil {
		return fmt.Errorf("write audit row of %s: %w", action, err)
	}
	return nil
}
