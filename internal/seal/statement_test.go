package seal

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"os"
	"strings"
	"testing"
)

const (
	testOrigin = "01JORIGIN0000000000000000A"
	testPool   = "01JP00L0000000000000000000"
	testStack  = "01JSTACK000000000000000000"
	testRun    = "01JRVN00000000000000000000"
)

var digestA, digestB = Digest([]byte("a")), Digest([]byte("b"))

// workspaceStatement returns a valid statement over ciphertext.
func workspaceStatement(k *PoolKey, ciphertext []byte) Statement {
	return Statement{
		Kind: KindWorkspace, Origin: testOrigin, Pool: testPool, Signer: k.Fingerprint(), Stack: testStack, Run: testRun,
		Attempt: 2, Sequence: 7, Previous: digestA, Ciphertext: Digest(ciphertext), Size: int64(len(ciphertext)),
		Recipients: []string{k.Fingerprint(), "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"},
		Core:       digestB, State: digestA, Image: "",
	}
}

func expectation() Expectation {
	return Expectation{
		Kind: KindWorkspace, Origin: testOrigin, Pool: testPool, Stack: testStack,
		Run: new(testRun), Attempt: new(int64(2)), Sequence: new(int64(7)), Previous: new(digestA), Core: new(digestB), State: new(digestA),
	}
}

func TestStatementIsFixedLines(t *testing.T) {
	t.Parallel()
	s := workspaceStatement(key(t, "pool2048.key"), []byte("blob"))
	data, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"spaceport-seal-v1", "kind workspace", "origin " + testOrigin, "pool " + testPool, "signer " + s.Signer,
		"stack " + testStack, "run " + testRun, "attempt 2", "sequence 7", "previous " + digestA,
		"ciphertext " + s.Ciphertext, "size 4", "recipients " + s.Recipients[0] + " " + s.Recipients[1],
		"core " + digestB, "state " + digestA, "image none", "",
	}, "\n")
	if string(data) != want {
		t.Errorf("got\n%s\nwant\n%s", data, want)
	}
	got, err := ParseStatement(data)
	if err != nil {
		t.Fatal(err)
	}
	again, err := got.Marshal()
	if err != nil || !bytes.Equal(again, data) {
		t.Errorf("read and written again: %v\n%s", err, again)
	}
}

func TestAStatementInAnyOtherFormIsRefused(t *testing.T) {
	t.Parallel()
	s := workspaceStatement(key(t, "pool2048.key"), []byte("blob"))
	data, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	for name, text := range map[string]string{
		"nothing":            "",
		"other title":        strings.Replace(good, "-v1", "-v2", 1),
		"no last line end":   strings.TrimSuffix(good, "\n"),
		"one more line":      good + "note x\n",
		"one more line end":  good + "\n",
		"a line twice":       strings.Replace(good, "size 4\n", "size 4\nsize 4\n", 1),
		"a line less":        strings.Replace(good, "size 4\n", "", 1),
		"another order":      strings.Replace(good, "attempt 2\nsequence 7\n", "sequence 7\nattempt 2\n", 1),
		"CRLF":               strings.ReplaceAll(good, "\n", "\r\n"),
		"two spaces":         strings.Replace(good, "size 4", "size  4", 1),
		"leading zero":       strings.Replace(good, "size 4", "size 04", 1),
		"plus sign":          strings.Replace(good, "size 4", "size +4", 1),
		"negative":           strings.Replace(good, "size 4", "size -4", 1),
		"no number":          strings.Replace(good, "size 4", "size four", 1),
		"empty value":        strings.Replace(good, "image none", "image ", 1),
		"none where needed":  strings.Replace(good, "stack "+testStack, "stack none", 1),
		"upper-case digest":  strings.Replace(good, "core "+digestB, "core sha256:"+strings.ToUpper(digestB[7:]), 1),
		"short digest":       strings.Replace(good, "core "+digestB, "core "+digestB[:60], 1),
		"unknown kind":       strings.Replace(good, "kind workspace", "kind plan", 1),
		"image of a state":   strings.Replace(strings.Replace(good, "kind workspace", "kind state", 1), "image none", "image "+digestA, 1),
		"control character":  strings.Replace(good, testStack, testStack+"\x1b[2K", 1),
		"bidi override":      strings.Replace(good, testStack, testStack+"\u202e", 1),
		"line separator":     strings.Replace(good, testStack, testStack+"\u2028", 1),
		"no UTF-8":           strings.Replace(good, testStack, testStack+"\xff", 1),
		"recipient twice":    strings.Replace(good, "recipients ", "recipients "+s.Signer+" ", 1),
		"recipient list gap": strings.Replace(good, " age1", "  age1", 1),
		"endless":            strings.Replace(good, testStack, strings.Repeat("x", maxLines), 1),
	} {
		t.Run(name, func(t *testing.T) {
			if text == good {
				t.Fatal("the text was not changed")
			}
			_, err := ParseStatement([]byte(text))
			wantCode(t, err, "invalid.seal_format")
		})
	}
}

