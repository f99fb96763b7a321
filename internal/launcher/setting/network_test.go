package setting

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// newAuthority is a certificate in PEM.
func newAuthority(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestProxiesAreReadByEitherSpelling(t *testing.T) {
	t.Parallel()
	s, warnings, err := parse(t, nil, "http_proxy=a:1", "HTTPS_PROXY=http://b:2", "https_proxy=http://u:c4n4ry@c:3", "no_proxy=direct.example.com", "NO_PROXY=direct.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{"http://x": "http://a:1", "https://x": "http://b:2", "https://direct.example.com": ""} {
		u, _ := url.Parse(address)
		got := ""
		if via := s.Proxy.For(u); via != nil {
			got = via.String()
		}
		if got != want {
			t.Errorf("%s goes through %q, want %q", address, got, want)
		}
	}
	if !slices.Equal(warnings, []string{"https_proxy differs from HTTPS_PROXY, which is used"}) {
		t.Errorf("warnings %q", warnings)
	}
}

func TestAProxyOfThisHostAloneIsWarnedAboutWithContainers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		env  string
		want int
	}{
		{nil, "HTTPS_PROXY=http://u:c4n4ry@127.0.0.1:3128", 1},
		{nil, "HTTPS_PROXY=localhost:3128", 1},
		{nil, "HTTPS_PROXY=http://10.0.0.1:3128", 0},
		{[]string{"--backend", "process"}, "HTTPS_PROXY=localhost:3128", 0},
		{[]string{"--worker-network", "host"}, "HTTPS_PROXY=localhost:3128", 0},
	} {
		_, warnings, err := parse(t, c.args, c.env)
		if err != nil || len(warnings) != c.want || strings.Contains(strings.Join(warnings, ""), "c4n4ry") {
			t.Errorf("%v %s: %q, %v", c.args, c.env, warnings, err)
		}
	}
}

func TestAuthoritiesAreGivenInPlaceOrInAFile(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	s, _, err := parse(t, nil, "ADDITIONAL_ROOT_CAS="+string(ca))
	if err != nil || !bytes.Equal(s.Roots.PEM(), ca) {
		t.Fatalf("got %s, %v", s.Roots.PEM(), err)
	}
}
