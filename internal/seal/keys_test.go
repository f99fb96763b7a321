package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestPoolKeyIsReadInEveryFormThatPeoplePaste(t *testing.T) {
	t.Parallel()
	want := key(t, "pool2048.key").Fingerprint()
	for _, name := range []string{"pool2048.key", "pool2048-pkcs1.key"} {
		data := read(t, "keys", name)
		for form, text := range map[string]string{
			"one line":   base64.StdEncoding.EncodeToString(data),
			"unpadded":   base64.RawStdEncoding.EncodeToString(data),
			"URL":        base64.URLEncoding.EncodeToString(data),
			"broken":     broken(data),
			"plain PEM":  string(data),
			"with notes": "Bag Attributes\n" + string(data),
		} {
			k, err := ParsePoolKey(text)
			if err != nil {
				t.Errorf("%s, %s: %v", name, form, err)
			} else if k.Fingerprint() != want {
				t.Errorf("%s, %s: fingerprint %s, want %s", name, form, k.Fingerprint(), want)
			}
		}
	}
	if bits := key(t, "pool4096.key").Public().N.BitLen(); bits != 4096 {
		t.Errorf("%d bits, want 4096", bits)
	}
}

func TestEachWrongPoolKeyHasItsOwnFault(t *testing.T) {
	t.Parallel()
	file := func(name string) string { return base64.StdEncoding.EncodeToString(read(t, "keys", name)) }
	whole := string(read(t, "keys", "pool2048.key"))
	for name, c := range map[string]struct{ text, code string }{
		"nothing":              {" \n", "empty"},
		"no base64":            {"$(base64 -w0 spacelift.key)", "base64"},
		"base64 of no PEM":     {base64.StdEncoding.EncodeToString([]byte("hello there, world")), "pem"},
		"cut PEM":              {base64.StdEncoding.EncodeToString([]byte(whole[:len(whole)/2])), "pem"},
		"damaged PEM":          {strings.Replace(whole, "MII", "MIJ", 1), "pem"},
		"two keys":             {whole + string(read(t, "keys", "other.key")), "pem"},
		"endless":              {strings.Repeat("A", maxText+1), "pem"},
		"encrypted PKCS#8":     {file("encrypted-pkcs8.key"), "passphrase"},
		"encrypted PKCS#1":     {file("encrypted-pkcs1.key"), "passphrase"},
		"P-256":                {file("ec.key"), "type"},
		"P-256 in its own PEM": {file("ec-sec1.key"), "type"},
		"Ed25519":              {file("ed25519.key"), "type"},
		"OpenSSH":              {file("openssh.key"), "type"},
		"1024 bits":            {file("weak.key"), "weak"},
		"public key":           {file("public.pem"), "public"},
		"certificate":          {file("pool2048.crt"), "certificate"},
		"request":              {file("pool2048.csr"), "csr"},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := ParsePoolKey(c.text)
			wantCode(t, err, "invalid.pool_key_"+c.code)
			if k != nil {
				t.Error("a key came with the fault")
			}
			if len(c.text) > 40 && len(c.text) < maxText && strings.Contains(fmt.Sprintf("%+v", err), c.text[len(c.text)/2:len(c.text)/2+20]) {
				t.Error("the fault repeats what was given")
			}
		})
	}
}

func TestPoolKeyPrintsAsStars(t *testing.T) {
	t.Parallel()
	k := key(t, "pool2048.key")
	type holder struct {
		Shown  *PoolKey
		Value  PoolKey
		hidden PoolKey
	}
	digits := k.inner.private.D.String()
	hexDigits := fmt.Sprintf("%x", k.inner.private.D)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, k); got != stars {
			t.Errorf("%s prints %q", verb, got)
		}
		got := fmt.Sprintf(verb, holder{k, *k, *k})
		if strings.Contains(got, digits[:40]) || strings.Contains(got, hexDigits[:40]) {
			t.Errorf("%s of a struct prints the key", verb)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("key", "pointer", k, "value", *k)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("key", "pointer", k, "value", *k)
	if strings.Contains(log.String(), digits[:40]) || strings.Count(log.String(), stars) != 4 {
		t.Errorf("logged %s", log.String())
	}
	if _, err := json.Marshal(holder{Shown: k}); err == nil {
		t.Error("a key was marshalled")
	}
}

func TestACertificateOfAnotherKeyIsAMismatch(t *testing.T) {
	t.Parallel()
	cert := certificate(t, "pool2048.crt")
	if err := key(t, "pool2048.key").Matches(cert); err != nil {
		t.Error(err)
	}
	wantCode(t, key(t, "other.key").Matches(cert), "invalid.token_key_mismatch")
}

