// Package leasetest makes a small mothership for tests: real services on a real
// database, one pool, stacks and workers as a test asks for them, and a clock that
// moves only when it is told to.
package leasetest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/oklog/ulid/v2"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/audit"
	"github.com/spaceport-iac/spaceport/internal/mothership/authority"
	"github.com/spaceport-iac/spaceport/internal/mothership/blob"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/event"
	"github.com/spaceport-iac/spaceport/internal/mothership/lease"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/queue"
	"github.com/spaceport-iac/spaceport/internal/mothership/runlog"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/mothership/statefile"
	"github.com/spaceport-iac/spaceport/internal/mothership/vault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Origin and Pool are the ids of the world's installation and pool.
const (
	Origin = "spaceport-01TESTORIGIN"
	Pool   = "01POOL"
)

// Clock is wall and monotonic time under a test's control.
type Clock struct {
	mu   sync.Mutex
	wall time.Time
	mono time.Duration
}

// Now is the wall clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

// Mono is the monotonic clock's time.
func (c *Clock) Mono() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mono
}

// Advance moves both clocks.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.mono = c.wall.Add(d), c.mono+d
}

// Jump sets the wall clock off, as a person or NTP does.
func (c *Clock) Jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}

// Hints records hints, and says which workers can be hinted.
type Hints struct {
	mu   sync.Mutex
	deaf map[string]bool
	sent []string
}

// Live reports whether the worker can be hinted; all can but for Deafen.
func (h *Hints) Live(worker string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.deaf[worker]
}

// Hint records a hint.
func (h *Hints) Hint(_, worker string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sent = append(h.sent, worker)
}

// Deafen takes the worker's hint channel away.
func (h *Hints) Deafen(worker string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deaf[worker] = true
}

// Sent lists the workers that were hinted, in order.
func (h *Hints) Sent() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.sent...)
}

// World is a mothership.
type World struct {
	T      testing.TB
	Dir    string
	Clock  *Clock
	Hints  *Hints
	DB     *db.DB
	Events *event.Log
	Audit  *audit.Writer
	Blob   *blob.Local
	Stacks *stack.Service
	Pools  *pool.Service
	Mover  *runs.Mover
	Queue  *queue.Service
	State  *statefile.Service
	Logs   *runlog.Service
	Lease  *lease.Service
	Runs   *runs.Service
	Key    *rsa.PrivateKey // the pool's

	workers map[string]*age.X25519Identity
	count   int
}

// poolKey is made once: an RSA key takes longer than most tests.
var poolKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// root is a root of secrets that hides nothing.
type root struct{}

func (root) Encrypt(_ context.Context, plain []byte) ([]byte, error)  { return plain, nil }
func (root) Decrypt(_ context.Context, sealed []byte) ([]byte, error) { return sealed, nil }

// New makes a world with an empty pool.
func New(t testing.TB) *World {
	t.Helper()
	w := &World{
		T: t, Dir: t.TempDir(), Clock: &Clock{wall: time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC), mono: time.Hour},
		Hints: &Hints{deaf: map[string]bool{}}, workers: map[string]*age.X25519Identity{},
	}
	var err error
	w.Key, err = poolKey()
	w.must(err)
	w.must(os.MkdirAll(filepath.Join(w.Dir, "objects"), 0o700))
	w.Open()
	w.exec(`INSERT INTO space (id, name, created_at) VALUES ($1, $1, 1) ON CONFLICT DO NOTHING`, access.RootSpace)
	w.exec(`INSERT INTO pool (id, name, description, space, labels, epoch, token, created_at, updated_at)
		VALUES ($1, 'pool', '', $2, '[]', 1, $3, 1, 1)`, Pool, access.RootSpace, []byte{})
	certificate, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: Pool}, NotBefore: w.Clock.Now(), NotAfter: w.Clock.Now().Add(time.Hour),
	}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &w.Key.PublicKey, w.Key)
	w.must(err)
	w.exec(`INSERT INTO pool_certificate (fingerprint, pool, key, pem, epoch, created_at) VALUES ('sha256:00', $1, 'sha256:11', $2, 1, 1)`,
		Pool, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})))
	return w
}

