package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

const (
	// slack lets a machine whose clock is behind use a certificate at once.
	slack = 5 * time.Minute

	year           = 365 * 24 * time.Hour
	caLife         = 20 * year
	poolLife       = 10 * year
	workerLife     = 24 * time.Hour
	brokerLife     = 90 * 24 * time.Hour
	brokerRenewAge = brokerLife / 2
)

// documentSigning (RFC 9336) is what a pool's key does: it signs statements. A
// certificate that names a usage is refused for every other one, so the pool's
// certificate cannot open a broker connection in place of a worker's.
var documentSigning = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 36}

// serial is 128 random bits, positive and never zero.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: the runtime ends the program first
	b[0] &= 0x7f
	b[15] |= 1
	return new(big.Int).SetBytes(b[:])
}

func rootCertificate(key *ecdsa.PrivateKey, origin string, now time.Time) (*x509.Certificate, error) {
	t := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Spaceport root", Organization: []string{origin}},
		NotBefore:             now.Add(-slack),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1,
	}
	return sign(t, t, &key.PublicKey, key)
}

func caCertificate(root *ecdsa.PrivateKey, rootCert *x509.Certificate, pub *ecdsa.PublicKey, origin string, now time.Time) (*x509.Certificate, error) {
	t := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Spaceport CA", Organization: []string{origin}},
		NotBefore:             now.Add(-slack),
		NotAfter:              rootCert.NotAfter,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return sign(t, rootCert, pub, root)
}

// PoolCertificate certifies a pool's public key for 10 years. Revocation, not
// expiry, is the gate.
func (a *Authority) PoolCertificate(pub *rsa.PublicKey, pool string, epoch int64) (*x509.Certificate, error) {
	return a.issue(&x509.Certificate{
		Subject:            pkix.Name{CommonName: pool, OrganizationalUnit: []string{"pool"}, SerialNumber: fmt.Sprint(epoch)},
		KeyUsage:           x509.KeyUsageDigitalSignature,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{documentSigning},
	}, pub, poolLife)
}

// WorkerCertificate certifies a worker's key as an MQTT client for 24 hours: the
// common name is the worker's id, the organizational unit the pool's. It returns
// the chain up to but without the root.
func (a *Authority) WorkerCertificate(pub *ecdsa.PublicKey, worker, pool string) (chainPEM string, err error) {
	cert, err := a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: worker, OrganizationalUnit: []string{pool}},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, pub, workerLife)
	if err != nil {
		return "", err
	}
	return encode(cert) + encode(a.caCert), nil
}

// issue signs t by the CA. It is given a public key and never a request, so there
// is no way for a requester's subject or extensions into a certificate.
func (a *Authority) issue(t *x509.Certificate, pub crypto.PublicKey, life time.Duration) (*x509.Certificate, error) {
	now := a.now()
	t.SerialNumber = serial()
	t.NotBefore = now.Add(-slack)
	t.NotAfter = now.Add(life)
	if t.NotAfter.After(a.caCert.NotAfter) {
		t.NotAfter = a.caCert.NotAfter
	}
	t.BasicConstraintsValid = true
	return sign(t, a.caCert, pub, a.ca)
}

func sign(t, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", t.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

func encode(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}
