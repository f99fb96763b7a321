package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/seal"
)

// keeper keeps keys at rest; *vault.Keeper is one.
type keeper interface {
	Wrap(ctx context.Context, purpose string, plaintext []byte) ([]byte, error)
	Unwrap(ctx context.Context, purpose string, ciphertext []byte) ([]byte, error)
}

// Options are what an Authority works with.
type Options struct {
	DB     *db.DB
	Vault  keeper
	Origin string // the installation's id
	Now    func() time.Time
}

// Authority is the holder of the keys. It is safe for concurrent use. Printed, it
// shows nothing of them.
type Authority struct {
	origin string
	now    func() time.Time

	root     *ecdsa.PrivateKey
	rootCert *x509.Certificate
	ca       *ecdsa.PrivateKey
	caCert   *x509.Certificate
	job      ed25519.PrivateKey

	session, bearer, url []byte
}

// Open reads the keys, or makes those that are not there.
func Open(ctx context.Context, o Options) (*Authority, error) {
	if o.DB == nil || o.Vault == nil || o.Origin == "" || o.Now == nil {
		return nil, errors.New("authority: DB, Vault, Origin and Now are needed")
	}
	material, err := load(ctx, o)
	if err != nil {
		return nil, err
	}
	a := &Authority{
		origin: o.Origin, now: o.Now,
		session: material[rowSession], bearer: material[rowBearer], url: material[rowURL],
	}
	if a.root, err = ecKey(material[rowRootKey]); err != nil {
		return nil, fmt.Errorf("read root key: %w", err)
	}
	if a.ca, err = ecKey(material[rowCAKey]); err != nil {
		return nil, fmt.Errorf("read CA key: %w", err)
	}
	if a.rootCert, err = x509.ParseCertificate(material[rowRootCert]); err != nil {
		return nil, fmt.Errorf("read root certificate: %w", err)
	}
	if a.caCert, err = x509.ParseCertificate(material[rowCACert]); err != nil {
		return nil, fmt.Errorf("read CA certificate: %w", err)
	}
	if len(material[rowJobKey]) != ed25519.SeedSize {
		return nil, errors.New("read job key: it is not an Ed25519 seed")
	}
	a.job = ed25519.NewKeyFromSeed(material[rowJobKey])
	return a, nil
}

// String shows nothing of the keys.
func (*Authority) String() string { return "authority(*****)" }

// GoString shows nothing of the keys.
func (*Authority) GoString() string { return "authority(*****)" }

// SessionKey signs the JWTs of people and API keys: 32 bytes.
func (a *Authority) SessionKey() []byte { return a.session }

// BearerKey authenticates the bearers of launchers: 32 bytes.
func (a *Authority) BearerKey() []byte { return a.bearer }

// URLKey signs object URLs: 32 bytes.
func (a *Authority) URLKey() []byte { return a.url }

// Roots returns the DER of the root certificates, for tokens.
func (a *Authority) Roots() [][]byte { return [][]byte{a.rootCert.Raw} }

// SignJob signs the exact bytes of a job header.
func (a *Authority) SignJob(header []byte) ([]byte, error) { return seal.SignJob(a.job, header) }

// Bundle signs the bundle with the addresses in e; all else of e is filled in.
func (a *Authority) Bundle(e seal.Bundle) (seal.SignedBundle, error) {
	e.V = seal.BundleVersion
	e.Origin = a.origin
	e.Issued = a.now().Unix()
	e.JobKeys = [][]byte{a.job.Public().(ed25519.PublicKey)}
	e.Roots = a.Roots()
	return seal.SignBundle(a.root, e)
}

func ecKey(der []byte) (*ecdsa.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || ec.Curve != elliptic.P256() {
		return nil, errors.New("it is not on P-256")
	}
	return ec, nil
}

func newECKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return key, der, err
}
