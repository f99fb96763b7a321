package mask

import (
	"io"
	"strings"
	"testing"
)

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
		var out strings.Builder
		w := m.Writer(&out)
		for rest := text; rest != ""; {
			n := min(chunk, len(rest))
			_, _ = io.WriteString(w, rest[:n])
			rest = rest[n:]
		}
		_ = w.Close()
		if want := plainly(text, []string{secret}); out.String() != want {
			t.Errorf("got %q, want %q", out.String(), want)
		}
	})
}
