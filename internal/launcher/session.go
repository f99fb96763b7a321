package launcher

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"filippo.io/age"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/attempt"
	"github.com/spaceport-iac/spaceport/internal/launcher/client"
	"github.com/spaceport-iac/spaceport/internal/launcher/hint"
	"github.com/spaceport-iac/spaceport/internal/launcher/sleep"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// session is a registration, and what came of it.
type session struct {
	attempt.Session
	recipient   string
	certificate *tls.Certificate
	answer      wire.RegisterAnswer
	bundle      *seal.Bundle
}

// present returns the session that attempts work with.
func (l *Launcher) present() attempt.Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session.Session
}

// register makes a session, new or the same once more, and tries until the
// mothership answers. Its faults are final: they need an operator.
func (l *Launcher) register(ctx context.Context, fresh bool) error {
	l.registering.Lock()
	defer l.registering.Unlock()
	return l.registerLocked(ctx, fresh)
}

func (l *Launcher) registerLocked(ctx context.Context, fresh bool) error {
	l.mu.Lock()
	s := l.session
	l.mu.Unlock()
	if fresh || s.Identity == nil {
		identity, err := age.GenerateX25519Identity()
		if err != nil {
			return err
		}
		number, err := l.id.NextSession()
		if err != nil {
			return err
		}
		// The identity is in memory alone: what was sealed to a session can be
		// opened by nobody once its process is gone.
		s = session{Session: attempt.Session{Number: number, Identity: identity, Bearer: &client.Bearer{}}, recipient: identity.Recipient().String()}
	}
	warned, pause := false, 200*time.Millisecond
	for {
		answer, err := l.registerOnce(ctx, s)
		if err == nil {
			return l.registered(s, answer)
		}
		if ctx.Err() != nil || !(fault.Is(err, fault.Unavailable) || code(err) == "invalid.registration_nonce") {
			return err
		}
		if !warned {
			warned = true
			l.o.Log.Warn("the mothership cannot be reached; the launcher tries until it can", "err", err)
		}
		if err := sleep.For(ctx, pause/2+rand.N(pause)); err != nil {
			return err
		}
		pause = min(2*pause, client.DefaultPauseCap)
	}
}

func (l *Launcher) registerOnce(ctx context.Context, s session) (wire.RegisterAnswer, error) {
	n, err := l.api.Nonce(ctx)
	if err != nil {
		return wire.RegisterAnswer{}, err
	}
	csr, err := l.id.CSR()
	if err != nil {
		return wire.RegisterAnswer{}, err
	}
	worker, err := l.id.Fingerprint()
	if err != nil {
		return wire.RegisterAnswer{}, err
	}
	jws, err := seal.SignRegistration(l.key, seal.Claims{
		Audience: l.token.Origin, Nonce: n.Nonce, Pool: l.token.Pool, Certificate: seal.Digest(l.token.PoolCertificate().Raw),
		CSR: csr, Recipient: s.recipient, Session: s.Number, Worker: worker, Version: l.o.Version,
		Metadata: l.o.Settings.Metadata, Keys: append(seal.PoolKeys{l.key}, l.earlier...).Fingerprints(), Machine: l.id.Machine(),
	})
	if err != nil {
		return wire.RegisterAnswer{}, err
	}
	return l.api.Register(ctx, jws)
}

