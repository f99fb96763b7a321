package pool

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/audit"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/event"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// keeper keeps tokens at rest; *vault.Keeper is one.
type keeper interface {
	Wrap(ctx context.Context, purpose string, plaintext []byte) ([]byte, error)
	Unwrap(ctx context.Context, purpose string, ciphertext []byte) ([]byte, error)
}

// authority issues certificates and bundles; *authority.Authority is one.
type authority interface {
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
	Authority authority
	Origin    string // the installation's id
	Endpoints Endpoints
	Namespace string // first segment of the MQTT topics; "spaceport" if empty
	// BearerKey authenticates bearers: 32 random bytes or more.
	BearerKey []byte
	Now       func() time.Time
	NewID     func() string // a new ULID
	Rand      io.Reader     // nil is the system's
	Version   string        // of this program, said in refusals

	// Durations; zero is the documented default.
	NonceFor  time.Duration // 2 min: a registration nonce
	BearerFor time.Duration // 10 min: a bearer
	// AttemptBearerFor is the life of an attempt's bearer: 30 min. It must be
	// longer than a launcher works on without contact (15 min).
	AttemptBearerFor time.Duration
	OfflineAfter     time.Duration // 75 s of silence
	PresenceEvery    time.Duration // 30 s: what launchers are told
	FlushEvery       time.Duration // 1 s
}

// Service answers and changes pools and workers. It is safe for concurrent use.
type Service struct{ o Options }

// New returns the service, or an error if an option is missing.
func New(ctx context.Context, o Options) (*Service, error) {
	return &Service{o: o}, nil
}

var errNotYet = errors.New("not built yet")

// Run flushes presence until ctx ends. The caller waits for it.
func (s *Service) Run(ctx context.Context) error { return errNotYet }

// Create makes a pool from a signing request. The answer has the token.
func (s *Service) Create(ctx context.Context, in Input) (Pool, error) { return Pool{}, errNotYet }

// Update changes a pool's name, description, space, labels and drift limit.
func (s *Service) Update(ctx context.Context, id string, in Input) (Pool, error) {
	return Pool{}, errNotYet
}

// Reset gives the pool a new certificate, epoch and token. All registrations end
// at once; running attempts keep their own bearers until they end.
func (s *Service) Reset(ctx context.Context, id, csr string) (Pool, error) { return Pool{}, errNotYet }

// Delete removes a pool. It is refused while stacks are attached or runs live.
func (s *Service) Delete(ctx context.Context, id string) (Pool, error) { return Pool{}, errNotYet }

// Get returns a pool with its counters.
func (s *Service) Get(ctx context.Context, id string) (Pool, error) { return Pool{}, errNotYet }

// List returns all pools that the caller may read, by name, with their counters.
func (s *Service) List(ctx context.Context) ([]Pool, error) { return nil, errNotYet }

// Token returns the pool's token byte for byte as it was issued, and "" for a
// caller who may read the pool but not update it.
func (s *Service) Token(ctx context.Context, id string) (string, error) { return "", errNotYet }

// Cycle asks every worker of the pool to leave once idle.
func (s *Service) Cycle(ctx context.Context, id string) error { return errNotYet }

// Workers lists the pool's workers that are listed, newest first. With all it
// also lists those that went offline, but not those that deregistered.
func (s *Service) Workers(ctx context.Context, pool string, all bool) ([]Worker, error) {
	return nil, errNotYet
}

// Drain sets whether a worker takes new runs, and returns it as it is then: its
// Busy is final, since assignment locks the same row and looks again.
func (s *Service) Drain(ctx context.Context, pool, worker string, drain bool) (Worker, error) {
	return Worker{}, errNotYet
}

// Worker returns a worker by its id, for the mothership's own parts; it asks for
// no permission.
func (s *Service) Worker(ctx context.Context, q db.Queryer, id string) (Worker, error) {
	return Worker{}, errNotYet
}

// Nonce returns a nonce for one registration, and how long it is good for.
func (s *Service) Nonce() (string, time.Duration) { return "", 0 }

// Register checks a registration and makes or renews the worker it is for.
func (s *Service) Register(ctx context.Context, jws string) (wire.RegisterAnswer, error) {
	return wire.RegisterAnswer{}, errNotYet
}

// Renew gives a registered worker a fresh certificate, bearer and bundle.
func (s *Service) Renew(ctx context.Context, id WorkerIdentity) (wire.RegisterAnswer, error) {
	return wire.RegisterAnswer{}, errNotYet
}

// Deregister ends the worker's registration, if session is still its newest.
func (s *Service) Deregister(ctx context.Context, id WorkerIdentity, session int64) error {
	return errNotYet
}

// Authenticate returns whom a bearer speaks for. Faults: unauthenticated for one
// that is none, has expired, or is of an older epoch; stale for one of an older
// session. It is on the hot path: it reads memory alone but for the first time.
func (s *Service) Authenticate(ctx context.Context, bearer string) (WorkerIdentity, error) {
	return WorkerIdentity{}, errNotYet
}

// Bearer issues a worker's bearer.
func (s *Service) Bearer(id WorkerIdentity) Bearer { return Bearer{} }

// AttemptBearer issues a bearer that is good for one attempt alone.
func (s *Service) AttemptBearer(id WorkerIdentity, a wire.AttemptRef) Bearer { return Bearer{} }

// Active reports whether a worker may hold a connection: registered, of the
// pool's epoch, and the pool not deleted. The broker asks at each connect.
func (s *Service) Active(ctx context.Context, pool, worker string) error { return errNotYet }

// Spoke records what a launcher says of itself with each orders request. It
// writes only what changed, and takes the mark that it did not accept away.
func (s *Service) Spoke(ctx context.Context, id WorkerIdentity, r Report) (Desired, error) {
	return Desired{}, errNotYet
}

// Seen records a sign of life, in memory.
func (s *Service) Seen(worker string) {}

// Online reports whether a worker has been heard of within a term.
func (s *Service) Online(worker string) bool { return false }
