package quickstart

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"filippo.io/age"

	"github.com/spaceport-iac/spaceport/internal/durable"
	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/seal"
)

// keyBits is what the documented openssl command asks for.
const keyBits = 4096

// poolKey reads the pool's private key from its file, or makes the key and its
// signing request as
//
//	openssl req -new -newkey rsa:4096 -nodes -keyout spacelift.key -out spacelift.csr
//
// would. It returns the key's PEM and the request's.
func poolKey(l layout, bits int) (key, csr []byte, made bool, err error) {
	key, err = os.ReadFile(l.poolKey())
	switch {
	case err == nil:
		// Somebody may have put a key of their own here; say so now if it is
		// none, not in a launcher's log.
		if _, err := seal.ParsePoolKeyPEM(key); err != nil {
			return nil, nil, false, fmt.Errorf("%s: %w", l.poolKey(), err)
		}
	case errors.Is(err, fs.ErrNotExist):
		private, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			return nil, nil, false, fmt.Errorf("make the pool's key: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			return nil, nil, false, fmt.Errorf("encode the pool's key: %w", err)
		}
		key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		if err := durable.WriteFile(l.poolKey(), key); err != nil {
			return nil, nil, false, err
		}
		made = true
	default:
		return nil, nil, false, fmt.Errorf("read the pool's key: %w", err)
	}
	csr, err = signingRequest(l, key)
	return key, csr, made, err
}

// signingRequest reads the request beside the key, or makes it.
func signingRequest(l layout, key []byte) ([]byte, error) {
	own, err := seal.ParsePoolKeyPEM(key)
	if err != nil {
		return nil, err
	}
	if csr, err := os.ReadFile(l.csr()); err == nil {
		// One that belongs to another key would make a pool nobody can join.
		if parsed, err := seal.ParseCSR(string(csr)); err == nil && parsed.Fingerprint == own.Fingerprint() {
			return csr, nil
		}
	}
	block, _ := pem.Decode(key)
	if block == nil {
		return nil, errors.New("the pool's key is not PEM")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	if err != nil {
		// The parser's error may quote the key.
		return nil, errors.New("the pool's key cannot be read")
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "spaceport quickstart"},
	}, private)
	if err != nil {
		return nil, fmt.Errorf("make the signing request: %w", err)
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	return csr, durable.WriteFile(l.csr(), csr)
}

// recoveryKey reads or makes the age key that opens everything should the pool's
// key be lost. It returns the public half alone: nothing but the file ever holds
// the private one.
func recoveryKey(l layout) (recipient string, made bool, err error) {
	b, err := os.ReadFile(l.recoveryKey())
	switch {
	case err == nil:
		identities, err := age.ParseIdentities(strings.NewReader(string(b)))
		if err == nil && len(identities) == 1 {
			if id, ok := identities[0].(*age.X25519Identity); ok {
				return id.Recipient().String(), false, nil
			}
		}
		return "", false, fault.New(fault.Invalid, "%s does not hold one age key", l.recoveryKey()).
			WithHint("put the file back as it was, or move it away to have a new one made")
	case !errors.Is(err, fs.ErrNotExist):
		return "", false, fmt.Errorf("read the recovery key: %w", err)
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return "", false, fmt.Errorf("make the recovery key: %w", err)
	}
	recipient = id.Recipient().String()
	// The form that age-keygen writes, so that the stock tools read it.
	text := fmt.Sprintf("# public key: %s\n%s\n", recipient, id)
	return recipient, true, durable.WriteFile(l.recoveryKey(), []byte(text))
}
