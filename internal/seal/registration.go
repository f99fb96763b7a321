package seal

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"filippo.io/age"
	"github.com/go-jose/go-jose/v4"
)

const (
	registrationType = "spaceport-register+jwt"
	maxRegistration  = 64 << 10
)

// Claims are what a launcher says of itself when it registers.
type Claims struct {
	Audience    string            `json:"aud"`   // origin of the installation
	Nonce       string            `json:"nonce"` // given by the server, used once
	Pool        string            `json:"pool"`
	Certificate string            `json:"cert"`      // digest of the pool certificate's DER
	CSR         []byte            `json:"csr"`       // DER of the worker's P-256 request
	Recipient   string            `json:"recipient"` // age1…, made for this session
	Session     int64             `json:"session"`
	Worker      string            `json:"worker"` // fingerprint of the worker's public key
	Version     string            `json:"version"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Keys        []string          `json:"keys"` // fingerprints of all pool keys held
	Machine     string            `json:"machine,omitempty"`
}

// SignRegistration signs the claims by the pool's key: a compact JWS with PS256.
func SignRegistration(key *PoolKey, c Claims) (string, error) {
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("sign registration: %w", err)
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.PS256, Key: key.inner.private},
		(&jose.SignerOptions{}).WithType(registrationType))
	if err != nil {
		return "", fmt.Errorf("sign registration: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign registration: %w", err)
	}
	return signed.CompactSerialize()
}

// Peek is what an unchecked registration says of itself. Use it to find the
// certificate to check it with, and for nothing else.
type Peek struct {
	Pool        string
	Certificate string
}

// PeekRegistration reads which pool and certificate a registration names. It
// checks no signature. Fault: invalid.registration_format.
func PeekRegistration(text string) (Peek, error) {
	parsed, err := parseRegistrationJWS(text)
	if err != nil {
		return Peek{}, err
	}
	var c Claims
	if err := json.Unmarshal(parsed.UnsafePayloadWithoutVerification(), &c); err != nil {
		return Peek{}, invalidBy(err, "registration_format", "the registration does not hold claims")
	}
	return Peek{Pool: c.Pool, Certificate: c.Certificate}, nil
}

// ParseRegistration checks a registration by the pool certificate it names, which
// the caller has found to be active, and reads it. The caller still compares
// audience, nonce and pool: see [Claims.Check]. Faults: invalid.registration_{format,
// algorithm, signature, certificate, csr, recipient, worker}.
func ParseRegistration(text string, cert *x509.Certificate) (*Claims, error) {
	parsed, err := parseRegistrationJWS(text)
	if err != nil {
		return nil, err
	}
	// The key's type fixes the algorithm; the message has no say. Handing over
	// the typed key, not bytes, keeps it from ever serving as an HMAC secret.
	pub, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, invalid("registration_algorithm", "the pool certificate holds no RSA key")
	}
	payload, err := parsed.Verify(pub)
	if err != nil {
		return nil, invalidBy(err, "registration_signature", "the registration is not signed by the pool's key")
	}
	var c Claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, invalidBy(err, "registration_format", "the registration does not hold claims")
	}
	if c.Certificate != Digest(cert.Raw) {
		return nil, invalid("registration_certificate", "the registration names another certificate than the one it was checked with")
	}
	if err := c.checkKeys(); err != nil {
		return nil, err
	}
	return &c, nil
}

// parseRegistrationJWS accepts one form only: compact, whose protected header is
// exactly {alg: PS256, typ: ours}. A header that brings a key (jwk, x5c), a place
// to find one (jku, x5u, kid) or conditions (crit) is refused, not passed over.
func parseRegistrationJWS(text string) (*jose.JSONWebSignature, error) {
	if len(text) > maxRegistration {
		return nil, invalid("registration_format", "the registration is longer than %d bytes", maxRegistration)
	}
	head, _, ok := strings.Cut(text, ".")
	if !ok {
		return nil, invalid("registration_format", "the registration is not a compact JWS")
	}
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return nil, invalidBy(err, "registration_format", "the registration's header is not base64url")
	}
	var header map[string]any
	if err := json.Unmarshal(raw, &header); err != nil {
		return nil, invalidBy(err, "registration_format", "the registration's header is not JSON")
	}
	if header["alg"] != string(jose.PS256) {
		return nil, invalid("registration_algorithm", "the registration is signed by %v, and only PS256 is accepted", header["alg"])
	}
	if header["typ"] != registrationType {
		return nil, invalid("registration_format", "the registration has type %v, not %s", header["typ"], registrationType)
	}
	if len(header) != 2 {
		return nil, invalid("registration_format", "the registration's header says more than alg and typ")
	}
	parsed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.PS256})
	if err != nil {
		return nil, invalidBy(err, "registration_format", "the registration is not a compact JWS")
	}
	return parsed, nil
}

// checkKeys checks the worker's request and the session's recipient.
func (c *Claims) checkKeys() error {
	req, err := x509.ParseCertificateRequest(c.CSR)
	if err != nil {
		return invalidBy(err, "registration_csr", "the worker's signing request cannot be read")
	}
	pub, ok := req.PublicKey.(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return invalid("registration_csr", "the worker's key is not on P-256")
	}
	if err := req.CheckSignature(); err != nil {
		return invalidBy(err, "registration_csr", "the worker's signing request is not signed by the key it names")
	}
	fingerprint, err := FingerprintOf(pub)
	if err != nil {
		return err
	}
	if c.Worker != fingerprint {
		return invalid("registration_worker", "the registration names worker key %q, but its signing request is for %q", c.Worker, fingerprint)
	}
	if _, err := age.ParseX25519Recipient(c.Recipient); err != nil {
		return invalidBy(err, "registration_recipient", "the session's recipient is not an age1… key")
	}
	return nil
}

// WorkerKey returns the worker's public key from its signing request. Call it on
// claims that [ParseRegistration] returned.
func (c *Claims) WorkerKey() (*ecdsa.PublicKey, error) {
	req, err := x509.ParseCertificateRequest(c.CSR)
	if err != nil {
		return nil, invalidBy(err, "registration_csr", "the worker's signing request cannot be read")
	}
	pub, ok := req.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, invalid("registration_csr", "the worker's key is not on P-256")
	}
	return pub, nil
}

// Check compares whom the registration was made for with who reads it. Faults:
// invalid.registration_{audience, pool, nonce}.
func (c *Claims) Check(origin, pool, nonce string) error {
	switch {
	case origin == "" || c.Audience != origin:
		return invalid("registration_audience", "the registration is for installation %q, not for this one", c.Audience)
	case pool == "" || c.Pool != pool:
		return invalid("registration_pool", "the registration is for pool %q, but its certificate is of pool %q", c.Pool, pool)
	case nonce == "" || subtle.ConstantTimeCompare([]byte(c.Nonce), []byte(nonce)) != 1:
		return invalid("registration_nonce", "the registration answers another request than this one")
	}
	return nil
}
