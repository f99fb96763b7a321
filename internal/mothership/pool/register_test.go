package pool_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func code(err error) fault.Code {
	if f := fault.As(err); f != nil {
		return f.Code
	}
	return ""
}

func TestALauncherRegistersAndGetsWhatItWorksWith(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	l := newLauncher(t, c, p.Token)
	a := l.register(t, w)
	id, err := w.Authenticate(context.Background(), a.Bearer)
	if err != nil || id != (pool.WorkerIdentity{Pool: p.ID, Worker: a.Worker, Session: 1, Epoch: 1}) {
		t.Fatalf("got %+v, %v", id, err)
	}
	bundle, err := seal.OpenBundle(seal.SignedBundle{Bytes: a.Bundle, Signature: a.BundleSig}, l.token.RootPool(), l.token.Origin)
	if err != nil || bundle.APIEndpoint != "https://spaceport.example.com" {
		t.Errorf("bundle: %+v, %v", bundle, err)
	}
	block, _ := pem.Decode([]byte(a.Certificate))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != a.Worker || len(cert.Subject.OrganizationalUnit) != 1 || cert.Subject.OrganizationalUnit[0] != p.ID || !l.key.PublicKey.Equal(cert.PublicKey.(*ecdsa.PublicKey)) {
		t.Errorf("certificate of %s", cert.Subject)
	}
	if a.Namespace != "spaceport" || a.BearerForMs != 600_000 || a.PresenceMs != 30_000 {
		t.Errorf("got %+v", a)
	}
	all, err := w.Workers(admin(), p.ID, false)
	if err != nil || len(all) != 1 || all[0].Status != pool.Idle || all[0].Metadata != `{"instance_id":"i-1"}` || all[0].AvailableAt == nil || all[0].Keys[0] != c.key.Fingerprint() {
		t.Errorf("got %+v, %v", all, err)
	}
	if !w.heard(pool.EventWorkerChanged, a.Worker) {
		t.Error("the queue was not told")
	}
	again, err := w.Renew(context.Background(), id)
	if err != nil || again.Worker != a.Worker || again.Session != 1 || again.Certificate == a.Certificate {
		t.Errorf("renewal: %+v, %v", again, err)
	}
}

func TestFiftyRestartsLeaveOneWorker(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	l := newLauncher(t, c, p.Token)
	id := l.register(t, w).Worker
	for n := int64(2); n <= 50; n++ {
		l.newSession(t, n)
		if got := l.register(t, w).Worker; got != id {
			t.Fatalf("restart %d made worker %s", n, got)
		}
	}
	if n := w.count(t, `SELECT COUNT(*) FROM worker`); n != 1 {
		t.Errorf("%d workers", n)
	}
}

func TestANewerSessionSupersedesTheOlder(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	l := newLauncher(t, c, p.Token)
	l.newSession(t, 5)
	old := l.register(t, w)
	if again := l.register(t, w); again.Worker != old.Worker {
		t.Error("a session whose answer was lost could not ask again")
	}
	w.heard("", "")
	l.newSession(t, 6)
	l.register(t, w)
	if !w.heard(pool.EventWorkerGone, old.Worker) {
		t.Error("nobody was told to cut the older session's connection")
	}
	if _, err := w.Authenticate(context.Background(), old.Bearer); code(err) != "stale.session" {
		t.Errorf("the older session's bearer: %v", err)
	}
	for _, number := range []int64{5, 6} { // a copy of the data directory: same number, own recipient
		l.newSession(t, number)
		if _, err := w.Register(context.Background(), l.sign(t, w)); code(err) != "conflict.session_superseded" {
			t.Errorf("session %d: %v", number, err)
		}
	}
}

