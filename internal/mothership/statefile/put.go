package statefile

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/blob"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Write is a state as a launcher delivers it.
type Write struct {
	ID        string // of this write: repeats carry the same
	Base      int64  // sequence of the state that it replaces; 0: none
	Digest    string // sha256:<hex> of the body
	Mode      string // empty: the stack's
	Statement []byte // exact bytes; needed in sealed mode
	Signature []byte
}

// Put stores a state. Repeating a write with its id gives the same answer. What
// may not become current is kept as a recovery version, and the answer says why.
func (s *Service) Put(ctx context.Context, c Caller, w Write, body io.Reader) (wire.StateAnswer, error) {
	if w.ID == "" || len(w.ID) > 128 || w.Base < 0 {
		return wire.StateAnswer{}, fault.New(fault.Invalid, "a state write needs an id of at most 128 bytes and the sequence that it replaces")
	}
	a, err := s.attempt(ctx, s.o.DB.Read(), c)
	if err != nil {
		return wire.StateAnswer{}, err
	}
	// Only a container that was allowed to write can have made a state. An attempt
	// that is over may deliver what it still has, one that reads never has any.
	if a.class != run.Write || !a.wrote {
		return wire.StateAnswer{}, fault.New(fault.Forbidden, "attempt %d of run %s may not write a state", c.Attempt, c.Run)
	}
	if w.Mode != "" && w.Mode != a.mode {
		return wire.StateAnswer{}, fault.New(fault.Conflict, "the state was sent as %s, but the stack's mode is %s", w.Mode, a.mode)
	}
	if answer, ok, err := repeated(ctx, s.o.DB.Read(), c, w); err != nil || ok {
		return answer, err
	}
	data, err := readAll(body, w.Digest)
	if err != nil {
		return wire.StateAnswer{}, err
	}
	statement, err := s.checkStatement(ctx, c, a, w, int64(len(data)))
	if err != nil {
		return wire.StateAnswer{}, err
	}
	id := s.o.NewID()
	object := "states/" + a.stack + "/" + id
	stored := data
	if a.mode == wire.StateManaged {
		if stored, err = s.o.Vault.Wrap(ctx, purpose(id), data); err != nil {
			return wire.StateAnswer{}, fmt.Errorf("wrap state of run %s: %w", c.Run, err)
		}
	}
	// The bytes must survive a power cut before the row that names them exists.
	if err := s.o.Blob.Put(ctx, object, bytes.NewReader(stored), blob.Durable); err != nil {
		return wire.StateAnswer{}, fmt.Errorf("store state of run %s: %w", c.Run, err)
	}
	row := row{id: id, object: object, size: int64(len(data)), write: w, statement: statement}
	answer, kept, err := s.record(ctx, c, row)
	if err != nil || !kept {
		s.abandon(context.WithoutCancel(ctx), object)
	}
	return answer, err
}

