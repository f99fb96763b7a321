package statefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/audit"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Recovery is a state that came too late to become current, without its bytes.
type Recovery struct {
	ID       string
	Run      string
	Attempt  int64
	Mode     string
	Sequence int64  // the one it would have had
	Base     int64  // of the state that it was made from; 0: none
	Size     int64  // bytes as written
	Digest   string // sha256:<hex> of the same
	Reason   string // a sentence
	At       time.Time
}

// RecoveriesOfStack lists the recovery versions of a stack (a ULID), the newest
// first.
func (s *Service) RecoveriesOfStack(ctx context.Context, stack string) ([]Recovery, error) {
	return s.recoveries(ctx, stack, "")
}

// RecoveriesOfRun lists the recovery versions of a run of a stack (a ULID), the
// newest first.
func (s *Service) RecoveriesOfRun(ctx context.Context, stack, run string) ([]Recovery, error) {
	return s.recoveries(ctx, stack, run)
}

func (s *Service) recoveries(ctx context.Context, stack, run string) ([]Recovery, error) {
	var space string
	err := s.o.DB.Read().QueryRowContext(ctx, `SELECT space FROM stack WHERE id = $1`, stack).Scan(&space)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "there is no stack %q", stack)
	} else if err != nil {
		return nil, fmt.Errorf("look up space of stack %s: %w", stack, err)
	}
	if err := s.o.Access.Require(ctx, access.RunRead, space); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.Read().QueryContext(ctx, `SELECT id, run, attempt, mode, sequence, base, size, digest, reason, created_at FROM state
		WHERE stack = $1 AND recovery AND ($2 = '' OR run = $2) ORDER BY created_at DESC, id DESC`, stack, run)
	list, err := db.Collect(rows, err, func(rows *sql.Rows) (Recovery, error) {
		var (
			r  Recovery
			at int64
		)
		err := rows.Scan(&r.ID, &r.Run, &r.Attempt, &r.Mode, &r.Sequence, &r.Base, &r.Size, &r.Digest, &r.Reason, &at)
		r.At = db.Time(at)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("list recovery versions of stack %s: %w", stack, err)
	}
	return list, nil
}

// ExportOptions are what Export works with. All are needed.
type ExportOptions struct {
	DB      *db.DB
	Objects getter
	Vault   opener
	Now     func() time.Time
	NewID   func() string
}

// Export returns the bytes of a managed state, current or not, by its id. It is for
// a command on the server's host, and so asks for no permission: whoever can read
// the key file and the database can open all of it anyway. The audit trail says that
// it was done. A sealed state is refused (unsupported.state_sealed): the mothership
// has no key for it.
func Export(ctx context.Context, o ExportOptions, id string) ([]byte, error) {
	var stack, space string
	st := State{id: id}
	err := o.DB.Read().QueryRowContext(ctx, `SELECT state.mode, state.sequence, state.object, stack.id, stack.space
		FROM state JOIN stack ON stack.id = state.stack WHERE state.id = $1`, id).Scan(&st.Mode, &st.Sequence, &st.object, &stack, &space)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "there is no state %q", id).
			WithHint("ids are in the API's recoveryVersions, and in the database as docs/recovery.md shows")
	} else if err != nil {
		return nil, fmt.Errorf("look up state %s: %w", id, err)
	}
	if st.Mode == wire.StateSealed {
		return nil, fault.New(fault.Unsupported, "the state %s is sealed: only the pool's key and the recovery keys open it", id).Named("state_sealed").
			WithHint("open it with age, as docs/recovery.md shows")
	}
	data, err := read(ctx, o.Objects, o.Vault, st)
	if err != nil {
		return nil, fmt.Errorf("state %s: %w", id, err)
	}
	auditor, err := audit.New(audit.Options{Now: o.Now, NewID: o.NewID})
	if err != nil {
		return nil, err
	}
	ctx = access.With(ctx, access.System("command line"))
	err = o.DB.Write(ctx, func(tx *db.Tx) error {
		return auditor.Record(ctx, tx, access.StateRead, id, space, map[string]string{"stack": stack})
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}
