package rootca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC)

func authority(t *testing.T, name string, until time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: until.Add(-24 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// lines breaks base64 as the command base64 does.
func lines(s string) string {
	var b strings.Builder
	for part := range slices.Chunk([]byte(s), 76) {
		b.Write(part)
		b.WriteByte('\n')
	}
	return b.String()
}

func TestEveryFormOfTheSettingIsRead(t *testing.T) {
	t.Parallel()
	one, two := authority(t, "one", epoch), authority(t, "two", epoch)
	object := `{"caCertificates": ["` + b64(one) + `", "` + b64(two) + `"]}`
	block, _ := pem.Decode([]byte(one))
	file := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(file, []byte(object), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ value, want string }{
		"the documented base64 of JSON": {b64(object), one + two},
		"base64 in lines":               {lines(b64(object)), one + two},
		"JSON":                          {object, one + two},
		"JSON with PEM in it":           {`{"caCertificates": ["` + strings.ReplaceAll(one, "\n", `\n`) + `"]}`, one},
		"PEM":                           {"# our own\n" + one + "\n" + two, one + two},
		"base64 of PEM":                 {b64(one + two), one + two},
		"base64 of DER":                 {base64.StdEncoding.EncodeToString(block.Bytes), one},
		"a file":                        {file, one + two},
	} {
		r, err := Parse(c.value, os.ReadFile)
		if err != nil || string(r.PEM()) != c.want {
			t.Errorf("%s: got %v\n%s", name, err, r.PEM())
		}
	}
}

func TestWhatIsNoCertificateIsNamed(t *testing.T) {
	t.Parallel()
	key := "-----BEGIN PRIVATE KEY-----\nYzRuNHJ5\n-----END PRIVATE KEY-----\n"
	file := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		"c4n4ry":                       "this has no certificate in PEM",
		"{c4n4ry":                      `this is not JSON of the form {"caCertificates": ["<base64 of PEM>"]}`,
		`{"certificates": ["x"]}`:      "this has no certificate in its caCertificates",
		`{"caCertificates": ["YQ=="]}`: "this: caCertificates[0] has no certificate in PEM",
		key:                            "this holds a PRIVATE KEY where certificates should be",
		file:                           "the file " + file + " holds a PRIVATE KEY where certificates should be",
		"/no/such":                     "the file /no/such cannot be read",
		"-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----": "this has a certificate that cannot be read (number 1)",
	} {
		_, err := Parse(value, os.ReadFile)
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", value, err, want)
		}
	}
}

func TestCertificatesOutOfTheirTimeAreNamed(t *testing.T) {
	t.Parallel()
	r, err := Parse(authority(t, "old", epoch)+authority(t, "good", epoch.Add(2*24*time.Hour))+authority(t, "early", epoch.Add(9*24*time.Hour)), os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"CN=old expired on 2030-01-02", "CN=early is not valid before 2030-01-10"}
	if got := r.Expired(epoch.Add(36 * time.Hour)); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if (*Roots)(nil).PEM() != nil || (*Roots)(nil).Expired(epoch) != nil {
		t.Error("nothing has certificates")
	}
}