func TestAValueCannotForgeALine(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"x\nsequence 9", "x\r", "none", "", " x", "x\u0085y"} {
		s := workspaceStatement(key(t, "pool2048.key"), nil)
		s.Stack = value
		_, err := s.Marshal()
		wantCode(t, err, "invalid.seal_format")
	}
}

func TestSealedBlobIsOpenedOnlyWhereItBelongs(t *testing.T) {
	t.Parallel()
	k := key(t, "pool2048.key")
	blob := []byte("ciphertext of some kind")
	s := workspaceStatement(k, blob)
	data, sig := sign(t, k, s)
	trusted := []*rsa.PublicKey{key(t, "other.key").Public(), k.Public()}
	if got, err := VerifySealed(data, sig, trusted, expectation(), bytes.NewReader(blob)); err != nil || got.Sequence != 7 {
		t.Fatal(err)
	}
	for code, change := range map[string]func(*Expectation){
		"kind":       func(e *Expectation) { e.Kind = KindState },
		"origin":     func(e *Expectation) { e.Origin = "elsewhere" },
		"pool":       func(e *Expectation) { e.Pool = "another" },
		"stack":      func(e *Expectation) { e.Stack = "another" },
		"run":        func(e *Expectation) { e.Run = new("another") },
		"attempt":    func(e *Expectation) { e.Attempt = new(int64(3)) },
		"sequence":   func(e *Expectation) { e.Sequence = new(int64(8)) },
		"previous":   func(e *Expectation) { e.Previous = new("") },
		"core":       func(e *Expectation) { e.Core = new(digestA) },
		"state":      func(e *Expectation) { e.State = new(digestB) },
		"ciphertext": func(e *Expectation) { e.Ciphertext = new(digestB) },
		"size":       func(e *Expectation) { e.Size = new(int64(1)) },
		"recipients": func(e *Expectation) { e.Recipients = []string{"age1somebody"} },
	} {
		t.Run("another "+code, func(t *testing.T) {
			want := expectation()
			change(&want)
			_, err := VerifySealed(data, sig, trusted, want, bytes.NewReader(blob))
			wantCode(t, err, "invalid.seal_"+code)
		})
	}
	t.Run("a fault names both values", func(t *testing.T) {
		want := expectation()
		want.Stack = "01JANOTHER"
		err := s.Check(want)
		if !strings.Contains(err.Error(), testStack) || !strings.Contains(err.Error(), "01JANOTHER") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("nothing expected", func(t *testing.T) {
		for _, want := range []Expectation{{}, {Kind: KindWorkspace, Origin: testOrigin, Pool: testPool}} {
			if s.Check(want) == nil {
				t.Error("an empty expectation was met")
			}
		}
	})
}

func TestAForgedBlobIsRefusedBeforeItIsOpened(t *testing.T) {
	t.Parallel()
	k, other := key(t, "pool2048.key"), key(t, "other.key")
	blob := []byte("ciphertext of some kind")
	s := workspaceStatement(k, blob)
	data, sig := sign(t, k, s)
	trusted := []*rsa.PublicKey{k.Public()}
	check := func(t *testing.T, code string, data, sig []byte, trusted []*rsa.PublicKey, blob []byte) {
		t.Helper()
		_, err := VerifySealed(data, sig, trusted, expectation(), bytes.NewReader(blob))
		wantCode(t, err, code)
	}
	t.Run("no trusted key", func(t *testing.T) { check(t, "invalid.seal_signature", data, sig, nil, blob) })
	t.Run("a key that has left", func(t *testing.T) {
		check(t, "invalid.seal_signature", data, sig, []*rsa.PublicKey{other.Public()}, blob)
	})
	t.Run("signed by another", func(t *testing.T) {
		_, forged := sign(t, other, s)
		check(t, "invalid.seal_signature", data, forged, trusted, blob)
	})
	t.Run("signed by one, naming another", func(t *testing.T) {
		_, forged := sign(t, other, s)
		check(t, "invalid.seal_signer", data, forged, []*rsa.PublicKey{k.Public(), other.Public()}, blob)
	})
	t.Run("altered statement", func(t *testing.T) {
		check(t, "invalid.seal_signature", bytes.Replace(data, []byte("sequence 7"), []byte("sequence 8"), 1), sig, trusted, blob)
	})
	t.Run("another salt length", func(t *testing.T) {
		sum := sha256.Sum256(data)
		long, err := rsa.SignPSS(rand.Reader, k.inner.private, pssOptions.Hash, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto})
		if err != nil {
			t.Fatal(err)
		}
		check(t, "invalid.seal_signature", data, long, trusted, blob)
	})
	t.Run("PKCS#1 v1.5", func(t *testing.T) {
		sum := sha256.Sum256(data)
		old, err := rsa.SignPKCS1v15(nil, k.inner.private, pssOptions.Hash, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		check(t, "invalid.seal_signature", data, old, trusted, blob)
	})
	t.Run("cut blob", func(t *testing.T) { check(t, "invalid.seal_size", data, sig, trusted, blob[:5]) })
	t.Run("longer blob", func(t *testing.T) {
		check(t, "invalid.seal_size", data, sig, trusted, append(blob[:len(blob):len(blob)], 'x'))
	})
	t.Run("altered blob", func(t *testing.T) {
		bad := bytes.Clone(blob)
		bad[3] ^= 1
		check(t, "invalid.seal_ciphertext", data, sig, trusted, bad)
	})
	t.Run("signed nonsense", func(t *testing.T) {
		junk := []byte("spaceport-seal-v1\n")
		junkSig, err := k.SignStatement(junk)
		if err != nil {
			t.Fatal(err)
		}
		check(t, "invalid.seal_format", junk, junkSig, trusted, blob)
	})
}

func sign(t testing.TB, k *PoolKey, s Statement) (data, sig []byte) {
	t.Helper()
	data, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sig, err = k.SignStatement(data)
	if err != nil {
		t.Fatal(err)
	}
	return data, sig
}

func TestMarksNeverGoBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m, err := NewMarks(dir + "/marks")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok, err := m.Get(testStack); ok || err != nil {
		t.Fatal(ok, err)
	}
	for _, step := range []func() error{
		func() error { return m.CheckAbsent(testStack) },
		func() error { return m.Check(testStack, 3, digestA) },
		func() error { return m.Advance(testStack, 3, digestA) },
		func() error { return m.Advance(testStack, 3, digestA) },
		func() error { return m.Check(testStack, 3, digestA) },
		func() error { return m.Check(testStack, 9, digestB) },
		func() error { return m.Advance(testStack, 5, digestB) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	again, err := NewMarks(dir + "/marks") // a launcher started anew
	if err != nil {
		t.Fatal(err)
	}
	if seq, digest, ok, err := again.Get(testStack); seq != 5 || digest != digestB || !ok || err != nil {
		t.Fatal(seq, digest, ok, err)
	}
	for name, err := range map[string]error{
		"an older state":          again.Advance(testStack, 4, digestA),
		"an older state, opening": again.Check(testStack, 4, digestA),
		"another of the same":     again.Advance(testStack, 5, digestA),
		"no state":                again.CheckAbsent(testStack),
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, err, "invalid.seal_rollback") })
	}
	if seq, _, _, _ := again.Get(testStack); seq != 5 {
		t.Errorf("a refused step moved the mark to %d", seq)
	}
}

func TestADamagedMarkIsNotNoMark(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m, err := NewMarks(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "spaceport-mark-v1\nstack x\n", "spaceport-mark-v1\nstack 01JANTHER00000000000000000\nsequence 1\ndigest " + digestA + "\n"} {
		if err := os.WriteFile(dir+"/"+testStack, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if m.CheckAbsent(testStack) == nil || m.Advance(testStack, 9, digestA) == nil {
			t.Errorf("the mark %q was taken for none", text)
		}
	}
	for _, name := range []string{"", "../../../etc/passwd.000000", strings.Repeat("/", 26), strings.ToLower(testStack)} {
		if m.Advance(name, 1, digestA) == nil {
			t.Errorf("a mark was kept for %q", name)
		}
	}
}