// Open opens the database and makes all services anew, as a start of the
// mothership does.
func (w *World) Open() {
	w.T.Helper()
	ctx := context.Background()
	var err error
	w.DB, err = db.Open(ctx, filepath.Join(w.Dir, "spaceport.db"))
	w.must(err)
	d := w.DB
	w.T.Cleanup(func() { _ = d.Close() })
	quiet := slog.New(slog.DiscardHandler)
	now, mono, hints := w.Clock.Now, w.Clock.Mono, w.Hints
	w.Events = event.NewLog(now)
	w.Audit, err = audit.New(audit.Options{Now: now, NewID: w.ID})
	w.must(err)
	keeper, err := vault.Open(ctx, vault.Options{DB: d, Root: root{}})
	w.must(err)
	w.Blob, err = blob.NewLocal(blob.Options{
		Dir: filepath.Join(w.Dir, "objects"), Key: make([]byte, 32), BaseURL: "http://127.0.0.1:1983", Now: now,
	})
	w.must(err)
	store := w.Blob
	w.T.Cleanup(func() { _ = store.Close() })
	w.Stacks, err = stack.New(stack.Options{DB: d, Audit: w.Audit, Events: w.Events, Vault: keeper, Now: now, NewID: w.ID})
	w.must(err)
	ca, err := authority.Open(ctx, authority.Options{DB: d, Vault: keeper, Origin: Origin, Now: now})
	w.must(err)
	w.Pools, err = pool.New(ctx, pool.Options{
		DB: d, Audit: w.Audit, Events: w.Events, Vault: keeper, Authority: ca, Origin: Origin,
		Endpoints: pool.Endpoints{API: "http://127.0.0.1:1983", Broker: "tls://127.0.0.1:1984"},
		BearerKey: make([]byte, 32), Now: now, NewID: w.ID,
	})
	w.must(err)
	w.Mover, err = runs.NewMover(runs.MoverOptions{Events: w.Events, Stacks: w.Stacks, Now: now})
	w.must(err)
	w.Queue, err = queue.New(queue.Options{DB: d, Mover: w.Mover, Events: w.Events, Hints: hints, Now: now, Log: quiet})
	w.must(err)
	w.State, err = statefile.New(statefile.Options{
		DB: d, Blob: w.Blob, Vault: keeper, Access: access.Authorizer{}, Audit: w.Audit, Origin: Origin, Now: now, NewID: w.ID,
	})
	w.must(err)
	w.Logs, err = runlog.New(runlog.Options{DB: d, Blob: w.Blob, Access: access.Authorizer{}, Hint: hints.Hint, Now: now, Mono: mono})
	w.must(err)
	composer, err := runs.NewComposer(runs.ComposerOptions{
		Credential: func(context.Context, db.Queryer, stack.Stack) (*wire.SourceCredential, error) { return nil, nil },
		Stacks:     w.Stacks, Signer: ca, Blob: w.Blob, Origin: Origin, Account: "test",
		State: w.State.ForJob, LogURLs: func(r *runs.Run, attempt int64, version int) ([]wire.LogURL, error) {
			return w.Logs.ForJob(r.ID, attempt, version)
		},
	})
	w.must(err)
	w.Lease, err = lease.New(lease.Options{
		DB: d, Mover: w.Mover, Stacks: w.Stacks, Queue: w.Queue, Pool: w.Pools, Composer: composer, State: w.State, Logs: w.Logs,
		Blob: w.Blob, Hints: hints, Origin: Origin, Now: now, Mono: mono, NewID: w.ID, Log: quiet,
	})
	w.must(err)
	w.Runs, err = runs.New(runs.Options{
		DB: d, Access: access.Authorizer{}, Audit: w.Audit, Stacks: w.Stacks, Mover: w.Mover, Queue: w.Queue, Lease: w.Lease, Now: now, NewID: w.ID,
	})
	w.must(err)
}

// ID makes a ULID; later ones are greater.
func (w *World) ID() string {
	w.Clock.mu.Lock()
	defer w.Clock.mu.Unlock()
	w.count++
	var id ulid.ULID
	w.must(id.SetTime(uint64(w.Clock.wall.UnixMilli())))
	w.must(id.SetEntropy([]byte(fmt.Sprintf("%010d", w.count))))
	return id.String()
}

// Ctx is a context of an administrator.
func (w *World) Ctx() context.Context {
	return access.With(context.Background(), access.Principal{Kind: access.KindAdmin, ID: "ann", Name: "ann", Admin: true})
}

// Stack makes a stack; change may alter it and be nil.
func (w *World) Stack(name string, change func(*stack.Input)) stack.Stack {
	w.T.Helper()
	in := stack.Input{Name: name, Space: access.RootSpace, Pool: Pool, StateMode: wire.StateManaged, Settings: stack.Settings{
		Repository: "https://git.example/" + name, Branch: "main", Vendor: stack.Vendor{Name: stack.VendorTerraform},
	}}
	if change != nil {
		change(&in)
	}
	st, err := w.Stacks.Create(w.Ctx(), in)
	w.must(err)
	return st
}

// Worker makes an idle worker of the pool.
func (w *World) Worker(name string) pool.WorkerIdentity {
	w.T.Helper()
	id, err := age.GenerateX25519Identity()
	w.must(err)
	w.workers[name] = id
	keys, err := json.Marshal([]string{"sha256:pool"})
	w.must(err)
	now := db.Micros(w.Clock.Now())
	w.exec(`INSERT INTO worker (id, pool, public_key, session, epoch, recipient, version, metadata, keys, hints, created_at, registered_at, seen_at, available_at)
		VALUES ($1, $2, $1, 1, 1, $3, '', '{}', $4, TRUE, $5, $5, $5, $5)`, name, Pool, id.Recipient().String(), string(keys), now)
	return pool.WorkerIdentity{Pool: Pool, Worker: name, Session: 1, Epoch: 1}
}

// Identity is what a worker's session opens its jobs with.
func (w *World) Identity(worker string) age.Identity { return w.workers[worker] }

// Exec changes the database behind the services' backs.
func (w *World) Exec(query string, args ...any) {
	w.T.Helper()
	w.exec(query, args...)
}

func (w *World) exec(query string, args ...any) {
	w.T.Helper()
	w.must(w.DB.Write(context.Background(), func(tx *db.Tx) error {
		_, err := tx.ExecContext(context.Background(), query, args...)
		return err
	}))
}

// Scan reads one row.
func (w *World) Scan(query string, dest ...any) {
	w.T.Helper()
	w.must(w.DB.Read().QueryRowContext(context.Background(), query).Scan(dest...))
}

func (w *World) must(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}
