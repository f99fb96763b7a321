package seal

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
)

func testClaims(t testing.TB) Claims {
	t.Helper()
	worker, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, worker)
	if err != nil {
		t.Fatal(err)
	}
	fingerprint, err := FingerprintOf(&worker.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return Claims{
		Audience: testOrigin, Nonce: "n0nce", Pool: testPool, Certificate: Digest(certificate(t, "pool2048.crt").Raw),
		CSR: csr, Recipient: "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", Session: 4, Worker: fingerprint,
		Version: "0.1.0", Metadata: map[string]string{"instance_id": "i-1"}, Keys: []string{key(t, "pool2048.key").Fingerprint()},
	}
}

func TestARegistrationIsReadByTheCertificateItNames(t *testing.T) {
	t.Parallel()
	k, cert, claims := key(t, "pool2048.key"), certificate(t, "pool2048.crt"), testClaims(t)
	jws, err := SignRegistration(k, claims)
	if err != nil {
		t.Fatal(err)
	}
	peek, err := PeekRegistration(jws)
	if err != nil || peek.Pool != testPool || peek.Certificate != Digest(cert.Raw) {
		t.Fatal(peek, err)
	}
	got, err := ParseRegistration(jws, cert)
	if err != nil {
		t.Fatal(err)
	}
	if got.Worker != claims.Worker || got.Session != 4 || got.Metadata["instance_id"] != "i-1" || !bytes.Equal(got.CSR, claims.CSR) {
		t.Errorf("got %+v", got)
	}
	pub, err := got.WorkerKey()
	if err != nil {
		t.Fatal(err)
	}
	if f, _ := FingerprintOf(pub); f != claims.Worker {
		t.Errorf("worker key %s, want %s", f, claims.Worker)
	}
	if err := got.Check(testOrigin, testPool, "n0nce"); err != nil {
		t.Error(err)
	}
	wantCode(t, got.Check("elsewhere", testPool, "n0nce"), "invalid.registration_audience")
	wantCode(t, got.Check(testOrigin, "another", "n0nce"), "invalid.registration_pool")
	wantCode(t, got.Check(testOrigin, testPool, "older"), "invalid.registration_nonce")
	got.Nonce = ""
	wantCode(t, got.Check(testOrigin, testPool, ""), "invalid.registration_nonce")
}

// forge makes a compact JWS with any header and any signature.
func forge(t testing.TB, header map[string]any, payload any, sign func(input []byte) []byte) string {
	t.Helper()
	part := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	input := part(header) + "." + part(payload)
	return input + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(input)))
}

