package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/blob"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/mothership/statefile"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// uploadFor is how long the URL for a workspace is good; asking again gives
// another one.
const uploadFor = time.Hour

// park asks for the workspace. The attempt stays live and the run stays PLANNING
// until it has been parked.
func (s *Service) park(ctx context.Context, tx *db.Tx, a *attempt, r *runs.Run) (wire.Decision, error) {
	order := wire.ParkOrder{Blob: "parked/" + a.stack + "/" + a.Run + "/" + s.o.NewID()}
	// Looked after from here on: whatever becomes of the attempt, what it uploads
	// must not lie in the store for ever.
	_, err := tx.ExecContext(ctx, `INSERT INTO upload (object, run, attempt) VALUES ($1, $2, $3)`, order.Blob, a.Run, a.Attempt)
	if err != nil {
		return wire.Decision{}, fmt.Errorf("note the upload of run %s: %w", a.Run, err)
	}
	err = tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(sequence), 0) + 1 FROM parked WHERE stack = $1`, a.stack).Scan(&order.Sequence)
	if err != nil {
		return wire.Decision{}, fmt.Errorf("number the workspace of run %s: %w", a.Run, err)
	}
	if order.Previous, err = runs.PreviousParked(ctx, tx, a.stack, order.Sequence); err != nil {
		return wire.Decision{}, err
	}
	return wire.Decision{Next: wire.NextPark, State: r.State, StateVersion: r.StateVersion, Park: &order}, nil
}

func (s *Service) uploadURL(object string) (string, error) {
	url, err := s.o.Blob.SignPut(object, uploadFor, MaxWorkspace, blob.Durable)
	if err != nil {
		return "", fmt.Errorf("sign upload URL: %w", err)
	}
	return url, nil
}

// Parked takes the statement of an uploaded workspace: the run waits for a person
// and the worker is free. A repeat is answered the same.
func (s *Service) Parked(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.ParkedRequest) (wire.Decision, error) {
	a, err := load(ctx, s.o.DB.Read(), c, ref)
	if err != nil {
		return wire.Decision{}, err
	}
	if d := a.decided.Parked; d != nil {
		return *d, nil
	}
	if !a.live {
		return wire.Decision{}, stale(ref)
	}
	statement, err := s.checkParked(ctx, a, req)
	if err != nil {
		return wire.Decision{}, err
	}
	// Looked for before the transaction, which spans no I/O.
	object, err := s.o.Blob.Get(ctx, req.Blob)
	if errors.Is(err, blob.ErrNotFound) {
		return wire.Decision{}, fault.New(fault.Conflict, "the workspace of run %s has not been uploaded", ref.Run)
	}
	if err != nil {
		return wire.Decision{}, fmt.Errorf("look for the workspace of run %s: %w", ref.Run, err)
	}
	if err := object.Close(); err != nil {
		return wire.Decision{}, fmt.Errorf("look for the workspace of run %s: %w", ref.Run, err)
	}
	var decision wire.Decision
	err = s.o.DB.Write(ctx, func(tx *db.Tx) error {
		a, err := load(ctx, tx, c, ref)
		if err != nil {
			return err
		}
		if d := a.decided.Parked; d != nil {
			decision = *d
			return nil
		}
		if !a.live {
			return stale(ref)
		}
		r, err := runs.Load(ctx, tx, ref.Run)
		if err != nil {
			return err
		}
		if a.stop != "" {
			decision, err = s.stopped(ctx, tx, a, r, wire.Outcome{}, "")
		} else {
			decision, err = s.unconfirmed(ctx, tx, a, r, req, statement)
		}
		if err != nil {
			return err
		}
		stored := decision
		a.decided.Parked = &stored
		return remember(ctx, tx, a)
	})
	if err != nil {
		return wire.Decision{}, err
	}
	s.o.Pool.Seen(c.Worker)
	return decision, nil
}

// checkParked compares the statement with what was ordered. Launchers verify it
// again by their own keys before they open anything; here it keeps a run from
// waiting for a workspace that none of them would open.
func (s *Service) checkParked(ctx context.Context, a *attempt, req wire.ParkedRequest) (*seal.Statement, error) {
	ordered := a.decided.Decision
	if ordered == nil || ordered.Park == nil || a.decided.Container != a.container {
		return nil, fault.New(fault.Conflict, "attempt %d of run %s was not asked for a workspace", a.Attempt, a.Run)
	}
	order := ordered.Park
	if req.Blob != order.Blob {
		return nil, fault.New(fault.Invalid, "the workspace was uploaded as %q, not as %q", req.Blob, order.Blob)
	}
	statement, err := statefile.Verify(ctx, s.o.DB.Read(), a.pool, req.Statement, req.Signature)
	if err != nil {
		return nil, err
	}
	previous := order.Previous
	if previous == statefile.None {
		previous = ""
	}
	return statement, statement.Check(seal.Expectation{
		Kind: seal.KindWorkspace, Origin: s.o.Origin, Pool: a.pool, Stack: a.stack, Run: &a.Run, Attempt: &a.Attempt,
		Sequence: &order.Sequence, Previous: &previous, Ciphertext: &req.Ciphertext, Size: &req.Size,
	})
}

// unconfirmed records the workspace and lets the run wait for a person, in tx.
func (s *Service) unconfirmed(ctx context.Context, tx *db.Tx, a *attempt, r *runs.Run, req wire.ParkedRequest, st *seal.Statement) (wire.Decision, error) {
	recipients, err := json.Marshal(append([]string{}, st.Recipients...))
	if err != nil {
		return wire.Decision{}, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO parked (run, stack, sequence, attempt, object, statement, signature, digest, ciphertext, size, recipients, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		a.Run, a.stack, st.Sequence, a.Attempt, req.Blob, req.Statement, req.Signature, seal.StatementDigest(req.Statement),
		req.Ciphertext, req.Size, string(recipients), db.Micros(s.o.Now()))
	if err != nil {
		return wire.Decision{}, fmt.Errorf("record workspace of run %s: %w", a.Run, err)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM upload WHERE object = $1`, req.Blob); err != nil {
		return wire.Decision{}, fmt.Errorf("record workspace of run %s: %w", a.Run, err)
	}
	if err := s.o.Mover.Move(ctx, tx, r, run.Unconfirmed, run.Worker, a.worker, ""); err != nil {
		return wire.Decision{}, err
	}
	if err := s.end(ctx, tx, a, "parked"); err != nil {
		return wire.Decision{}, err
	}
	return doneAs(r), s.goOn(ctx, tx, a)
}