func TestCSRIsReadInEveryFormThatPeoplePaste(t *testing.T) {
	t.Parallel()
	for _, size := range []string{"2048", "4096"} {
		data := read(t, "keys", "pool"+size+".csr")
		for _, text := range []string{string(data), base64.StdEncoding.EncodeToString(data), broken(data)} {
			got, err := ParseCSR(text)
			if err != nil {
				t.Fatal(err)
			}
			if want := key(t, "pool"+size+".key").Fingerprint(); got.Fingerprint != want || !got.Public.Equal(key(t, "pool"+size+".key").Public()) {
				t.Errorf("fingerprint %s, want %s", got.Fingerprint, want)
			}
		}
	}
}

func TestEachWrongCSRHasItsOwnFault(t *testing.T) {
	t.Parallel()
	file := func(name string) string { return string(read(t, "keys", name)) }
	good := file("pool2048.csr")
	for name, c := range map[string]struct{ text, code string }{
		"nothing":            {"", "empty"},
		"no base64":          {"@spacelift.csr", "base64"},
		"base64 of no PEM":   {"aGVsbG8gdGhlcmUsIHdvcmxk", "pem"},
		"public key":         {file("public.pem"), "pem"},
		"damaged":            {strings.Replace(good, "MII", "MIJ", 1), "broken"},
		"altered signature":  {alterLast(good), "signature"},
		"outdated signature": {file("md5.csr"), "signature"},
		"P-256":              {file("ec.csr"), "type"},
		"Ed25519":            {file("ed25519.csr"), "type"},
		"1024 bits":          {file("weak.csr"), "weak"},
		"certificate":        {file("pool2048.crt"), "certificate"},
		"private key":        {base64.StdEncoding.EncodeToString([]byte(file("pool2048.key"))), "private_key"},
		"key beside it":      {good + file("ec-sec1.key"), "private_key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseCSR(c.text)
			wantCode(t, err, "invalid.csr_"+c.code)
			if strings.Contains(err.Error(), "MII") {
				t.Error("the fault repeats what was given")
			}
		})
	}
}

// alterLast changes a bit of the signature, which ends a request.
func alterLast(text string) string {
	b := blocksOf([]byte(text))[0]
	b.Bytes[len(b.Bytes)-5] ^= 1
	return "-----BEGIN CERTIFICATE REQUEST-----\n" + base64.StdEncoding.EncodeToString(b.Bytes) + "\n-----END CERTIFICATE REQUEST-----\n"
}

func TestRecoveryRecipientsAreNamedByTheirOwnNames(t *testing.T) {
	t.Parallel()
	rs, _ := recovery(t)
	if len(rs) != 2 || !strings.HasPrefix(rs[0].Fingerprint, "age1") || !strings.HasPrefix(rs[1].Fingerprint, "SHA256:") {
		t.Errorf("got %v", Fingerprints(rs))
	}
	if got := key(t, "pool2048.key"); got.Recipient().Fingerprint != got.Fingerprint() {
		t.Errorf("pool recipient %s, want %s", got.Recipient().Fingerprint, got.Fingerprint())
	}
}

func TestAWrongRecipientIsNamedByItsLine(t *testing.T) {
	t.Parallel()
	good := "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
	weak := "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDCcZ6wJbnCyF5PtiLAbB5ODMUQAQ+Z+kS5rQhJmu7cTe5dDZ0+fWHWSSKZxlOYKzTBYI6f8G2aYTMmPXCyqMb4vy8wq8JWcbWTyDpAtxBUXVxP3kXQAVjRzWDaBaTyYfXkX8yFLtAXeKzC0jXUgXtQkxpTIdfTAnwFh6FvYlZUwQ=="
	for name, c := range map[string]struct{ line, code string }{
		"age private key": {string(read(t, "keys", "recovery-age.key")), "private_key"},
		"PEM private key": {"-----BEGIN OPENSSH PRIVATE KEY-----", "private_key"},
		"cut age key":     {good[:40], "format"},
		"cut SSH key":     {"ssh-ed25519 AAAAC3Nz", "format"},
		"nonsense":        {"alice@example.org", "format"},
		"weak":            {weak, "weak"},
		"post-quantum":    {"age1pq1" + strings.Repeat("q", 90), "type"},
		"twice":           {good, "duplicate"},
		"SSH certificate": {"ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=", "type"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRecipients(good + "\n# why\n" + c.line)
			wantCode(t, err, "invalid.recipient_"+c.code)
			if !strings.Contains(err.Error(), "line 3") && name != "age private key" {
				t.Errorf("the line is not named: %v", err)
			}
			if strings.Contains(err.Error(), "AGE-SECRET") {
				t.Error("the fault repeats the key")
			}
		})
	}
}
