package quickstart

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/seal"
)

// testBits keeps key generation quick; the least that is accepted.
const testBits = 2048

func TestPoolKeyAndRequestAreMadeOnceAndBelongTogether(t *testing.T) {
	t.Parallel()
	l := layout{t.TempDir()}
	key, csr, made, err := poolKey(l, testBits)
	if err != nil || !made {
		t.Fatalf("first start: made %v, %v", made, err)
	}
	if block, _ := pem.Decode(key); block == nil || block.Type != "PRIVATE KEY" {
		t.Errorf("the key is not PKCS#8 in PEM")
	}
	parsed, err := seal.ParseCSR(string(csr))
	if err != nil {
		t.Fatalf("the request is refused: %v", err)
	}
	own, err := seal.ParsePoolKeyPEM(key)
	if err != nil {
		t.Fatalf("the key is refused: %v", err)
	}
	if parsed.Fingerprint != own.Fingerprint() {
		t.Error("the request is for another key")
	}
	again, csrAgain, made, err := poolKey(l, testBits)
	if err != nil || made || !bytes.Equal(again, key) || !bytes.Equal(csrAgain, csr) {
		t.Errorf("second start: made %v, %v; want the same key and request", made, err)
	}
}

func TestRequestOfAnotherKeyIsReplaced(t *testing.T) {
	t.Parallel()
	l := layout{t.TempDir()}
	_, first, _, err := poolKey(l, testBits)
	if err != nil {
		t.Fatal(err)
	}
	// Somebody puts a key of their own in place, as openssl 1 would write it.
	own, err := rsa.GenerateKey(rand.Reader, testBits)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(own)})
	if err := os.WriteFile(l.poolKey(), text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, second, made, err := poolKey(l, testBits)
	if err != nil || made || bytes.Equal(first, second) {
		t.Errorf("made %v, same request %v, %v; want the person's key with a request of its own", made, bytes.Equal(first, second), err)
	}
}

func TestDamagedPoolKeyIsNamedAndNotReplaced(t *testing.T) {
	t.Parallel()
	l := layout{t.TempDir()}
	if err := os.WriteFile(l.poolKey(), []byte("nothing of a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, _, err := poolKey(l, testBits)
	if err == nil || !strings.Contains(err.Error(), l.poolKey()) {
		t.Errorf("got %v, want an error that names the file", err)
	}
	if b, _ := os.ReadFile(l.poolKey()); string(b) != "nothing of a key" {
		t.Error("the file was written over")
	}
}

func TestRecoveryKeyIsMadeOnceAndOnlyItsPublicHalfIsReturned(t *testing.T) {
	t.Parallel()
	l := layout{t.TempDir()}
	first, made, err := recoveryKey(l)
	if err != nil || !made || !strings.HasPrefix(first, "age1") {
		t.Fatalf("first start: %q, made %v, %v", first, made, err)
	}
	if _, err := seal.ParseRecipients(first); err != nil {
		t.Errorf("launchers would refuse it: %v", err)
	}
	second, made, err := recoveryKey(l)
	if err != nil || made || second != first {
		t.Errorf("second start: %q, made %v, %v; want %q again", second, made, err, first)
	}
	if err := os.WriteFile(l.recoveryKey(), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = recoveryKey(l)
	wantFault(t, err, l.recoveryKey())
}
