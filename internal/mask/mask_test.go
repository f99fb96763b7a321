package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// plainly masks by the definition: mark every byte of every occurrence of every
// form, then star each run of marked bytes.
func plainly(text string, secrets []string) string {
	marked := make([]bool, len(text))
	for _, s := range secrets {
		if !Maskable(s) {
			continue
		}
		variants(s, func(form string) {
			for i := 0; i+len(form) <= len(text); i++ {
				if text[i:i+len(form)] == form {
					for j := range len(form) {
						marked[i+j] = true
					}
				}
			}
		})
	}
	var b strings.Builder
	for i := range len(text) {
		switch {
		case !marked[i]:
			b.WriteByte(text[i])
		case i == 0 || !marked[i-1]:
			b.WriteString(Stars)
		}
	}
	return b.String()
}

// secretText draws secrets of few letters, so that they overlap, contain and
// begin each other; never of stars, which masked text is made of.
func secretText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[ab]{4,8}`),
		rapid.StringMatching(`[ab \n]{4,12}`),
		rapid.StringMatching(`[a-z%&"'$\\<]{4,20}`),
		rapid.Map(rapid.SliceOfN(rapid.ByteRange(0x80, 0xff), 4, 12), func(b []byte) string { return string(b) }),
	)
}

func TestMaskingIsTheSameHoweverTheTextIsCut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secrets := rapid.SliceOfN(secretText(), 0, 5).Draw(t, "secrets")
		pieces := []*rapid.Generator[string]{rapid.StringMatching(`[ab \n.]{0,9}`), rapid.StringMatching(`[ -~]{0,9}`)}
		if len(secrets) > 0 {
			pieces = append(pieces, rapid.Custom(func(t *rapid.T) string {
				var forms []string
				variants(rapid.SampledFrom(secrets).Draw(t, "secret"), func(f string) { forms = append(forms, f) })
				if len(forms) == 0 {
					return ""
				}
				form := rapid.SampledFrom(forms).Draw(t, "form")
				return form[:rapid.IntRange(0, len(form)).Draw(t, "cut")] + rapid.SampledFrom([]string{"", form}).Draw(t, "whole")
			}))
		}
		text := strings.Join(rapid.SliceOfN(rapid.OneOf(pieces...), 0, 8).Draw(t, "text"), "")

		m := New(Options{Secrets: secrets})
		var out strings.Builder
		w := m.Writer(&out)
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "chunk")
			if _, err := io.WriteString(w, rest[:n]); err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "flush") {
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if want := plainly(text, secrets); out.String() != want {
			t.Fatalf("got  %q\nwant %q", out.String(), want)
		}
		for _, s := range secrets {
			if Maskable(s) && strings.Contains(out.String(), strings.TrimSpace(s)) {
				t.Fatalf("the output holds the secret %q: %q", s, out.String())
			}
		}
	})
}

func TestASecretLearntBetweenWritesIsMaskedFromThereOn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.SliceOfN(secretText(), 1, 3).Draw(t, "first")
		later := rapid.SliceOfN(secretText(), 1, 3).Draw(t, "later")
		before := rapid.StringMatching(`[ab \n.]{0,20}`).Draw(t, "before")
		after := strings.Join(later, rapid.StringMatching(`[ab.]{0,3}`).Draw(t, "between"))
		m := New(Options{Secrets: first})
		var out strings.Builder
		w := m.Writer(&out)
		_, _ = io.WriteString(w, before)
		m.Add(later...)
		at := out.Len()
		_, _ = io.WriteString(w, after)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for _, s := range append(first, later...) {
			if Maskable(s) && strings.Contains(out.String()[at:], strings.TrimSpace(s)) {
				t.Fatalf("the output holds the secret %q: %q", s, out.String())
			}
		}
	})
}

const pemKey = `-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj
MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu
NMoSfm76oqFvAp8Gy0iz5sxjZmSnXyCdPEovGhLa0VzMaQ8s+CLOyS56YyCFGeJZ
-----END PRIVATE KEY-----
`

