package pool

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Nonce returns a nonce for one registration, and how long it is good for.
func (s *Service) Nonce() (string, time.Duration) { return s.nonces.give(), s.o.NonceFor }

// Register checks a registration and makes or renews the worker it is for.
//
// The order matters. The certificate must be one that the database lists as
// active; only then is the signature worth checking; and only what is signed may
// use up a nonce. What the registration says of pool and key is believed nowhere
// before that.
func (s *Service) Register(ctx context.Context, jws string) (wire.RegisterAnswer, error) {
	peek, err := seal.PeekRegistration(jws)
	if err != nil {
		return wire.RegisterAnswer{}, err
	}
	cert, err := readCertificate(ctx, s.o.DB.Read(), peek.Certificate)
	if err != nil {
		return wire.RegisterAnswer{}, err
	}
	claims, err := seal.ParseRegistration(jws, cert.parsed)
	if err != nil {
		return wire.RegisterAnswer{}, err
	}
	if err := claims.Check(s.o.Origin, cert.pool, claims.Nonce); err != nil {
		return wire.RegisterAnswer{}, err
	}
	if err := compatible(claims.Version, s.o.Version); err != nil {
		return wire.RegisterAnswer{}, err
	}
	if claims.Session <= 0 {
		return wire.RegisterAnswer{}, fault.New(fault.Invalid, "the registration has no session number").Named("registration_session")
	}
	if !s.nonces.take(claims.Nonce) {
		return wire.RegisterAnswer{}, fault.New(fault.Unauthenticated, "the registration's nonce was not given by this server, is too old, or has been used").Named("registration_nonce").
			WithHint("ask for a new nonce")
	}
	key, err := claims.WorkerKey()
	if err != nil {
		return wire.RegisterAnswer{}, err
	}
	id, err := s.enrol(ctx, cert, claims, key)
	if err != nil {
		return wire.RegisterAnswer{}, err
	}
	return s.answer(id, key)
}

// activeCertificate is a pool certificate that registrations may be signed for.
type activeCertificate struct {
	fingerprint string
	pool        string
	epoch       int64
	parsed      *x509.Certificate
}

func readCertificate(ctx context.Context, q db.Queryer, fingerprint string) (activeCertificate, error) {
	c := activeCertificate{fingerprint: fingerprint}
	var text string
	var revoked, deleted bool
	err := q.QueryRowContext(ctx, `SELECT c.pool, c.epoch, c.pem, c.revoked_at IS NOT NULL, p.deleted_at IS NOT NULL
		FROM pool_certificate c JOIN pool p ON p.id = c.pool WHERE c.fingerprint = $1`, fingerprint).
		Scan(&c.pool, &c.epoch, &text, &revoked, &deleted)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return c, fault.New(fault.Unauthenticated, "the pool's certificate was not issued by this installation").Named("registration_unknown").
			WithHint("check that the launcher's token is of this server")
	case err != nil:
		return c, fmt.Errorf("read pool certificate: %w", err)
	case deleted:
		return c, fault.New(fault.Unauthenticated, "the worker pool has been deleted").Named("pool_deleted")
	case revoked:
		return c, fault.New(fault.Unauthenticated, "the pool has been reset: its earlier certificate is no longer valid").Named("pool_reset").
			WithHint("give the launcher the pool's new token and key")
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return c, fmt.Errorf("read pool certificate %s: no PEM block", fingerprint)
	}
	if c.parsed, err = x509.ParseCertificate(block.Bytes); err != nil {
		return c, fmt.Errorf("read pool certificate %s: %w", fingerprint, err)
	}
	return c, nil
}

// enrol makes or renews the worker's row: one for each (pool, public key).
func (s *Service) enrol(ctx context.Context, cert activeCertificate, c *seal.Claims, key *ecdsa.PublicKey) (WorkerIdentity, error) {
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return WorkerIdentity{}, fmt.Errorf("encode worker key: %w", err)
	}
	metadata, keys, err := encodeClaims(c)
	if err != nil {
		return WorkerIdentity{}, err
	}
	id := WorkerIdentity{Pool: cert.pool, Session: c.Session}
	err = s.o.DB.Write(ctx, func(tx *db.Tx) error {
		// The certificate again: a reset may have come between.
		again, err := readCertificate(ctx, tx, cert.fingerprint)
		if err != nil {
			return err
		}
		id.Epoch = again.epoch
		before, err := findSession(ctx, tx, cert.pool, c.Worker)
		if err != nil {
			return err
		}
		if err := before.mayBecome(c, id.Epoch); err != nil {
			return err
		}
		id.Worker = before.worker
		if id.Worker == "" {
			id.Worker = s.o.NewID()
		}
		now := db.Micros(s.o.Now())
		// Drained stays as a person set it. A launcher that comes back has done
		// what a cycle asked. It is available from now on, unless it still holds
		// an attempt, whose end will say so.
		_, err = tx.ExecContext(ctx, `INSERT INTO worker (id, pool, public_key, spki, session, epoch, recipient, version, metadata, keys, created_at, registered_at, seen_at, available_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $11, $11)
			ON CONFLICT (pool, public_key) DO UPDATE SET spki = excluded.spki, session = excluded.session, epoch = excluded.epoch, recipient = excluded.recipient,
				version = excluded.version, metadata = excluded.metadata, keys = excluded.keys, cycle = FALSE, leaving = FALSE, unwell = '', hints = FALSE, skipped = FALSE,
				registered_at = excluded.registered_at, seen_at = excluded.seen_at, gone_at = NULL,
				available_at = CASE WHEN EXISTS (SELECT 1 FROM attempt a WHERE a.worker = worker.id AND a.live) THEN NULL ELSE excluded.available_at END`,
			id.Worker, id.Pool, c.Worker, spki, c.Session, id.Epoch, c.Recipient, c.Version, metadata, keys, now)
		if err != nil {
			return fmt.Errorf("store worker: %w", err)
		}
		tx.AfterCommit(func() {
			s.registry.forget(id.Worker)
			s.presence.register(id.Pool, id.Worker)
		})
		if err := s.audit(ctx, tx, "worker:register", id); err != nil {
			return err
		}
		if before.worker != "" && before.session != c.Session {
			if err := s.workerEvent(ctx, tx, EventWorkerGone, id.Pool, id.Worker); err != nil {
				return err
			}
		}
		return s.workerEvent(ctx, tx, EventWorkerChanged, id.Pool, id.Worker)
	})
	return id, err
}

