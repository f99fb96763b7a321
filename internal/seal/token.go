package seal

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
)

// TokenVersion is the version of the token this package writes and reads.
const TokenVersion = 1

// Token is what a pool's launchers are configured with. It lives in customers'
// secret stores for years and is useless without the pool's private key. Boot
// scripts read .broker.endpoint from it.
type Token struct {
	V           int      `json:"v"`
	Origin      string   `json:"origin"`
	Pool        string   `json:"pool"`
	Broker      Endpoint `json:"broker"`
	API         Endpoint `json:"api"`
	Certificate string   `json:"certificate"` // PEM text of the pool's certificate
	Roots       [][]byte `json:"roots"`       // DER of the installation's root certificates

	certificate *x509.Certificate
	roots       []*x509.Certificate
}

// Endpoint is an address in a token.
type Endpoint struct {
	Endpoint string `json:"endpoint"`
}

const tokenHint = "copy the whole file that was given when the pool was made or reset"

// ParseToken reads a token, whose base64 may be broken into lines. Faults:
// invalid.token_{empty, base64, json, version, incomplete, certificate, roots}.
func ParseToken(text string) (*Token, error) {
	if strings.TrimSpace(text) == "" {
		return nil, invalid("token_empty", "the pool's token is empty").WithHint(tokenHint)
	}
	if len(text) > maxText {
		return nil, invalid("token_base64", "the pool's token is longer than any token is").WithHint(tokenHint)
	}
	data, err := decodeLoose(text)
	if err != nil {
		return nil, invalidBy(err, "token_base64", "the pool's token is not base64").WithHint(tokenHint)
	}
	var version struct {
		V *int `json:"v"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, invalidBy(err, "token_json", "the pool's token does not hold JSON").WithHint(tokenHint)
	}
	if version.V == nil {
		return nil, invalid("token_incomplete", "the pool's token lacks v").WithHint(tokenHint)
	}
	if *version.V != TokenVersion {
		return nil, invalid("token_version", "the pool's token has version %d, and this program reads version %d", *version.V, TokenVersion).
			WithHint("use a launcher of the release that made the token, or later")
	}
	var t Token
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, invalidBy(err, "token_json", "the pool's token has a field of the wrong kind").WithHint(tokenHint)
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	return &t, nil
}

// check reads the certificates and looks for missing fields.
func (t *Token) check() error {
	for _, f := range []struct{ name, value string }{
		{"origin", t.Origin},
		{"pool", t.Pool},
		{"broker.endpoint", t.Broker.Endpoint},
		{"api.endpoint", t.API.Endpoint},
		{"certificate", t.Certificate},
	} {
		if f.value == "" {
			return invalid("token_incomplete", "the pool's token lacks %s", f.name).WithHint(tokenHint)
		}
	}
	if len(t.Roots) == 0 {
		return invalid("token_incomplete", "the pool's token lacks roots").WithHint(tokenHint)
	}
	cert, err := parseCertificatePEM(t.Certificate)
	if err != nil {
		return invalidBy(err, "token_certificate", "the certificate in the pool's token cannot be read").WithHint(tokenHint)
	}
	roots := make([]*x509.Certificate, 0, len(t.Roots))
	for i, der := range t.Roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return invalidBy(err, "token_roots", "root certificate %d in the pool's token cannot be read", i+1).WithHint(tokenHint)
		}
		roots = append(roots, root)
	}
	t.certificate, t.roots = cert, roots
	return nil
}

func parseCertificatePEM(text string) (*x509.Certificate, error) {
	b, rest := pem.Decode([]byte(text))
	if b == nil || b.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("no certificate block")
	}
	if len(bytes.TrimSpace(rest)) != 0 {
		return nil, fmt.Errorf("something follows the certificate block")
	}
	return x509.ParseCertificate(b.Bytes)
}

// NewToken makes a token and checks it as [ParseToken] would.
func NewToken(t Token) (*Token, error) {
	t.V = TokenVersion
	if err := t.check(); err != nil {
		return nil, err
	}
	return &t, nil
}

// Encode returns the token's text: one line of base64.
func (t Token) Encode() string {
	// Strings and byte slices alone: marshalling cannot fail.
	data, _ := json.Marshal(t)
	return base64.StdEncoding.EncodeToString(data)
}

// PoolCertificate returns the pool's certificate; nil for a Token that comes
// from neither [ParseToken] nor [NewToken].
func (t *Token) PoolCertificate() *x509.Certificate { return t.certificate }

// RootPool returns the installation's root certificates; nil for a Token that
// comes from neither [ParseToken] nor [NewToken].
func (t *Token) RootPool() []*x509.Certificate { return t.roots }
