package pool

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"log/slog"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/audit"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/event"
	"github.com/spaceport-iac/spaceport/internal/seal"
)

// keeper keeps tokens at rest; *vault.Keeper is one.
type keeper interface {
	Wrap(ctx context.Context, purpose string, plaintext []byte) ([]byte, error)
	Unwrap(ctx context.Context, purpose string, ciphertext []byte) ([]byte, error)
}

// issuer issues certificates and bundles; *authority.Authority is one.
type issuer interface {
	Roots() [][]byte
	PoolCertificate(pub *rsa.PublicKey, pool string, epoch int64) (*x509.Certificate, error)
	WorkerCertificate(pub *ecdsa.PublicKey, worker, pool string) (chainPEM string, err error)
	Bundle(e seal.Bundle) (seal.SignedBundle, error)
}

// Endpoints are the addresses under which launchers reach this installation.
type Endpoints struct {
	API           string   // https://host[:port], no path
	Broker        string   // tls://host:port
	ObjectOrigins []string // scheme://host[:port] of signed URLs
}

// Options are what a Service works with.
type Options struct {
	DB        *db.DB
	Auth      access.Authorizer
	Audit     *audit.Writer
	Events    *event.Log
	Vault     keeper
	Authority issuer
	Origin    string // the installation's id
	Endpoints Endpoints
	Namespace string // first segment of the MQTT topics; "spaceport" if empty
	// BearerKey authenticates bearers: 32 random bytes or more.
	BearerKey []byte
	Now       func() time.Time
	NewID     func() string // a new ULID
	Version   string        // of this program; what is no version works with all
	Log       *slog.Logger  // nil discards

	// Durations; zero is the documented default.
	NonceFor  time.Duration // 2 min: a registration nonce
	BearerFor time.Duration // 10 min: a bearer
	// AttemptBearerFor is the life of an attempt's bearer: 2 h, longer than a
	// container may run without an answer that renews it.
	AttemptBearerFor time.Duration
	OfflineAfter     time.Duration // 75 s of silence
	PresenceEvery    time.Duration // 30 s: what launchers are told
	FlushEvery       time.Duration // 1 s
}

// Service answers and changes pools and workers. It is safe for concurrent use.
type Service struct {
	o        Options
	nonces   *nonces
	registry *registry
	presence *presence
}

// New returns the service, or an error if an option is unusable.
func New(ctx context.Context, o Options) (*Service, error) {
	switch {
	case o.DB == nil || o.Audit == nil || o.Events == nil || o.Vault == nil || o.Authority == nil || o.Now == nil || o.NewID == nil:
		return nil, errors.New("pool: DB, Audit, Events, Vault, Authority, Now and NewID are needed")
	case o.Origin == "" || o.Endpoints.API == "" || o.Endpoints.Broker == "":
		return nil, errors.New("pool: Origin and the endpoints of API and broker are needed")
	case len(o.BearerKey) < 32:
		return nil, errors.New("pool: the bearer key has less than 32 bytes")
	}
	if o.Namespace == "" {
		o.Namespace = "spaceport"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.NonceFor, 2 * time.Minute},
		{&o.BearerFor, 10 * time.Minute},
		{&o.AttemptBearerFor, 2 * time.Hour},
		{&o.OfflineAfter, 75 * time.Second},
		{&o.PresenceEvery, 30 * time.Second},
		{&o.FlushEvery, time.Second},
	} {
		if *d.value < 0 {
			return nil, errors.New("pool: a duration is negative")
		}
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	p, err := loadPresence(ctx, o.DB.Read(), o.OfflineAfter, o.Now)
	if err != nil {
		return nil, err
	}
	return &Service{o: o, nonces: newNonces(o.NonceFor, o.Now), registry: newRegistry(o.DB.Read()), presence: p}, nil
}
