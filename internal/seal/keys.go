package seal

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
)

// stars stands wherever a secret would be printed.
const stars = "*****"

// PoolKey is a pool's private RSA key. Printed, logged or marshalled in any way
// it shows stars or refuses.
type PoolKey struct {
	// A pointer, so that fmt prints an address and never digits of the key even
	// where it cannot call our methods (a PoolKey in an unexported field).
	inner *poolKey
}

type poolKey struct {
	private     *rsa.PrivateKey
	fingerprint string
	identity    age.Identity
	recipient   Recipient
}

// ParsePoolKey reads the value of SPACELIFT_POOL_PRIVATE_KEY: base64, possibly
// broken into lines, of a PEM file with an RSA key in PKCS#8 or PKCS#1. The PEM
// itself is accepted too. Faults: invalid.pool_key_{empty, base64, pem,
// passphrase, type, weak, public, certificate, csr}.
func ParsePoolKey(text string) (*PoolKey, error) {
	if strings.TrimSpace(text) == "" {
		return nil, invalid("pool_key_empty", "the pool's private key is empty").
			WithHint("give the base64 of spacelift.key, as by: base64 -w0 spacelift.key")
	}
	if len(text) > maxText {
		return nil, invalid("pool_key_pem", "the pool's private key is longer than any key is")
	}
	data, ok := unwrapPEM(text)
	if !ok {
		return nil, invalid("pool_key_base64", "the pool's private key is not base64").
			WithHint("give the base64 of spacelift.key, as by: base64 -w0 spacelift.key")
	}
	return ParsePoolKeyPEM(data)
}

// ParsePoolKeyPEM reads the PEM file itself. Faults as by [ParsePoolKey].
func ParsePoolKeyPEM(data []byte) (*PoolKey, error) {
	var keys, others []*pem.Block
	for _, b := range blocksOf(data) {
		switch {
		case b.Type == "EC PARAMETERS":
		case strings.HasSuffix(b.Type, "PRIVATE KEY"):
			keys = append(keys, b)
		default:
			others = append(others, b)
		}
	}
	switch {
	case len(keys) == 1:
		return poolKeyOf(keys[0])
	case len(keys) > 1:
		return nil, invalid("pool_key_pem", "the pool's private key file holds %d private keys", len(keys)).
			WithHint("give a file with exactly one key")
	case len(others) == 0:
		return nil, invalid("pool_key_pem", "the pool's private key is not a PEM file").
			WithHint("the file begins with -----BEGIN PRIVATE KEY-----; encode the whole file, as by: base64 -w0 spacelift.key")
	}
	return nil, notPrivate(others[0].Type)
}

// notPrivate names what was given in place of the key.
func notPrivate(blockType string) error {
	const hint = "give spacelift.key, the file that openssl wrote with -keyout"
	switch blockType {
	case "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE":
		return invalid("pool_key_certificate", "this is a certificate, not the pool's private key").WithHint(hint)
	case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
		return invalid("pool_key_csr", "this is a certificate signing request, not the pool's private key").WithHint(hint)
	case "PUBLIC KEY", "RSA PUBLIC KEY":
		return invalid("pool_key_public", "this is a public key, not the pool's private key").WithHint(hint)
	}
	return invalid("pool_key_pem", "the PEM file holds no private key").WithHint(hint)
}

// poolKeyOf reads a key block. The parser's own errors are not wrapped: some
// quote their input, and here the input is the key.
func poolKeyOf(b *pem.Block) (*PoolKey, error) {
	if b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "" {
		return nil, invalid("pool_key_passphrase", "the pool's private key is protected by a passphrase").
			WithHint("a launcher starts without a person: write an unprotected copy, as by: openssl pkey -in spacelift.key -out plain.key")
	}
	var key any
	var err error
	switch b.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	case "OPENSSH PRIVATE KEY":
		return nil, invalid("pool_key_type", "the pool's private key is in OpenSSH's own format").
			WithHint("convert a copy of it, as by: ssh-keygen -p -m PKCS8 -f copy.key")
	default:
		return nil, invalid("pool_key_type", "the pool's private key is not an RSA key").
			WithHint("make one as by: openssl req -new -newkey rsa:4096 -nodes -keyout spacelift.key -out spacelift.csr")
	}
	if err != nil {
		return nil, invalid("pool_key_pem", "the pool's private key is damaged: its PEM block does not hold a readable key").
			WithHint("check that the file was copied whole, as by: openssl pkey -in spacelift.key -check -noout")
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, invalid("pool_key_type", "the pool's private key is not an RSA key").
			WithHint("make one as by: openssl req -new -newkey rsa:4096 -nodes -keyout spacelift.key -out spacelift.csr")
	}
	return NewPoolKey(private)
}

