package authority_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocloud.dev/secrets/localsecrets"

	"github.com/spaceport-iac/spaceport/internal/mothership/authority"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/vault"
	"github.com/spaceport-iac/spaceport/internal/seal"
)

type world struct {
	*authority.Authority
	db    *db.DB
	vault *vault.Keeper
	now   time.Time
}

func setup(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Now()}
	var err error
	if w.db, err = db.Open(t.Context(), filepath.Join(t.TempDir(), "test.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	if w.vault, err = vault.Open(t.Context(), vault.Options{DB: w.db, Root: localsecrets.NewKeeper([32]byte{1})}); err != nil {
		t.Fatal(err)
	}
	w.Authority = w.open(t)
	return w
}

func (w *world) open(t *testing.T) *authority.Authority {
	t.Helper()
	a, err := authority.Open(t.Context(), authority.Options{DB: w.db, Vault: w.vault, Origin: "spaceport-TEST", Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (w *world) rootPool(t *testing.T) (*x509.CertPool, *x509.Certificate) {
	t.Helper()
	cert, err := x509.ParseCertificate(w.Roots()[0])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool, cert
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// chain reads the certificates of a PEM text.
func chain(t *testing.T, text string) []*x509.Certificate {
	t.Helper()
	var all []*x509.Certificate
	for rest := []byte(text); len(rest) > 0; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			t.Fatal("not PEM")
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

func TestTheKeysAreMadeOnceAndKeptWrapped(t *testing.T) {
	t.Parallel()
	w := setup(t)
	again := w.open(t)
	if string(again.Roots()[0]) != string(w.Roots()[0]) || string(again.URLKey()) != string(w.URLKey()) {
		t.Error("a restart made other keys")
	}
	header := []byte("header")
	one, err := w.SignJob(header)
	if err != nil {
		t.Fatal(err)
	}
	other, err := again.SignJob(header)
	if err != nil || string(one) != string(other) {
		t.Errorf("a restart made another job key: %v", err)
	}
	var plain int
	err = w.db.Read().QueryRowContext(context.Background(), `SELECT COUNT(*) FROM installation WHERE instr(value, $1) > 0 OR instr(value, $2) > 0`, w.SessionKey(), w.Roots()[0]).Scan(&plain)
	if err != nil || plain != 0 {
		t.Errorf("%d rows hold a key as it is: %v", plain, err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", w.Authority, w.Authority, w.Authority, w.Authority); strings.Contains(text, string(w.SessionKey())) || !strings.Contains(text, "*****") {
		t.Error("the authority prints its keys")
	}
	err = w.db.Write(context.Background(), func(tx *db.Tx) error {
		_, err := tx.Exec(`DELETE FROM installation WHERE name = 'authority.job.key'`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = authority.Open(context.Background(), authority.Options{DB: w.db, Vault: w.vault, Origin: "x", Now: time.Now})
	if err == nil || !strings.Contains(err.Error(), "authority.job.key") {
		t.Errorf("a lost key was replaced in silence: %v", err)
	}
}

func TestTheBundleIsEndorsedByTheRoot(t *testing.T) {
	t.Parallel()
	w := setup(t)
	_, root := w.rootPool(t)
	signed, err := w.Bundle(seal.Bundle{APIEndpoint: "https://a", BrokerEndpoint: "tls://b:1984", ObjectOrigins: []string{"https://a"}, JobKeys: [][]byte{make([]byte, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := seal.OpenBundle(signed, []*x509.Certificate{root}, "spaceport-TEST")
	if err != nil {
		t.Fatal(err)
	}
	header := seal.JobHeader{Origin: "spaceport-TEST", Pool: "P", Worker: "W", Session: 1, Nonce: "n", Run: "R", Attempt: 1, Class: seal.ClassRead, Job: seal.Digest(nil), Size: 1}
	bytes, err := header.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	signature, err := w.SignJob(bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.VerifyJob(bundle.Keys(), bytes, signature); err != nil {
		t.Errorf("the bundle's key does not verify a job: %v", err)
	}
	if len(bundle.Keys()) != 1 {
		t.Error("a caller put a job key of its own into the bundle")
	}
}

func TestAPoolCertificateIsNoClientCertificate(t *testing.T) {
	t.Parallel()
	w := setup(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := w.PoolCertificate(&key.PublicKey, "01POOL", 3)
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != "01POOL" || cert.SerialNumber.BitLen() < 100 {
		t.Errorf("subject %s, serial of %d bits", cert.Subject, cert.SerialNumber.BitLen())
	}
	if life := cert.NotAfter.Sub(w.now); life < 9*365*24*time.Hour || w.now.Sub(cert.NotBefore) < 4*time.Minute {
		t.Errorf("valid from %s to %s", cert.NotBefore, cert.NotAfter)
	}
	roots, _ := w.rootPool(t)
	ca := x509.NewCertPool()
	ca.AddCert(chain(t, must(w.WorkerCertificate(&ecKey(t).PublicKey, "W", "P"))(t))[1])
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: ca, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Errorf("it is not of our root: %v", err)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: ca, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("it would open a broker connection")
	}
}

func must(text string, err error) func(t *testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}

// shake does a TLS handshake with the broker as the client that config describes
// and returns the server's certificate.
func shake(t *testing.T, server *tls.Config, client *tls.Config) (*x509.Certificate, error) {
	t.Helper()
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() {
		defer func() { _ = b.Close() }()
		s := tls.Server(b, server)
		err := s.HandshakeContext(t.Context())
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		done <- err
	}()
	c := tls.Client(a, client)
	defer func() { _ = a.Close() }()
	err := c.HandshakeContext(t.Context())
	if err == nil {
		_, err = c.Read(make([]byte, 1)) // in TLS 1.3 a refusal comes after the client's handshake
	}
	_ = a.Close()
	if err := errors.Join(err, <-done); err != nil {
		return nil, err
	}
	return c.ConnectionState().PeerCertificates[0], nil
}

func TestTheBrokerTakesWorkersOfOursAlone(t *testing.T) {
	t.Parallel()
	w, foreign := setup(t), setup(t)
	roots, _ := w.rootPool(t)
	server, err := w.BrokerTLS([]string{"broker.example.com", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	key := ecKey(t)
	as := func(a *authority.Authority, host string) *tls.Config {
		c := &tls.Config{RootCAs: roots, ServerName: host, Time: func() time.Time { return w.now }}
		if a != nil {
			own := tls.Certificate{PrivateKey: key}
			for _, cert := range chain(t, must(a.WorkerCertificate(&key.PublicKey, "W", "P"))(t)) {
				own.Certificate = append(own.Certificate, cert.Raw)
			}
			// Sent whatever the server asks for: a dishonest client would.
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
		}
		return c
	}
	for _, host := range []string{"broker.example.com", "127.0.0.1"} {
		if _, err := shake(t, server, as(w.Authority, host)); err != nil {
			t.Errorf("a worker of ours at %s: %v", host, err)
		}
	}
	if _, err := shake(t, server, as(w.Authority, "other.example.com")); err == nil {
		t.Error("the broker passes for another host")
	}
	if _, err := shake(t, server, as(nil, "127.0.0.1")); err == nil {
		t.Error("a client without a certificate was let in")
	}
	if _, err := shake(t, server, as(foreign.Authority, "127.0.0.1")); err == nil {
		t.Error("a worker of another installation was let in")
	}
	old := as(w.Authority, "127.0.0.1")
	w.now = w.now.Add(25 * time.Hour)
	if _, err := shake(t, server, old); err == nil {
		t.Error("a worker whose certificate has expired was let in")
	}
}

func TestTheBrokersCertificateIsRenewedInPlace(t *testing.T) {
	t.Parallel()
	w := setup(t)
	server, err := w.BrokerTLS([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	get := func() *x509.Certificate {
		c, err := server.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf
	}
	first := get()
	w.now = w.now.Add(24 * time.Hour)
	if get().SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("a fresh certificate was thrown away")
	}
	w.now = first.NotBefore.Add(first.NotAfter.Sub(first.NotBefore)/2 + time.Hour)
	second := get()
	if second.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("the certificate was kept past half of its life")
	}
	w.now = first.NotBefore.Add(-time.Hour)
	if third := get(); third.NotBefore.After(w.now) {
		t.Error("after the clock went back the certificate is not yet valid")
	}
}
