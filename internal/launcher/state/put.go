package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/client"
	"github.com/spaceport-iac/spaceport/internal/launcher/journal"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// none is how the wire says that there is no digest.
const none = "none"

func orEmpty(digest string) string {
	if digest == none {
		return ""
	}
	return digest
}

// put keeps a new state and has it delivered.
func (s *Server) put(ctx context.Context, id string, body func() (io.ReadCloser, error)) error {
	if s.o.Class != run.Write {
		return fault.New(fault.Forbidden, "a reading container may not write the state").Named("state_class")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, kept, err := s.o.Journal.Find(id)
	if err != nil {
		return err
	}
	if !kept {
		plain, err := readAll(body, client.MaxState)
		if err != nil {
			return err
		}
		if e, err = s.keep(id, plain); err != nil {
			return err
		}
	}
	answer, err := s.deliver(ctx, e)
	if err != nil {
		return err
	}
	if answer == nil {
		// Without contact: the journal answers. The next write builds on this one.
		s.move(e.Sequence, seal.StatementDigest(e.Statement))
		s.o.Say("The state was kept on the worker and will be delivered when the mothership can be reached")
	}
	return nil
}

// move notes what the next write builds on.
func (s *Server) move(sequence int64, statement string) {
	s.store.Sequence, s.store.Statement = sequence, statement
	if s.o.Moved != nil {
		s.o.Moved(s.store)
	}
}

// keep seals a state, signs what it is, and has both on disk.
func (s *Server) keep(id string, plain []byte) (journal.Entry, error) {
	recipients := append([]seal.Recipient{s.o.Key.Recipient()}, s.o.Recovery...)
	sealed, err := seal.SealBytes(plain, recipients...)
	if err != nil {
		return journal.Entry{}, err
	}
	digest := seal.Digest(sealed)
	statement, err := seal.Statement{
		Kind: seal.KindState, Origin: s.o.Origin, Pool: s.o.Pool, Signer: s.o.Key.Fingerprint(),
		Stack: s.o.Stack, Run: s.o.Ref.Run, Attempt: s.o.Ref.Attempt,
		Sequence: s.store.Sequence + 1, Previous: orEmpty(s.store.Statement),
		Ciphertext: digest, Size: int64(len(sealed)), Recipients: seal.Fingerprints(recipients), Core: s.o.Core,
	}.Marshal()
	if err != nil {
		return journal.Entry{}, err
	}
	signature, err := s.o.Key.SignStatement(statement)
	if err != nil {
		return journal.Entry{}, err
	}
	e := journal.Entry{
		ID: id, Ref: s.o.Ref, Order: s.store.Sequence + 1, Stack: s.o.Stack, Mode: s.store.Mode, Base: s.store.Sequence,
		Digest: digest, Sequence: s.store.Sequence + 1, Statement: statement, Signature: signature,
	}
	if err := s.o.Journal.Append(e, sealed); err != nil {
		return journal.Entry{}, fault.Wrap(err, fault.Internal, "the state cannot be kept on the worker's disk: %v", err).Named("journal")
	}
	return e, nil
}

// deliver sends an entry until it is acknowledged; nil means that the run has
// been without contact for too long.
func (s *Server) deliver(ctx context.Context, e journal.Entry) (*wire.StateAnswer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() {
		defer close(done)
		select {
		case <-ctx.Done():
		case <-s.o.Fenced:
			cancel()
		}
	}()
	answer, err := Deliver(ctx, s.o.Remote, s.o.Journal, s.o.keys(), e)
	if err != nil {
		select {
		case <-s.o.Fenced:
			return nil, nil
		default:
			return nil, err
		}
	}
	digest := seal.StatementDigest(e.Statement)
	if answer.Recovery {
		// It is safe, and for a person to decide about: the tool has done its part.
		s.o.Say(fmt.Sprintf("The state was stored as a recovery version and is not the current one: %s", answer.Reason))
		return &answer, nil
	}
	// The mark moves now that the write is current, and not when it was kept:
	// else a write that never arrives would lock the stack for good.
	if e.Mode == wire.StateSealed {
		if err := s.o.Marks.Advance(e.Stack, e.Sequence, digest); err != nil {
			return nil, err
		}
	}
	sequence := e.Sequence
	if answer.Sequence > 0 {
		sequence = answer.Sequence
	}
	s.move(sequence, digest)
	return &answer, nil
}

// Forget drops a write whose answer the worker has. Until then a restarted
// launcher sends it again, under the same write id, and gets the same answer.
func (s *Server) Forget(id string) error { return s.o.Journal.Done(id) }

// Deliver sends one entry of the journal until it is acknowledged. The journal
// keeps it: the caller forgets it.
func Deliver(ctx context.Context, r remote, j *journal.Journal, keys seal.PoolKeys, e journal.Entry) (wire.StateAnswer, error) {
	data, err := j.Sealed(e)
	if err != nil {
		return wire.StateAnswer{}, err
	}
	if seal.Digest(data) != e.Digest {
		return wire.StateAnswer{}, errors.New("a kept state write is damaged")
	}
	st := client.State{Mode: e.Mode, Sequence: e.Base, Digest: e.Digest}
	if e.Mode == wire.StateSealed {
		st.Statement, st.Signature = e.Statement, e.Signature
	} else {
		if data, err = seal.OpenBytes(data, keys.Identities()...); err != nil {
			return wire.StateAnswer{}, err
		}
		st.Digest = seal.Digest(data)
	}
	body := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	return r.PutState(ctx, e.ID, st, body, int64(len(data)))
}