// NewPoolKey makes a PoolKey of an RSA key of 2048 to 8192 bits.
func NewPoolKey(private *rsa.PrivateKey) (*PoolKey, error) {
	if bits := private.N.BitLen(); bits < minRSABits {
		return nil, invalid("pool_key_weak", "the pool's private key has %d bits, and at least %d are needed", bits, minRSABits).
			WithHint("make one as by: openssl req -new -newkey rsa:4096 -nodes -keyout spacelift.key -out spacelift.csr")
	} else if bits > maxRSABits {
		return nil, invalid("pool_key_type", "the pool's private key has %d bits, and at most %d are supported", bits, maxRSABits)
	}
	fingerprint, err := FingerprintOf(&private.PublicKey)
	if err != nil {
		return nil, err
	}
	recipient, err := RecipientOf(&private.PublicKey)
	if err != nil {
		return nil, err
	}
	identity, err := agessh.NewRSAIdentity(private)
	if err != nil {
		return nil, fmt.Errorf("make an age identity of the pool key: %w", err)
	}
	return &PoolKey{&poolKey{private, fingerprint, identity, recipient}}, nil
}

// Fingerprint returns "sha256:" and the hex SHA-256 of the key's SPKI DER.
func (k *PoolKey) Fingerprint() string { return k.inner.fingerprint }

// Public returns the public half.
func (k *PoolKey) Public() *rsa.PublicKey { return &k.inner.private.PublicKey }

// Identity returns what age opens with.
func (k *PoolKey) Identity() age.Identity { return k.inner.identity }

// Recipient returns what age seals to.
func (k *PoolKey) Recipient() Recipient { return k.inner.recipient }

// Matches checks that cert was made for this key. Fault: invalid.token_key_mismatch.
func (k *PoolKey) Matches(cert *x509.Certificate) error {
	got, err := FingerprintOf(cert.PublicKey)
	if err == nil && got == k.Fingerprint() {
		return nil
	}
	return invalid("token_key_mismatch", "the token's certificate was made for another key (%s) than the pool's private key (%s)", got, k.Fingerprint()).
		WithHint("token and key must come from the same signing request; after a reset both change")
}

// pssOptions are fixed: SHA-256, MGF1 with SHA-256, a salt of 32 bytes. A
// verifier that took any salt length would accept more than we ever sign.
var pssOptions = rsa.PSSOptions{SaltLength: sha256.Size, Hash: crypto.SHA256}

// SignStatement signs the exact bytes of a statement by RSA-PSS.
func (k *PoolKey) SignStatement(statement []byte) ([]byte, error) {
	sum := sha256.Sum256(statement)
	opts := pssOptions
	sig, err := rsa.SignPSS(rand.Reader, k.inner.private, crypto.SHA256, sum[:], &opts)
	if err != nil {
		return nil, fmt.Errorf("sign statement: %w", err)
	}
	return sig, nil
}

// VerifyStatement checks a signature over the exact bytes of a statement.
// Fault: invalid.seal_signature.
func VerifyStatement(pub *rsa.PublicKey, statement, signature []byte) error {
	if bits := pub.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return invalid("seal_signature", "the signer's key has %d bits, which is not trusted", bits)
	}
	sum := sha256.Sum256(statement)
	opts := pssOptions
	if err := rsa.VerifyPSS(pub, crypto.SHA256, sum[:], signature, &opts); err != nil {
		return invalidBy(err, "seal_signature", "the statement's signature was not made by this pool key")
	}
	return nil
}

// FingerprintOf returns "sha256:" and the hex SHA-256 of a public key's SPKI DER.
func FingerprintOf(pub crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("fingerprint a public key: %w", err)
	}
	return Digest(der), nil
}

// The methods below keep the key out of every print, log and encoding.

// Format writes stars for every verb.
func (PoolKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, stars) }

// String returns stars.
func (PoolKey) String() string { return stars }

// GoString returns stars.
func (PoolKey) GoString() string { return stars }

// LogValue returns stars.
func (PoolKey) LogValue() slog.Value { return slog.StringValue(stars) }

var errSecret = errors.New("a pool key is never marshalled")

// MarshalJSON refuses.
func (PoolKey) MarshalJSON() ([]byte, error) { return nil, errSecret }

// MarshalText refuses.
func (PoolKey) MarshalText() ([]byte, error) { return nil, errSecret }