func encodeClaims(c *seal.Claims) (metadata, keys string, err error) {
	if c.Metadata == nil {
		c.Metadata = map[string]string{}
	}
	if c.Keys == nil {
		c.Keys = []string{}
	}
	m, err := json.Marshal(c.Metadata)
	if err != nil {
		return "", "", fmt.Errorf("encode metadata: %w", err)
	}
	k, err := json.Marshal(c.Keys)
	if err != nil {
		return "", "", fmt.Errorf("encode keys: %w", err)
	}
	return string(m), string(k), nil
}

// known is the session that a worker key has registered with before.
type known struct {
	worker    string // empty if none
	session   int64
	epoch     int64
	recipient string
}

func findSession(ctx context.Context, q db.Queryer, pool, publicKey string) (known, error) {
	var k known
	err := q.QueryRowContext(ctx, `SELECT id, session, epoch, recipient FROM worker WHERE pool = $1 AND public_key = $2`, pool, publicKey).
		Scan(&k.worker, &k.session, &k.epoch, &k.recipient)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return k, fmt.Errorf("look for worker: %w", err)
	}
	return k, nil
}

// mayBecome refuses a session that is not newer. The same session may register
// again if its recipient is the same: that key lives in one process's memory, so
// it is that process, whose earlier answer was lost. A copy of the data directory
// has another recipient, and the one of the two that comes second is told so.
func (k known) mayBecome(c *seal.Claims, epoch int64) error {
	if k.worker == "" || c.Session > k.session || (c.Session == k.session && c.Recipient == k.recipient && k.epoch == epoch) {
		return nil
	}
	return fault.New(fault.Conflict, "this worker has already registered with session %d, and session %d is not newer", k.session, c.Session).Named("session_superseded").
		WithHint("a copy of the data directory is in use elsewhere: the launcher makes a new key once idle")
}

// answer is what a registered worker works with.
func (s *Service) answer(id WorkerIdentity, key *ecdsa.PublicKey) (wire.RegisterAnswer, error) {
	certificate, err := s.o.Authority.WorkerCertificate(key, id.Worker, id.Pool)
	if err != nil {
		return wire.RegisterAnswer{}, fmt.Errorf("issue certificate of worker %s: %w", id.Worker, err)
	}
	bundle, err := s.o.Authority.Bundle(seal.Bundle{
		BrokerEndpoint: s.o.Endpoints.Broker,
		APIEndpoint:    s.o.Endpoints.API,
		ObjectOrigins:  s.o.Endpoints.ObjectOrigins,
	})
	if err != nil {
		return wire.RegisterAnswer{}, err
	}
	bearer := s.Bearer(id)
	return wire.RegisterAnswer{
		Worker: id.Worker, Pool: id.Pool, Session: id.Session,
		Certificate: certificate,
		Bearer:      bearer.Text, BearerForMs: bearer.For.Milliseconds(),
		Bundle: bundle.Bytes, BundleSig: bundle.Signature,
		Namespace: s.o.Namespace, PresenceMs: s.o.PresenceEvery.Milliseconds(),
	}, nil
}

// Renew gives a registered worker a fresh certificate, bearer and bundle.
func (s *Service) Renew(ctx context.Context, id WorkerIdentity) (wire.RegisterAnswer, error) {
	if id.Attempt != nil {
		return wire.RegisterAnswer{}, fault.New(fault.Forbidden, "the bearer of an attempt renews no registration")
	}
	var spki []byte
	if err := s.o.DB.Read().QueryRowContext(ctx, `SELECT spki FROM worker WHERE id = $1`, id.Worker).Scan(&spki); err != nil {
		return wire.RegisterAnswer{}, fmt.Errorf("read key of worker %s: %w", id.Worker, err)
	}
	pub, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return wire.RegisterAnswer{}, fmt.Errorf("read key of worker %s: %w", id.Worker, err)
	}
	key, ok := pub.(*ecdsa.PublicKey)
	if !ok {
		return wire.RegisterAnswer{}, fmt.Errorf("read key of worker %s: it is not an ECDSA key", id.Worker)
	}
	s.Seen(id.Worker)
	return s.answer(id, key)
}
