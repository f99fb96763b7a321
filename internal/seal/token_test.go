package seal

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

func testToken(t testing.TB) *Token {
	t.Helper()
	token, err := NewToken(Token{
		Origin: testOrigin, Pool: testPool, Broker: Endpoint{"tls://spaceport.example:1984"}, API: Endpoint{"https://spaceport.example"},
		Certificate: string(read(t, "keys", "pool2048.crt")), Roots: [][]byte{certificate(t, "root.crt").Raw},
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestTokenIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	want := testToken(t)
	text := want.Encode()
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{text, broken(plain), "\n" + text + "\n"} {
		got, err := ParseToken(form)
		if err != nil {
			t.Fatal(err)
		}
		if got.Encode() != text || !got.PoolCertificate().Equal(certificate(t, "pool2048.crt")) || len(got.RootPool()) != 1 {
			t.Errorf("got %+v", got)
		}
	}
	// What boot scripts read.
	var script struct {
		Broker struct{ Endpoint string }
	}
	if err := json.Unmarshal(plain, &script); err != nil || script.Broker.Endpoint != "tls://spaceport.example:1984" {
		t.Errorf("broker.endpoint is %q, %v", script.Broker.Endpoint, err)
	}
}

func TestEachWrongTokenHasItsOwnFault(t *testing.T) {
	t.Parallel()
	plain, _ := base64.StdEncoding.DecodeString(testToken(t).Encode())
	var fields map[string]any
	if err := json.Unmarshal(plain, &fields); err != nil {
		t.Fatal(err)
	}
	with := func(name string, value any) string {
		changed := maps.Clone(fields)
		changed[name] = value
		if value == nil {
			delete(changed, name)
		}
		data, _ := json.Marshal(changed)
		return base64.StdEncoding.EncodeToString(data)
	}
	for name, c := range map[string]struct{ text, code string }{
		"nothing":           {"  ", "empty"},
		"no base64":         {"{}", "base64"},
		"no JSON":           {base64.StdEncoding.EncodeToString([]byte("hello")), "json"},
		"cut":               {base64.StdEncoding.EncodeToString(plain[:len(plain)/2]), "json"},
		"wrong kind":        {with("origin", 7), "json"},
		"later version":     {with("v", 2), "version"},
		"no version":        {with("v", nil), "incomplete"},
		"no origin":         {with("origin", nil), "incomplete"},
		"no pool":           {with("pool", nil), "incomplete"},
		"no broker":         {with("broker", nil), "incomplete"},
		"no API":            {with("api", nil), "incomplete"},
		"no certificate":    {with("certificate", nil), "incomplete"},
		"no roots":          {with("roots", nil), "incomplete"},
		"a bad certificate": {with("certificate", "-----BEGIN"), "certificate"},
		"two certificates":  {with("certificate", strings.Repeat(fields["certificate"].(string), 2)), "certificate"},
		"a bad root":        {with("roots", []string{"AAAA"}), "roots"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseToken(c.text)
			wantCode(t, err, "invalid.token_"+c.code)
		})
	}
}

func jobKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)) }

func testHeader(job []byte) JobHeader {
	return JobHeader{
		Origin: testOrigin, Pool: testPool, Worker: "01JW0RKER00000000000000000", Session: 3, Nonce: "n0nce", Run: testRun,
		Attempt: 2, Class: ClassWrite, Job: Digest(job), Size: int64(len(job)),
	}
}

func TestAJobIsTakenOnlyByTheOneItIsFor(t *testing.T) {
	t.Parallel()
	job := []byte("sealed job")
	h := testHeader(job)
	data, err := h.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sig, err := SignJob(jobKey(), data)
	if err != nil {
		t.Fatal(err)
	}
	pub := jobKey().Public().(ed25519.PublicKey)
	got, err := VerifyJob([]ed25519.PublicKey{{1}, pub}, data, sig)
	if err != nil || *got != h {
		t.Fatal(got, err)
	}
	want := JobExpectation{Origin: h.Origin, Pool: h.Pool, Worker: h.Worker, Session: 3, Nonce: h.Nonce, Run: h.Run, Attempt: 2, Class: ClassWrite}
	if err := got.Check(want); err != nil {
		t.Fatal(err)
	}
	for code, change := range map[string]func(*JobExpectation){
		"origin":  func(e *JobExpectation) { e.Origin = "x" },
		"pool":    func(e *JobExpectation) { e.Pool = "x" },
		"worker":  func(e *JobExpectation) { e.Worker = "x" },
		"session": func(e *JobExpectation) { e.Session = 4 },
		"nonce":   func(e *JobExpectation) { e.Nonce = "x" },
		"run":     func(e *JobExpectation) { e.Run = "x" },
		"attempt": func(e *JobExpectation) { e.Attempt = 1 },
		"class":   func(e *JobExpectation) { e.Class = ClassRead },
	} {
		t.Run("another "+code, func(t *testing.T) {
			other := want
			change(&other)
			wantCode(t, got.Check(other), "invalid.job_"+code)
		})
	}
	if got.Check(JobExpectation{}) == nil {
		t.Error("an empty expectation was met")
	}
	if err := got.CheckSealed(job); err != nil {
		t.Error(err)
	}
	wantCode(t, got.CheckSealed([]byte("sealed jab")), "invalid.job_digest")
	altered := bytes.Replace(data, []byte("class write"), []byte("class read"), 1)
	_, err = VerifyJob([]ed25519.PublicKey{pub}, altered, sig)
	wantCode(t, err, "invalid.job_signature")
	_, err = VerifyJob(nil, data, sig)
	wantCode(t, err, "invalid.job_signature")
	_, err = ParseJobHeader(append(bytes.Clone(data), "x y\n"...))
	wantCode(t, err, "invalid.job_format")
	_, err = ParseJobHeader(bytes.Replace(data, []byte("class write"), []byte("class both"), 1))
	wantCode(t, err, "invalid.job_format")
}

func rootKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := x509.ParsePKCS8PrivateKey(blocksOf(read(t, "keys", "root.key"))[0].Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return k.(*ecdsa.PrivateKey)
}

func testBundle() Bundle {
	return Bundle{
		Origin: testOrigin, Issued: 1_790_000_000, JobKeys: [][]byte{jobKey().Public().(ed25519.PublicKey)},
		BrokerEndpoint: "tls://spaceport.example:1984", APIEndpoint: "https://spaceport.example", ObjectOrigins: []string{"https://objects.example"},
	}
}

func TestABundleIsBelievedOnlyFromTheTokensRoot(t *testing.T) {
	t.Parallel()
	roots := []*x509.Certificate{certificate(t, "pool2048.crt"), certificate(t, "root.crt")}
	signed, err := SignBundle(rootKey(t), testBundle())
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenBundle(signed, roots, testOrigin)
	if err != nil || len(got.Keys()) != 1 || !got.Keys()[0].Equal(jobKey().Public()) {
		t.Fatal(got, err)
	}
	_, err = OpenBundle(signed, roots, "elsewhere")
	wantCode(t, err, "invalid.bundle_origin")
	_, err = OpenBundle(signed, roots[:1], testOrigin)
	wantCode(t, err, "invalid.bundle_signature")

	t.Run("a root inside the bundle vouches for nothing", func(t *testing.T) {
		stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		b := testBundle()
		b.Roots = [][]byte{roots[1].Raw}
		forged, err := SignBundle(stranger, b)
		if err != nil {
			t.Fatal(err)
		}
		_, err = OpenBundle(forged, roots, testOrigin)
		wantCode(t, err, "invalid.bundle_signature")
	})
	t.Run("altered bytes", func(t *testing.T) {
		bad := signed
		bad.Bytes = bytes.Replace(signed.Bytes, []byte("objects.example"), []byte("objects.evil!!!"), 1)
		_, err := OpenBundle(bad, roots, testOrigin)
		wantCode(t, err, "invalid.bundle_signature")
	})
	t.Run("a root's signature over something else", func(t *testing.T) {
		// The DER of a certificate that the root issued, with its signature.
		cert := certificate(t, "pool2048.crt")
		_, err := OpenBundle(SignedBundle{cert.RawTBSCertificate, cert.Signature}, roots, testOrigin)
		wantCode(t, err, "invalid.bundle_signature")
	})
	for name, change := range map[string]func(*Bundle){
		"no job key":    func(b *Bundle) { b.JobKeys = nil },
		"short job key": func(b *Bundle) { b.JobKeys = [][]byte{{1, 2}} },
		"no origin":     func(b *Bundle) { b.Origin = "" },
		"bad root":      func(b *Bundle) { b.Roots = [][]byte{{1}} },
	} {
		b := testBundle()
		change(&b)
		if _, err := SignBundle(rootKey(t), b); err == nil {
			t.Errorf("%s was signed", name)
		}
	}
}

func TestTwoDifferentCoresNeverShareADigest(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for i, lines := range [][][]string{
		{{"command", "a b"}},
		{{"command", "a", "b"}},
		{{"command", `a\sb`}},
		{{"command", "a"}, {"command", "b"}},
		{{"command", "a\ncommand b"}},
		{{"command", "a", ""}},
		{{"command", "a"}},
		{{"command", `a\e`}},
		{{"command", "a", `\e`}},
		{{"command"}},
		{{"command", ""}},
		{{"command", "a\r"}},
		{{"command", `a\r`}},
		{},
	} {
		var c Core
		for _, l := range lines {
			c.Add(l[0], l[1:]...)
		}
		if j, ok := seen[c.Digest()]; ok {
			t.Errorf("cores %d and %d have the same digest", i, j)
		}
		seen[c.Digest()] = i
		if n := strings.Count(string(c.Marshal()), "\n"); n != len(lines)+1 {
			t.Errorf("core %d has %d lines", i, n)
		}
	}
}