func TestARegistrationIsRefused(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	other := w.create(t, newCustomer(t, 1), "other")
	foreign := setup(t)
	theirs := foreign.create(t, c, "payments")
	otherCert, err := seal.ParseToken(other.Token)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(l *launcher)
		code   fault.Code
	}{
		"for another installation":      {func(l *launcher) { l.claims.Audience = foreign.inst.Origin }, "invalid.registration_audience"},
		"for another pool":              {func(l *launcher) { l.claims.Pool = other.ID }, "invalid.registration_pool"},
		"with another pool's cert":      {func(l *launcher) { l.claims.Certificate = seal.Digest(otherCert.PoolCertificate().Raw) }, "invalid.registration_signature"},
		"with an unknown certificate":   {func(l *launcher) { l.claims.Certificate = seal.Digest([]byte("x")) }, "unauthenticated.registration_unknown"},
		"with another worker's key":     {func(l *launcher) { l.claims.Worker = seal.Digest([]byte("x")) }, "invalid.registration_worker"},
		"without a session number":      {func(l *launcher) { l.claims.Session = 0 }, "invalid.registration_session"},
		"with a recipient that is none": {func(l *launcher) { l.claims.Recipient = "age1x" }, "invalid.registration_recipient"},
		"by a version too new":          {func(l *launcher) { l.claims.Version = "1.5.0" }, "unsupported.version"},
		"by a version too old":          {func(l *launcher) { l.claims.Version = "1.2.9" }, "unsupported.version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLauncher(t, c, p.Token)
			test.change(l)
			if _, err := w.Register(context.Background(), l.sign(t, w)); code(err) != test.code {
				t.Errorf("got %v, want %s", err, test.code)
			}
		})
	}
	t.Run("made for another installation altogether", func(t *testing.T) {
		t.Parallel()
		if _, err := w.Register(context.Background(), newLauncher(t, c, theirs.Token).sign(t, foreign)); code(err) != "unauthenticated.registration_unknown" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("of a version one behind is accepted", func(t *testing.T) {
		t.Parallel()
		l := newLauncher(t, c, p.Token)
		l.claims.Version = "1.3.0"
		l.register(t, w)
	})
}

func TestANonceIsGoodOnceAndForTwoMinutesAndFromThisProcess(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	try := func(l *launcher, jws string) fault.Code {
		_, err := w.Register(context.Background(), jws)
		return code(err)
	}
	const refused = "unauthenticated.registration_nonce"
	l := newLauncher(t, c, p.Token)
	jws := l.sign(t, w)
	if got := try(l, jws); got != "" {
		t.Fatal(got)
	}
	if got := try(l, jws); got != refused {
		t.Errorf("replayed: %q", got)
	}
	late := newLauncher(t, c, p.Token)
	jws = late.sign(t, w)
	w.wait(2*time.Minute + time.Second)
	if got := try(late, jws); got != refused {
		t.Errorf("expired: %q", got)
	}
	made := newLauncher(t, c, p.Token)
	made.claims.Nonce = "made up"
	jws, err := seal.SignRegistration(c.key, made.claims)
	if err != nil {
		t.Fatal(err)
	}
	if got := try(made, jws); got != refused {
		t.Errorf("made up: %q", got)
	}
	earlier := newLauncher(t, c, p.Token)
	jws = earlier.sign(t, w)
	w.restart(t)
	if got := try(earlier, jws); got != refused {
		t.Errorf("of an earlier process: %q", got)
	}
}

// TestTheAlgorithmIsFixedByTheKey signs the same claims in every other way.
func TestTheAlgorithmIsFixedByTheKey(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	private := rsaKeys()[0]
	for name, sign := range map[string]func(input []byte) (alg string, signature []byte){
		"none": func([]byte) (string, []byte) { return "none", nil },
		"RS256 by the pool's own key": func(input []byte) (string, []byte) {
			sum := sha256.Sum256(input)
			signature, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:])
			if err != nil {
				t.Fatal(err)
			}
			return "RS256", signature
		},
		"RS256 that says PS256": func(input []byte) (string, []byte) {
			sum := sha256.Sum256(input)
			signature, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:])
			if err != nil {
				t.Fatal(err)
			}
			return "PS256", signature
		},
		"HS256": func([]byte) (string, []byte) { return "HS256", make([]byte, 32) },
	} {
		l := newLauncher(t, c, p.Token)
		l.claims.Nonce, _ = w.Nonce()
		payload, err := json.Marshal(l.claims)
		if err != nil {
			t.Fatal(err)
		}
		encode := base64.RawURLEncoding.EncodeToString
		alg, _ := sign(nil)
		header := encode([]byte(`{"alg":"`+alg+`","typ":"spaceport-register+jwt"}`)) + "." + encode(payload)
		_, signature := sign([]byte(header))
		if _, err := w.Register(context.Background(), header+"."+encode(signature)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if n := w.count(t, `SELECT COUNT(*) FROM worker`); n != 0 {
		t.Errorf("%d workers", n)
	}
}

func TestAResetCutsAllRegistrationsOffAndARunningAttemptGoesOn(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	l := newLauncher(t, c, p.Token)
	a := l.register(t, w)
	id, err := w.Authenticate(context.Background(), a.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	run := w.hold(t, p.ID, a.Worker, "read")
	attempt := w.AttemptBearer(id, wire.AttemptRef{Run: run, Attempt: 1})
	reset, err := w.Reset(admin(), p.ID, newCustomer(t, 1).csr)
	if err != nil {
		t.Fatal(err)
	}
	if !w.heard(pool.EventPoolReset, p.ID) {
		t.Error("nobody was told to cut the connections")
	}
	if _, err := w.Authenticate(context.Background(), a.Bearer); code(err) != "unauthenticated.pool_reset" {
		t.Errorf("the old bearer: %v", err)
	}
	if err := w.Active(context.Background(), p.ID, a.Worker); code(err) != "unauthenticated.pool_reset" {
		t.Errorf("the old connection: %v", err)
	}
	l.newSession(t, 2)
	if _, err := w.Register(context.Background(), l.sign(t, w)); code(err) != "unauthenticated.pool_reset" {
		t.Errorf("the old token: %v", err)
	}
	if n := w.count(t, `SELECT COUNT(*) FROM worker WHERE gone_at IS NULL OR available_at IS NOT NULL`); n != 0 {
		t.Error("the queue could still give it a run")
	}
	w.Seen(a.Worker)
	if w.Online(a.Worker) {
		t.Error("it still counts as present")
	}
	got, err := w.Authenticate(context.Background(), attempt.Text)
	if err != nil || got.Attempt == nil || got.Attempt.Run != run || got.Attempt.Attempt != 1 || got.Session != 0 {
		t.Errorf("the attempt's bearer: %+v, %v", got, err)
	}
	if listed, err := w.Workers(admin(), p.ID, false); err != nil || len(listed) != 1 || listed[0].Status != pool.Busy {
		t.Errorf("an autoscaler sees %+v, %v", listed, err)
	}
	// The same machine with the new token and key is the same worker again.
	l2 := newLauncher(t, newCustomer(t, 1), reset.Token)
	l2.key = l.key
	l2.newSession(t, 3)
	if b := l2.register(t, w); b.Worker != a.Worker {
		t.Errorf("worker %s became %s", a.Worker, b.Worker)
	}
	if _, err := w.Authenticate(context.Background(), a.Bearer); code(err) != "unauthenticated.pool_reset" {
		t.Errorf("the old bearer afterwards: %v", err)
	}
}

func TestABearerIsGoodForWhatItSaysAndUntilItEnds(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	a := newLauncher(t, c, p.Token).register(t, w)
	b := newLauncher(t, c, p.Token).register(t, w)
	id, err := w.Authenticate(context.Background(), a.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	attempt := w.AttemptBearer(id, wire.AttemptRef{Run: newID(), Attempt: 3}).Text
	for name, text := range map[string]string{
		"empty":                           "",
		"cut":                             a.Bearer[:len(a.Bearer)-1],
		"another worker's name":           strings.Replace(a.Bearer, a.Worker, b.Worker, 1),
		"another attempt":                 strings.Replace(attempt, ".3.", ".4.", 1),
		"an attempt's as a worker's":      strings.Replace(attempt, "a1.", "w1.", 1),
		"a worker's as an attempt's":      strings.Replace(a.Bearer, "w1.", "a1.", 1),
		"another worker's mac":            a.Bearer[:strings.LastIndex(a.Bearer, ".")] + b.Bearer[strings.LastIndex(b.Bearer, "."):],
		"a session that is still to come": strings.Replace(a.Bearer, ".1.1.", ".2.1.", 1),
	} {
		if got, err := w.Authenticate(context.Background(), text); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	w.wait(10*time.Minute - time.Second)
	if _, err := w.Authenticate(context.Background(), a.Bearer); err != nil {
		t.Errorf("just before its end: %v", err)
	}
	w.wait(2 * time.Second)
	if _, err := w.Authenticate(context.Background(), a.Bearer); code(err) != "unauthenticated.bearer_expired" {
		t.Errorf("after its end: %v", err)
	}
}

func TestADeregisteredWorkerIsGone(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	l := newLauncher(t, c, p.Token)
	a := l.register(t, w)
	id, err := w.Authenticate(context.Background(), a.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Deregister(context.Background(), id, 7); !fault.Is(err, fault.Forbidden) {
		t.Errorf("another session: %v", err)
	}
	for range 2 {
		if err := w.Deregister(context.Background(), id, 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Authenticate(context.Background(), a.Bearer); code(err) != "unauthenticated.not_registered" {
		t.Errorf("its bearer: %v", err)
	}
	if all, err := w.Workers(admin(), p.ID, true); err != nil || len(all) != 0 {
		t.Errorf("listed: %+v, %v", all, err)
	}
	l.newSession(t, 2)
	if b := l.register(t, w); b.Worker != a.Worker {
		t.Error("it came back as another worker")
	}
}