func TestNoOtherAlgorithmIsAccepted(t *testing.T) {
	t.Parallel()
	k, cert, claims := key(t, "pool2048.key"), certificate(t, "pool2048.crt"), testClaims(t)
	spki, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	hash := func(in []byte) []byte { s := sha256.Sum256(in); return s[:] }
	pss := func(in []byte) []byte {
		sig, err := rsa.SignPSS(rand.Reader, k.inner.private, crypto.SHA256, hash(in), &pssOptions)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	rs256 := func(in []byte) []byte {
		sig, err := rsa.SignPKCS1v15(nil, k.inner.private, crypto.SHA256, hash(in))
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	mac := func(secret []byte) func([]byte) []byte {
		return func(in []byte) []byte { m := hmac.New(sha256.New, secret); m.Write(in); return m.Sum(nil) }
	}
	none := func([]byte) []byte { return nil }
	typ := registrationType
	for name, c := range map[string]struct {
		header map[string]any
		sign   func([]byte) []byte
		code   string
	}{
		"none":                      {map[string]any{"alg": "none", "typ": typ}, none, "algorithm"},
		"None":                      {map[string]any{"alg": "None", "typ": typ}, none, "algorithm"},
		"HS256 by the public DER":   {map[string]any{"alg": "HS256", "typ": typ}, mac(spki), "algorithm"},
		"HS256 by the public PEM":   {map[string]any{"alg": "HS256", "typ": typ}, mac(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})), "algorithm"},
		"RS256 by the right key":    {map[string]any{"alg": "RS256", "typ": typ}, rs256, "algorithm"},
		"ES256":                     {map[string]any{"alg": "ES256", "typ": typ}, func([]byte) []byte { return make([]byte, 64) }, "algorithm"},
		"PS512":                     {map[string]any{"alg": "PS512", "typ": typ}, pss, "algorithm"},
		"two spellings":             {map[string]any{"alg": []string{"PS256"}, "typ": typ}, pss, "algorithm"},
		"no algorithm":              {map[string]any{"typ": typ}, pss, "algorithm"},
		"PS256 said, RS256 signed":  {map[string]any{"alg": "PS256", "typ": typ}, rs256, "signature"},
		"PS256 said, HMAC signed":   {map[string]any{"alg": "PS256", "typ": typ}, mac(spki), "signature"},
		"PS256 said, unsigned":      {map[string]any{"alg": "PS256", "typ": typ}, none, "signature"},
		"another type":              {map[string]any{"alg": "PS256", "typ": "JWT"}, pss, "format"},
		"no type":                   {map[string]any{"alg": "PS256"}, pss, "format"},
		"a key of its own":          {map[string]any{"alg": "PS256", "typ": typ, "jwk": map[string]any{"kty": "RSA"}}, pss, "format"},
		"a place to find a key":     {map[string]any{"alg": "PS256", "typ": typ, "jku": "https://evil.example"}, pss, "format"},
		"a name for a key":          {map[string]any{"alg": "PS256", "typ": typ, "kid": "../../dev/null"}, pss, "format"},
		"critical extension":        {map[string]any{"alg": "PS256", "typ": typ, "crit": []string{"exp"}}, pss, "format"},
		"payload not in its base64": {map[string]any{"alg": "PS256", "typ": typ, "b64": false}, pss, "format"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRegistration(forge(t, c.header, claims, c.sign), cert)
			wantCode(t, err, "invalid.registration_"+c.code)
		})
	}
	t.Run("the same by hand is accepted, so that the table means something", func(t *testing.T) {
		if _, err := ParseRegistration(forge(t, map[string]any{"alg": "PS256", "typ": typ}, claims, pss), cert); err != nil {
			t.Error(err)
		}
	})
	t.Run("a certificate without an RSA key", func(t *testing.T) {
		_, err := ParseRegistration(forge(t, map[string]any{"alg": "PS256", "typ": typ}, claims, pss), certificate(t, "root.crt"))
		wantCode(t, err, "invalid.registration_algorithm")
	})
}

func TestAForeignOrBrokenRegistrationIsRefused(t *testing.T) {
	t.Parallel()
	k, cert, claims := key(t, "pool2048.key"), certificate(t, "pool2048.crt"), testClaims(t)
	good, err := SignRegistration(k, claims)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(k *PoolKey, change func(*Claims)) string {
		c := claims
		change(&c)
		jws, err := SignRegistration(k, c)
		if err != nil {
			t.Fatal(err)
		}
		return jws
	}
	parts := strings.Split(good, ".")
	weak, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherCurve, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, weak)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ jws, code string }{
		"another key":             {signed(key(t, "other.key"), func(*Claims) {}), "signature"},
		"altered payload":         {parts[0] + "." + strings.Replace(parts[1], "Z", "Y", 1) + "." + parts[2], "signature"},
		"another certificate":     {signed(k, func(c *Claims) { c.Certificate = digestA }), "certificate"},
		"another worker":          {signed(k, func(c *Claims) { c.Worker = digestA }), "worker"},
		"no request":              {signed(k, func(c *Claims) { c.CSR = nil }), "csr"},
		"request on P-384":        {signed(k, func(c *Claims) { c.CSR = otherCurve }), "csr"},
		"request not self-signed": {signed(k, func(c *Claims) { c.CSR = append(bytes.Clone(c.CSR[:len(c.CSR)-1]), c.CSR[len(c.CSR)-1]^1) }), "csr"},
		"no recipient":            {signed(k, func(c *Claims) { c.Recipient = "" }), "recipient"},
		"recipient is a key":      {signed(k, func(c *Claims) { c.Recipient = "ssh-ed25519 AAAA" }), "recipient"},
		"nothing":                 {"", "format"},
		"two parts":               {parts[0] + "." + parts[1], "format"},
		"JSON form":               {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, "format"},
		"endless":                 {good + strings.Repeat("A", maxRegistration), "format"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRegistration(c.jws, cert)
			wantCode(t, err, "invalid.registration_"+c.code)
		})
	}
}