func TestAMultiLineSecretIsMaskedInEveryShape(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSpace(pemKey), "\n")
	shapes := map[string]string{
		"whole":                      pemKey,
		"each line prefixed":         "1: " + strings.Join(lines, "\n2: "),
		"shell trace":                "+ echo '" + pemKey + "'",
		"line breaks as spaces":      strings.Join(lines, " "),
		"line breaks as backslash n": strings.Join(lines, `\n`),
		"line breaks dropped":        strings.Join(lines, ""),
		"line breaks as %0A":         strings.Join(lines, "%0A"),
		"terminal line ends":         strings.Join(lines, "\r\n"),
		"JSON":                       string(must(json.Marshal(map[string]string{"key": pemKey}))),
		"JSON in JSON":               string(must(json.Marshal(string(must(json.Marshal(pemKey)))))),
		"URL query":                  url.QueryEscape(pemKey),
		"wrapped base64":             wrap(base64.StdEncoding.EncodeToString([]byte(pemKey)), 76),
		"base64":                     base64.StdEncoding.EncodeToString([]byte(pemKey)),
		"hex":                        hex.EncodeToString([]byte(pemKey)),
	}
	m := New(Options{Secrets: []string{pemKey}})
	encoded := base64.StdEncoding.EncodeToString([]byte(pemKey))
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			got := m.String(shape)
			for _, l := range lines {
				for _, form := range []string{l, url.QueryEscape(l)} {
					if strings.Contains(got, form) {
						t.Errorf("a line shows: %q", got)
					}
				}
			}
			for i := 0; i+12 < len(encoded); i += 12 {
				if strings.Contains(got, encoded[i:i+12]) {
					t.Errorf("base64 shows: %q", got)
				}
			}
			if strings.Contains(got, hex.EncodeToString([]byte(lines[1]))) || strings.Contains(got, "MIIE") {
				t.Errorf("the key shows: %q", got)
			}
		})
	}
}

func TestBase64OfASecretAmidOtherBytesIsMasked(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t/value+Ωmega!"
	m := New(Options{Secrets: []string{secret}})
	for before := range 7 {
		for after := range 4 {
			text := strings.Repeat("x", before) + secret + strings.Repeat("y", after)
			for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
				encoded := e.EncodeToString([]byte(text))
				got := m.String("<" + encoded + ">")
				if !strings.Contains(got, Stars) {
					t.Fatalf("%d before, %d after: %q is not masked", before, after, encoded)
				}
				// At most the characters that share bits with a neighbour remain.
				left := len(strings.ReplaceAll(got, Stars, "")) - 2
				if most := (before*8+5)/6 + (after*8+5)/6 + 2 + 2; left > most {
					t.Errorf("%d before, %d after: %d characters of %q remain in %q", before, after, left, encoded, got)
				}
			}
		}
	}
}

func TestQuotedFormsAreMasked(t *testing.T) {
	t.Parallel()
	const secret = `p%a's"s<w>&o$r{d}\x ${y}`
	m := New(Options{Secrets: []string{secret}})
	bash := func(script string) string {
		out, err := exec.Command("bash", "-c", script, "bash", secret).CombinedOutput()
		if err != nil {
			t.Fatalf("bash: %v: %s", err, out)
		}
		return string(out)
	}
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	_ = e.Encode(secret)
	for name, text := range map[string]string{
		"raw":             secret,
		"query":           url.QueryEscape(secret),
		"path":            url.PathEscape(secret),
		"lower-case URL":  lowerEscapes(url.QueryEscape(secret)),
		"JSON":            string(must(json.Marshal(secret))),
		"JSON in JSON":    string(must(json.Marshal(string(must(json.Marshal(secret)))))),
		"JSON, no HTML":   plain.String(),
		"bash printf %q":  bash(`printf %q "$1"`),
		"bash trace":      bash(`set -x; : "$1"`),
		"bash ${x@Q}":     bash(`printf %s "${1@Q}"`),
		"double quotes":   `"p%a's\"s<w>&o\$r{d}\\x \${y}"`,
		"Terraform's own": `"p%a's\"s<w>&o$r{d}\\x $${y}"`,
	} {
		got := m.String(text)
		if !strings.Contains(got, Stars) || strings.Contains(got, "p%a") || strings.Contains(got, "${y}") {
			t.Errorf("%s: %q became %q", name, text, got)
		}
	}
}

