package seal

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/agessh"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Helpers of all tests in this package.

func read(t testing.TB, elem ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func key(t testing.TB, name string) *PoolKey {
	t.Helper()
	k, err := ParsePoolKeyPEM(read(t, "keys", name))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func certificate(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	b, _ := pem.Decode(read(t, "keys", name))
	cert, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// recovery returns the recovery recipients and what opens them.
func recovery(t testing.TB) ([]Recipient, []age.Identity) {
	t.Helper()
	ids, err := age.ParseIdentities(strings.NewReader(string(read(t, "keys", "recovery-age.key"))))
	if err != nil {
		t.Fatal(err)
	}
	sshID, err := agessh.ParseIdentity(read(t, "keys", "recovery-ssh.key"))
	if err != nil {
		t.Fatal(err)
	}
	rs, err := ParseRecipients("# offline\n\n" + ids[0].(*age.X25519Identity).Recipient().String() + "\n" + string(read(t, "keys", "recovery-ssh.key.pub")))
	if err != nil {
		t.Fatal(err)
	}
	return rs, append(ids, sshID)
}

// wantCode fails unless err is a fault of this code with one sentence.
func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	f := fault.As(err)
	if f == nil {
		t.Fatalf("got %v, want fault %s", err, code)
	}
	if string(f.Code) != code {
		t.Fatalf("got fault %s (%v), want %s", f.Code, err, code)
	}
	if f.Message == "" || strings.HasSuffix(f.Message, ".") || strings.Contains(f.Message, "\n") {
		t.Errorf("the message is not one sentence: %q", f.Message)
	}
}

// broken encodes as people paste: in lines, by whatever editor.
func broken(data []byte) string {
	s := base64.StdEncoding.EncodeToString(data)
	var b strings.Builder
	for i := 0; i < len(s); i += 60 {
		b.WriteString(s[i:min(i+60, len(s))])
		b.WriteString([]string{"\n", " ", "\r\n\t"}[i/60%3])
	}
	return b.String()
}
