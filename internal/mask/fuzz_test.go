package mask

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// Seeds are here and in testdata/fuzz: what was found once stays there.

// FuzzWriter: what comes out is what the definition of masking says, for secrets
// of any bytes and text that is cut anywhere.
func FuzzWriter(f *testing.F) {
	f.Add("p%ss\\word", "the p%ss\\word", 3)
	f.Add("line one\nline two", "line one line two", 5)
	f.Add("\x80\xff\x00\x01", "\x80\xff\x00\x01", 1)
	f.Fuzz(func(t *testing.T, secret, text string, chunk int) {
		if chunk < 1 || strings.ContainsRune(secret, '*') || len(secret) > 200 || len(text) > 2000 {
			return
		}
		text += secret
		m := New(Options{Secrets: []string{secret}})
		got := inPieces(t, m, text, func() int { return chunk })
		if want := plainly(text, []string{secret}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// FuzzEncodings: whatever stands around a secret, its encoded form does not come
// out. The encoders are the standard library's, not ours.
func FuzzEncodings(f *testing.F) {
	f.Add("correct horse battery", "deploy:", "@host", 4)
	f.Add("ends with space ", "", "", 1)
	f.Add("two\nlines\r\nof it", "x", "", 7)
	f.Add("\x00\xfe\xff binary \x80", "\x01", "\x02\x03", 2)
	f.Add(`{"a":"b c d e f g"}`, "{", "}", 5)
	f.Fuzz(func(t *testing.T, secret, before, after string, chunk int) {
		secret = strings.TrimSpace(secret)
		if chunk < 1 || len(secret) < 8 || len(secret) > 200 || len(before)+len(after) > 200 || strings.Contains(secret+before+after, "*") {
			return
		}
		text := before + secret + after
		query := url.QueryEscape(before) + url.QueryEscape(secret) + url.QueryEscape(after)
		quoted, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		m := New(Options{Secrets: []string{secret}})
		for name, form := range map[string]string{
			"raw": text, "query": query, "JSON": string(quoted), "hex": hex.EncodeToString([]byte(text)),
			"base64": base64.StdEncoding.EncodeToString([]byte(text)), "URL base64": base64.RawURLEncoding.EncodeToString([]byte(text)),
		} {
			got := inPieces(t, m, form, func() int { return chunk })
			if !strings.Contains(got, Stars) {
				t.Errorf("%s: %q is not masked", name, form)
			}
			// Of base64 one character at either end shares its bits with a neighbour.
			if left := len(strings.ReplaceAll(got, Stars, "")); left > len(form)-len(secret)+2 {
				t.Errorf("%s: %q became %q", name, form, got)
			}
		}
	})
}

// FuzzShapes: how text is cut changes nothing about the credentials that are
// hidden, and what is not hidden comes out as it was.
func FuzzShapes(f *testing.F) {
	for _, c := range wellKnown() {
		f.Add("text "+c+"\nmore", "mo", 3)
	}
	f.Add("-----BEGIN PRIVATE KEY-----", "PRIVATE", 5)
	f.Add("AKIA0000000000000000AKIA", "0AKIA", 1)
	f.Fuzz(func(t *testing.T, text, secret string, chunk int) {
		if chunk < 1 || len(text) > 4000 || len(secret) > 100 {
			return
		}
		m := New(Options{Secrets: []string{secret}, WellKnown: true})
		whole := m.String(text)
		if got := inPieces(t, m, text, func() int { return chunk }); got != whole {
			t.Errorf("in pieces of %d: got %q, want %q", chunk, got, whole)
		}
		rest := text
		for part := range strings.SplitSeq(whole, Stars) {
			if strings.Contains(text, Stars) {
				return
			}
			at := strings.Index(rest, part)
			if at < 0 {
				t.Fatalf("%q is not of the text %q", part, text)
			}
			rest = rest[at+len(part):]
		}
	})
}