func TestTheLongestSecretAndOverlapsAreCovered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		secrets    []string
		text, want string
	}{
		"one begins the other":   {[]string{"pass", "password"}, "a password, a pass.", "a *****, a *****."},
		"one ends the other":     {[]string{"word", "password"}, "password word", "***** *****"},
		"one within the other":   {[]string{"sswo", "password"}, "xpasswordx sswo", "x*****x *****"},
		"overlap":                {[]string{"abcd", "cdef"}, "-abcdef-", "-*****-"},
		"neighbours are one run": {[]string{"abcd"}, "-abcdabcd-", "-*****-"},
		"failed longer match":    {[]string{"abcdefgh", "cdef"}, "-abcdefgx-", "-ab*****gx-"},
		"nothing":                {nil, "plain", "plain"},
		"surrounding space":      {[]string{"  hush hush\n"}, "[hush hush]", "[*****]"},
	} {
		if got := New(Options{Secrets: c.secrets}).String(c.text); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestAShortSecretIsNotMaskedAndCounted(t *testing.T) {
	t.Parallel()
	m := New(Options{Secrets: []string{"dev", " no\n", "", "****", "long enough"}})
	if m.Add("xy", "dev") != 1 || m.Skipped() != 4 {
		t.Errorf("skipped %d, want 4", m.Skipped())
	}
	if got := m.String("dev no **** xy"); got != "dev no **** xy" {
		t.Errorf("got %q", got)
	}
	if got := m.Secrets(); len(got) != 1 || got[0] != "long enough" {
		t.Errorf("secrets %q", got)
	}
}

func TestFlushKeepsWhatMayBeginASecretAndCloseReleasesIt(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	w := New(Options{Secrets: []string{"hunter2"}}).Writer(&out)
	_, _ = io.WriteString(w, "the hunt")
	_ = w.Flush()
	if out.String() != "the " || w.Held() != 4 {
		t.Fatalf("after flush %q, %d held", out.String(), w.Held())
	}
	_, _ = io.WriteString(w, "ing")
	if out.String() != "the hunting" {
		t.Fatalf("after more %q", out.String())
	}
	_, _ = io.WriteString(w, " hunter")
	if err := w.Close(); err != nil || out.String() != "the hunting hunter" {
		t.Fatalf("after close %q, %v", out.String(), err)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("a closed writer took more")
	}
}

func TestASecretLearntWhileItsBeginningIsHeldIsMasked(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	m := New(Options{Secrets: []string{"hunter2"}})
	w := m.Writer(&out)
	_, _ = io.WriteString(w, "the hunt")
	m.Add("hunt-the-fox")
	_, _ = io.WriteString(w, "-the-fox!")
	if err := w.Close(); err != nil || out.String() != "the *****!" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestASecretHalfPassedOnStaysCoveredWhenMoreAreLearnt(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	m := New(Options{Secrets: []string{"abcd", "bcdefgh"}})
	w := m.Writer(&out)
	_, _ = io.WriteString(w, "abcde") // "bcde" is held, of which "bcd" is covered
	if out.String() != Stars || w.Held() != 4 {
		t.Fatalf("got %q, %d held", out.String(), w.Held())
	}
	m.Add("another one")
	_, _ = io.WriteString(w, "!")
	if err := w.Close(); err != nil || out.String() != "*****e!" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestAFailingDestinationIsReported(t *testing.T) {
	t.Parallel()
	w := New(Options{}).Writer(brokenWriter{})
	if _, err := w.Write([]byte("text")); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	if err := w.Close(); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

func TestWritersAndAddersWorkTogether(t *testing.T) {
	t.Parallel()
	m := New(Options{Secrets: []string{"always-here"}})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() { m.Add(fmt.Sprintf("secret-number-%d", i)) })
		all.Go(func() {
			var out strings.Builder
			w := m.Writer(&out)
			for range 50 {
				_, _ = io.WriteString(w, "text always-")
				_, _ = io.WriteString(w, "here text\n")
			}
			_ = w.Close()
			if strings.Contains(out.String(), "always-here") || strings.Count(out.String(), Stars) != 50 {
				t.Errorf("got %q", out.String())
			}
		})
	}
	all.Wait()
}

func TestAMaskerPrintsAsStars(t *testing.T) {
	t.Parallel()
	m := New(Options{Secrets: []string{"hunter2hunter2"}})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(verb, m); got != Stars {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func wrap(s string, width int) string { return strings.Join(chunks(s, width), "\n") }