// abandon removes an object whose row was not written: a retry that raced with it
// was first, or the database refused. A commit that failed may have happened all
// the same, and a row without its state would be the worst of all: what cannot be
// known to belong to nothing stays.
func (s *Service) abandon(ctx context.Context, object string) {
	var kept bool
	err := s.o.DB.Read().QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM state WHERE object = $1)`, object).Scan(&kept)
	if err != nil || kept {
		return
	}
	_ = s.o.Blob.Delete(ctx, object) // an object too many harms nobody
}

// repeated answers a write that has been stored before.
func repeated(ctx context.Context, q db.Queryer, c Caller, w Write) (wire.StateAnswer, bool, error) {
	var (
		answer wire.StateAnswer
		digest string
	)
	err := q.QueryRowContext(ctx, `SELECT sequence, recovery, reason, digest FROM state WHERE run = $1 AND write_id = $2`, c.Run, w.ID).
		Scan(&answer.Sequence, &answer.Recovery, &answer.Reason, &digest)
	if errors.Is(err, sql.ErrNoRows) {
		return answer, false, nil
	}
	if err != nil {
		return answer, false, fmt.Errorf("look up state write %s of run %s: %w", w.ID, c.Run, err)
	}
	if digest != w.Digest {
		return wire.StateAnswer{}, false, fault.New(fault.Conflict, "state write %q of run %s was stored with other bytes", w.ID, c.Run)
	}
	return answer, true, nil
}

func readAll(body io.Reader, digest string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, MaxSize+1))
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the state did not arrive whole")
	}
	if len(data) > MaxSize {
		return nil, fault.New(fault.Invalid, "the state is larger than %d bytes", MaxSize)
	}
	sum := sha256.Sum256(data)
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != digest {
		return nil, fault.New(fault.Invalid, "the state's digest is %s, not %s as announced", got, digest)
	}
	return data, nil
}

// checkStatement compares a statement with what the mothership knows. Launchers
// trust their own keys alone; this check keeps a blob that none would open, or
// that belongs elsewhere, from becoming current at all.
func (s *Service) checkStatement(ctx context.Context, c Caller, a attempt, w Write, size int64) (*seal.Statement, error) {
	if len(w.Statement) == 0 {
		if a.mode == wire.StateSealed {
			return nil, fault.New(fault.Invalid, "a sealed state needs its statement and signature").Named("seal_statement")
		}
		return nil, nil
	}
	statement, err := Verify(ctx, s.o.DB.Read(), a.pool, w.Statement, w.Signature)
	if err != nil {
		return nil, err
	}
	sequence := w.Base + 1
	want := seal.Expectation{
		Kind: seal.KindState, Origin: s.o.Origin, Pool: a.pool, Stack: a.stack,
		Run: &c.Run, Attempt: &c.Attempt, Sequence: &sequence,
	}
	if a.mode == wire.StateSealed {
		// In managed mode the statement speaks of the launcher's sealed journal
		// entry, and the body is what was inside.
		want.Ciphertext, want.Size = &w.Digest, &size
	}
	return statement, statement.Check(want)
}

// Verify parses a statement that one of the pool's keys, current or earlier, has
// signed.
func Verify(ctx context.Context, q db.Queryer, pool string, statement, signature []byte) (*seal.Statement, error) {
	rows, err := q.QueryContext(ctx, `SELECT pem FROM pool_certificate WHERE pool = $1`, pool)
	pems, err := db.Collect(rows, err, func(rows *sql.Rows) (string, error) {
		var text string
		return text, rows.Scan(&text)
	})
	if err != nil {
		return nil, fmt.Errorf("list keys of pool %s: %w", pool, err)
	}
	for _, text := range pems {
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		key, ok := certificate.PublicKey.(*rsa.PublicKey)
		if ok && seal.VerifyStatement(key, statement, signature) == nil {
			return seal.ParseStatement(statement)
		}
	}
	return nil, fault.New(fault.Invalid, "the statement was not signed by a key of pool %s", pool).Named("seal_signature")
}

// row is a state on its way into the database.
type row struct {
	id, object string
	size       int64
	write      Write
	statement  *seal.Statement
}

// record decides in one transaction whether the write becomes current and stores
// it. kept is false if the same write had been stored before.
func (s *Service) record(ctx context.Context, c Caller, r row) (answer wire.StateAnswer, kept bool, err error) {
	err = s.o.DB.Write(ctx, func(tx *db.Tx) error {
		var repeat bool
		if answer, repeat, err = repeated(ctx, tx, c, r.write); err != nil || repeat {
			return err
		}
		a, err := s.attempt(ctx, tx, c)
		if err != nil {
			return err
		}
		current, err := s.Current(ctx, tx, a.stack)
		if err != nil {
			return err
		}
		answer.Sequence = current.Sequence + 1
		if answer.Reason, err = s.tooLate(ctx, tx, c, a, r, current); err != nil {
			return err
		}
		if answer.Recovery = answer.Reason != ""; answer.Recovery {
			answer.Sequence = r.write.Base + 1
		}
		kept = true
		return s.insert(ctx, tx, c, a, r, answer)
	})
	if err != nil {
		return wire.StateAnswer{}, false, err
	}
	return answer, kept, nil
}

// tooLate says why a write cannot become current; "" if it can. An attempt that
// was lost still has its lock while the stack is in quarantine.
func (s *Service) tooLate(ctx context.Context, q db.Queryer, c Caller, a attempt, r row, current State) (string, error) {
	held, err := holder(ctx, q, a.stack)
	if err != nil {
		return "", err
	}
	switch {
	case held.run != c.Run || held.attempt != c.Attempt:
		return fmt.Sprintf("attempt %d of run %s no longer holds the stack's state lock", c.Attempt, c.Run), nil
	case r.write.Base != current.Sequence:
		return fmt.Sprintf("the state replaces version %d, but the current one is %d", r.write.Base, current.Sequence), nil
	case r.statement != nil && current.Mode == a.mode && orNone(r.statement.Previous) != current.StatementDigest:
		return "the state's statement does not follow that of the current one", nil
	}
	return "", nil
}

func orNone(digest string) string {
	if digest == "" {
		return None
	}
	return digest
}

func (s *Service) insert(ctx context.Context, tx *db.Tx, c Caller, a attempt, r row, answer wire.StateAnswer) error {
	digest, recipients := None, []string{}
	if r.statement != nil {
		digest = seal.StatementDigest(r.write.Statement)
		recipients = append(recipients, r.statement.Recipients...)
	}
	list, err := json.Marshal(recipients)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO state (id, stack, sequence, base, run, attempt, write_id, mode, object, digest, size,
		statement, signature, statement_digest, recipients, recovery, reason, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`,
		r.id, a.stack, answer.Sequence, r.write.Base, c.Run, c.Attempt, r.write.ID, a.mode, r.object, r.write.Digest, r.size,
		r.write.Statement, r.write.Signature, digest, string(list), answer.Recovery, answer.Reason, db.Micros(s.o.Now()))
	if err != nil {
		return fmt.Errorf("record state of run %s: %w", c.Run, err)
	}
	return nil
}