// registered judges an answer and puts it in force.
func (l *Launcher) registered(s session, answer wire.RegisterAnswer) error {
	// Who speaks is decided by the roots of the launcher's own token alone.
	bundle, err := seal.OpenBundle(seal.SignedBundle{Bytes: answer.Bundle, Signature: answer.BundleSig}, l.token.RootPool(), l.token.Origin)
	if err != nil {
		return err
	}
	if answer.Pool != l.token.Pool || answer.Worker == "" {
		return fault.New(fault.Invalid, "the mothership registered the worker with another pool than the token's").Named("register_pool")
	}
	certificate, err := tls.X509KeyPair([]byte(answer.Certificate), l.id.KeyPEM())
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "the worker's certificate does not fit its key").Named("register_certificate")
	}
	if certificate.Leaf == nil {
		if certificate.Leaf, err = x509.ParseCertificate(certificate.Certificate[0]); err != nil {
			return fault.Wrap(err, fault.Invalid, "the worker's certificate cannot be read").Named("register_certificate")
		}
	}
	l.api.AllowOrigins(bundle.ObjectOrigins)
	s.Worker, s.JobKeys = answer.Worker, bundle.Keys()
	if answer.Session > s.Number {
		if err := l.id.KeepSession(answer.Session); err != nil {
			return err
		}
	}
	if answer.Session > 0 {
		s.Number = answer.Session
	}
	s.Bearer.Set(answer.Bearer, answer.BearerForMs, l.o.Now())
	s.certificate, s.answer, s.bundle = &certificate, answer, bundle
	l.mu.Lock()
	l.session = s
	l.mu.Unlock()
	l.o.Log.Info("registered", "worker", s.Worker, "pool", answer.Pool, "session", s.Number)
	return nil
}

// renew makes a new registration after one was refused; if that has happened
// meanwhile, it does nothing.
func (l *Launcher) renew(ctx context.Context, refused int64) error {
	before := l.present()
	l.registering.Lock()
	defer l.registering.Unlock()
	if now := l.present(); now.Number != refused || now.Bearer.Value() != before.Bearer.Value() {
		return nil
	}
	return l.registerLocked(ctx, false)
}

// keepCertificate renews certificate, bearer and bundle at a random point between
// half and two thirds of the certificate's life.
func (l *Launcher) keepCertificate(ctx context.Context) {
	for {
		l.mu.Lock()
		s := l.session
		l.mu.Unlock()
		life := s.certificate.Leaf.NotAfter.Sub(s.certificate.Leaf.NotBefore)
		wait := time.Until(s.certificate.Leaf.NotBefore.Add(life/2 + rand.N(life/6+1)))
		if sleep.For(ctx, max(wait, time.Minute)) != nil {
			return
		}
		answer, err := l.api.Renew(ctx, s.Bearer)
		if err == nil {
			err = l.registered(s, answer)
		}
		if err != nil && ctx.Err() == nil {
			if fault.Is(err, fault.Unauthenticated) {
				err = l.renew(ctx, s.Number)
			}
			if err != nil && ctx.Err() == nil {
				l.o.Log.Error("the worker's certificate cannot be renewed", "until", s.certificate.Leaf.NotAfter, "err", err)
			}
		}
	}
}

// listen keeps the hint channel of the present worker until ctx ends.
func (l *Launcher) listen(ctx context.Context) {
	l.mu.Lock()
	s := l.session
	l.mu.Unlock()
	endpoint := s.bundle.BrokerEndpoint
	if endpoint == "" {
		endpoint = l.token.Broker.Endpoint
	}
	c, err := hint.New(hint.Options{
		Endpoint: endpoint, Roots: l.roots(), Proxy: l.o.Settings.Proxy, Namespace: s.answer.Namespace, Pool: s.answer.Pool, Worker: s.Worker,
		Presence: time.Duration(s.answer.PresenceMs) * time.Millisecond, Look: l.again, Log: l.o.Log, Now: l.o.Now,
		Certificate: func() (*tls.Certificate, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.session.certificate, nil
		},
	})
	if err != nil {
		l.o.Log.Error("there will be no hints", "err", err)
		return
	}
	l.mu.Lock()
	l.hints = c
	l.mu.Unlock()
	if err := c.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		l.o.Log.Error("there will be no hints", "err", err)
	}
}

// roots are who may vouch for a server. Who may vouch for the mothership itself is
// another question, and the token's roots alone answer it.
func (l *Launcher) roots() []*x509.Certificate {
	return slices.Concat(l.token.RootPool(), l.o.Settings.Roots.Certificates())
}

func (l *Launcher) hinted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hints != nil && l.hints.Up()
}

// code returns the stable code of a fault, or "".
func code(err error) fault.Code {
	if f := fault.As(err); f != nil {
		return f.Code
	}
	return ""
}
