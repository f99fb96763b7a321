package pool_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/oklog/ulid/v2"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/audit"
	"github.com/spaceport-iac/spaceport/internal/mothership/authority"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/event"
	"github.com/spaceport-iac/spaceport/internal/mothership/installation"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// world is a pool service on a real database, with a clock that a test moves.
type world struct {
	*pool.Service
	inst    *installation.Installation
	options pool.Options
	events  *event.Log

	mu   sync.Mutex
	now  time.Time
	told []event.Event
}

func newID() string { return ulid.Make().String() }

func setup(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Now()}
	var err error
	w.inst, err = installation.Open(t.Context(), t.TempDir(), installation.Options{Now: w.clock, NewID: newID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.inst.Close() })
	keys, err := authority.Open(t.Context(), authority.Options{DB: w.inst.DB, Vault: w.inst.Vault, Origin: w.inst.Origin, Now: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	writer, err := audit.New(audit.Options{Now: w.clock, NewID: newID})
	if err != nil {
		t.Fatal(err)
	}
	w.events = event.NewLog(w.clock)
	w.events.Listen(func(e event.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, e)
	})
	w.options = pool.Options{
		DB: w.inst.DB, Audit: writer, Events: w.events, Vault: w.inst.Vault, Authority: keys, Origin: w.inst.Origin,
		Endpoints: pool.Endpoints{API: "https://spaceport.example.com", Broker: "tls://spaceport.example.com:1984", ObjectOrigins: []string{"https://spaceport.example.com"}},
		BearerKey: keys.BearerKey(), Now: w.clock, NewID: newID, Version: "1.4.0",
	}
	w.restart(t)
	return w
}

// restart makes a new service on the same database, as a new process would.
func (w *world) restart(t *testing.T) {
	t.Helper()
	s, err := pool.New(t.Context(), w.options)
	if err != nil {
		t.Fatal(err)
	}
	w.Service = s
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// heard reports whether an event of this kind and subject was told since the last
// call, and forgets all.
func (w *world) heard(kind, subject string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := false
	for _, e := range w.told {
		found = found || (e.Kind == kind && e.Subject == subject)
	}
	w.told = nil
	return found
}

func (w *world) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	err := w.inst.DB.Write(context.Background(), func(tx *db.Tx) error {
		_, err := tx.ExecContext(context.Background(), query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) count(t *testing.T, query string, args ...any) int {
	t.Helper()
	var n int
	if err := w.inst.DB.Read().QueryRowContext(context.Background(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func as(role access.Role) context.Context {
	return access.With(context.Background(), access.Principal{Kind: access.KindAPIKey, ID: "K" + string(role), Roles: map[string]access.Role{"root": role}})
}

func admin() context.Context { return as(access.Admin) }

// keys are made once for all tests: RSA is slow.
var rsaKeys = sync.OnceValue(func() [2]*rsa.PrivateKey {
	var keys [2]*rsa.PrivateKey
	for i := range keys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[i] = key
	}
	return keys
})

func csrOf(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// customer is who made a pool: its key and the signing request.
type customer struct {
	key *seal.PoolKey
	csr string
}

func newCustomer(t *testing.T, n int) customer {
	t.Helper()
	private := rsaKeys()[n]
	key, err := seal.NewPoolKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return customer{key: key, csr: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csrOf(t, private)}))}
}

func (w *world) create(t *testing.T, c customer, name string) pool.Pool {
	t.Helper()
	p, err := w.Create(admin(), pool.Input{Name: name, CSR: c.csr})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// launcher registers as one would.
type launcher struct {
	c       customer
	token   *seal.Token
	key     *ecdsa.PrivateKey
	session *age.X25519Identity
	claims  seal.Claims
}

func newLauncher(t *testing.T, c customer, token string) *launcher {
	t.Helper()
	parsed, err := seal.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := &launcher{c: c, token: parsed, key: key}
	l.newSession(t, 1)
	return l
}

// newSession fills the claims as a fresh start of the launcher does.
func (l *launcher) newSession(t *testing.T, number int64) {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	fingerprint, err := seal.FingerprintOf(&l.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	l.session = identity
	l.claims = seal.Claims{
		Audience: l.token.Origin, Pool: l.token.Pool, Certificate: seal.Digest(l.token.PoolCertificate().Raw), CSR: csrOf(t, l.key),
		Recipient: identity.Recipient().String(), Session: number, Worker: fingerprint, Version: "1.4.2",
		Metadata: map[string]string{"instance_id": "i-1"}, Keys: []string{l.c.key.Fingerprint()},
	}
}

func (l *launcher) sign(t *testing.T, w *world) string {
	t.Helper()
	l.claims.Nonce, _ = w.Nonce()
	jws, err := seal.SignRegistration(l.c.key, l.claims)
	if err != nil {
		t.Fatal(err)
	}
	return jws
}

func (l *launcher) register(t *testing.T, w *world) wire.RegisterAnswer {
	t.Helper()
	answer, err := w.Register(context.Background(), l.sign(t, w))
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// hold gives the worker a live attempt of a run of its own stack.
func (w *world) hold(t *testing.T, poolID, worker, class string) (run string) {
	t.Helper()
	run, st := newID(), newID()
	w.exec(t, `INSERT INTO stack (id, slug, name, space, pool, settings, state_mode, state, created_at, updated_at) VALUES ($1, $2, 'x', 'root', NULL, '{}', 'managed', 'NONE', 1, 1)`, st, "s-"+st)
	w.exec(t, `INSERT INTO run (id, stack, type, blocking, state, state_version, state_at, branch, commit_data, title, pool, created_at, updated_at)
		VALUES ($1, $2, 'TRACKED', TRUE, 'PLANNING', 3, 1, 'main', '{}', 'x', $3, 1, 1)`, run, st, poolID)
	w.exec(t, fmt.Sprintf(`INSERT INTO attempt (run, attempt, stack, pool, worker, class, live, from_version, assigned_at) VALUES ($1, 1, $2, $3, $4, '%s', TRUE, 1, 1)`, class), run, st, poolID, worker)
	return run
}

func (w *world) worker(t *testing.T, id string) pool.Worker {
	t.Helper()
	found, err := w.Worker(context.Background(), w.inst.DB.Read(), id)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
