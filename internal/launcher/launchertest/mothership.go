// Package launchertest is a mothership for tests: the worker API and an object
// store over HTTP, in memory, with knobs to make it fail or lie. It is written
// from internal/wire and knows nothing of the real one.
package launchertest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Mothership is the fake. Its fields and hooks are guarded by Lock.
type Mothership struct {
	T      testing.TB
	Server *httptest.Server
	Token  *seal.Token
	Key    *seal.PoolKey
	KeyB64 string // as in SPACELIFT_POOL_PRIVATE_KEY
	JobKey ed25519.PrivateKey
	Terms  wire.Terms

	// Before, if set, may answer a call in the mothership's stead by a status
	// that is not 0.
	Before func(r *http.Request) (status int)
	// Prompt sends jobs with their assignments, which an older one does not.
	Prompt bool
	// After, if set, is called when a call has had its effect and before it is
	// answered; a status that is not 0 is answered instead.
	After func(r *http.Request) (status int)
	// Lie may change an answered job: its header before it is signed, the job
	// before it is sealed, the whole answer.
	Header func(*seal.JobHeader)
	Answer func(*wire.JobAnswer)

	at       Addresses
	mu       sync.Mutex
	root     *ecdsa.PrivateKey
	rootCert *x509.Certificate
	nonces   map[string]bool
	workers  map[string]*Worker // by key fingerprint
	runs     []*Run
	objects  map[string][]byte
	states   map[string]*State // by stack
	next     int
}

// Worker is a registered launcher.
type Worker struct {
	ID        string
	Session   int64
	Recipient string
	Gone      bool
	Leaving   bool
	Metadata  map[string]string
	Keys      []string // fingerprints of the pool keys that it holds
	Unwell    string
	Cycle     bool
}

// State is a stack's state and those that came too late.
type State struct {
	Sequence  int64
	Digest    string
	Body      []byte
	Statement []byte
	Signature []byte
	Mode      string
	Recovery  [][]byte
	Writes    map[string]wire.StateAnswer
	Digests   map[string]string // of the writes
	Lock      string
}

// Run is a run that is to be executed, and what became of it.
type Run struct {
	Job  wire.Job // a template: ids are filled in
	Park bool     // pause after a plan that has changes

	Ref       wire.AttemptRef
	Class     run.Class
	Version   int
	Worker    string
	Accepted  bool
	Container string
	Stop      *wire.Stop
	Over      bool
	Outcomes  []wire.Outcome
	Gone      []wire.GoneRequest
	Parked    *wire.ParkedRequest
	Beats     []int64
	Text      map[int][]byte
	Closes    map[int]wire.LogClose
	Phases    []run.Phase
}

var poolKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// New starts a mothership with one pool.
func New(t testing.TB) *Mothership {
	t.Helper()
	m := &Mothership{
		T: t, nonces: map[string]bool{}, workers: map[string]*Worker{}, objects: map[string][]byte{}, states: map[string]*State{},
		Terms: wire.Terms{BeatMs: 50, AckWithinMs: 10_000, FenceMs: 300_000, GraceMs: 2000, SlackMs: 30_000, RetryCapMs: 50},
	}
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	var err error
	m.root, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, m.root.Public(), m.root)
	must(err)
	m.rootCert, err = x509.ParseCertificate(der)
	must(err)
	_, m.JobKey, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	m.Token = &seal.Token{Origin: "01ORIGIN", Pool: "01POOL", Roots: [][]byte{der}}
	m.Server = httptest.NewServer(m.routes())
	t.Cleanup(m.Server.Close)
	m.at = Addresses{API: m.Server.URL, Objects: m.Server.URL, Broker: "tls://127.0.0.1:1"}
	m.Rekey(poolKey())
	return m
}

// Rekey gives the pool another key, and makes certificate and token anew.
func (m *Mothership) Rekey(private *rsa.PrivateKey) {
	m.T.Helper()
	must := func(err error) {
		if err != nil {
			m.T.Helper()
			m.T.Fatal(err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	m.Key, err = seal.NewPoolKey(private)
	must(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	must(err)
	m.KeyB64 = base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	poolDER, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "pool"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}, m.rootCert, private.Public(), m.root)
	must(err)
	m.Token.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: poolDER}))
	m.retoken()
}

// Addresses are what a mothership tells its launchers: where its parts are.
type Addresses struct {
	API, Objects string // https://host[:port]
	Broker       string // tls://host:port
}

// Move says that the mothership is to be found elsewhere, which is for the test to
// make true, and makes the token anew. Call it before there are launchers.
func (m *Mothership) Move(to Addresses) {
	m.T.Helper()
	m.at = to
	m.retoken()
}

func (m *Mothership) retoken() {
	m.T.Helper()
	t := *m.Token
	t.API.Endpoint, t.Broker.Endpoint = m.at.API, m.at.Broker
	token, err := seal.NewToken(t)
	if err != nil {
		m.T.Fatal(err)
	}
	m.Token = token
}

// Root is the installation's root certificate, which signs those of workers.
func (m *Mothership) Root() *x509.Certificate { return m.rootCert }

// Enqueue adds a run. What its job leaves out is filled in.
func (m *Mothership) Enqueue(r *Run) *Run {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	j := &r.Job
	fill(&j.Run, id(m.next))
	fill(&j.Stack.ID, "01HSTACK000000000000000000")
	fill(&j.Stack.Slug, "stack")
	fill(&j.Store.Mode, wire.StateManaged)
	fill(&j.Store.Digest, "none")
	fill(&j.Store.Statement, "none")
	fill(&j.Vendor.Name, "custom")
	if j.Type == "" {
		j.Type = run.Task
	}
	if j.Phases == nil {
		for _, p := range run.Phases(j.Type, j.SkipInit) {
			j.Phases = append(j.Phases, string(p))
		}
	}
	if r.Class == "" {
		r.Class = run.Phase(j.Phases[0]).Class()
		if j.SkipInit {
			r.Class = run.Write
		}
	}
	if r.Ref.Run == "" {
		r.Ref = wire.AttemptRef{Run: j.Run, Attempt: 1}
	}
	if r.Version == 0 {
		r.Version = 3
	}
	r.Text, r.Closes = map[int][]byte{}, map[int]wire.LogClose{}
	if j.State == "" {
		j.State = run.Preparing
	}
	m.runs = append(m.runs, r)
	return r
}

func fill(s *string, v string) {
	if *s == "" {
		*s = v
	}
}

func id(n int) string {
	const digits = "0123456789"
	return "01HRUN00000000000000000" + string([]byte{digits[n/100%10], digits[n/10%10], digits[n%10]})
}

// With runs f while the mothership stands still.
func (m *Mothership) With(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// Lost gives a run to nobody: its attempt is over, as after a loss.
func (m *Mothership) Lost(r *Run) { m.With(func() { r.Over = true }) }

// State returns a stack's state, made if there is none.
func (m *Mothership) State(stack string) *State {
	st := m.states[stack]
	if st == nil {
		st = &State{Digest: "none", Writes: map[string]wire.StateAnswer{}, Digests: map[string]string{}}
		m.states[stack] = st
	}
	return st
}

// Objects returns what is in the object store, by key.
func (m *Mothership) Objects() map[string][]byte { return m.objects }

// Workers returns the registered workers.
func (m *Mothership) Workers() map[string]*Worker { return m.workers }

// Runs returns all runs, in order.
func (m *Mothership) Runs() []*Run { return m.runs }
