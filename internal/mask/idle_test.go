package mask

import (
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestASilentStreamShowsAtOnceWhatIsHeldAsStars(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, shown, after, all string }{
		"the rest comes":            {"a hunter2-the-se", "a *****", "cond.", "a *****."},
		"something else comes":      {"a hunter2-the-se", "a *****", "a.", "a *****a."},
		"nothing comes":             {"a hunter2-the-se", "a *****", "", "a *****"},
		"what is too short waits":   {"a hun", "a ", "ter2-the-second.", "a *****."},
		"and is passed on if no":    {"a hun", "a ", "t", "a hunt"},
		"stars are not doubled":     {"a pass hunter2", "a ***** *****", "-the-second.", "a ***** *****."},
		"a secret before, touching": {"a passhunter2", "a *****", "-the-second.", "a *****."},
		"nothing is held":           {"a text", "a text", "!", "a text!"},
	} {
		m := New(Options{Secrets: []string{"hunter2-the-second", "pass"}})
		var out strings.Builder
		w := m.Writer(&out)
		_, _ = io.WriteString(w, c.before)
		for range 2 { // the second time changes nothing
			if err := w.Idle(); err != nil || out.String() != c.shown {
				t.Errorf("%s: idle shows %q, want %q; %v", name, out.String(), c.shown, err)
			}
		}
		m.Add("something new") // what is known anew changes nothing either
		_, _ = io.WriteString(w, c.after)
		if err := w.Close(); err != nil || out.String() != c.all {
			t.Errorf("%s: got %q, want %q; %v", name, out.String(), c.all, err)
		}
	}
}

func TestSilenceNeverShowsASecret(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secrets := rapid.SliceOfN(secretText(), 1, 4).Draw(t, "secrets")
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(append(secrets, "a", "ab", " ")), 1, 6).Draw(t, "text"), "")
		m := New(Options{Secrets: secrets, WellKnown: rapid.Bool().Draw(t, "shapes")})
		var out strings.Builder
		w := m.Writer(&out)
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "chunk")
			_, _ = io.WriteString(w, rest[:n])
			if rapid.Bool().Draw(t, "idle") {
				if err := w.Idle(); err != nil {
					t.Fatal(err)
				}
				if w.Held() > 0 && w.depth() < MinLength && w.depth() != w.Held() {
					t.Fatalf("%d bytes are held, %d may begin a secret", w.Held(), w.depth())
				}
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			if Maskable(s) && strings.Contains(out.String(), strings.TrimSpace(s)) {
				t.Fatalf("the output holds the secret %q: %q", s, out.String())
			}
		}
		// What is masked without silence is masked with it.
		if plain := strings.ReplaceAll(m.String(text), Stars, ""); len(strings.ReplaceAll(out.String(), Stars, "")) > len(plain) {
			t.Fatalf("silence shows more: %q", out.String())
		}
	})
}

func TestSilenceWithinACredentialHidesItsRestToo(t *testing.T) {
	t.Parallel()
	for name, credential := range wellKnown() {
		for cut := 1; cut < len(credential); cut++ {
			m := New(Options{WellKnown: true})
			var out strings.Builder
			w := m.Writer(&out)
			_, _ = io.WriteString(w, "<"+credential[:cut])
			if err := w.Idle(); err != nil || w.Held() > 0 && !strings.HasSuffix(out.String(), Stars) {
				t.Fatalf("%s, silent after %d: %d held, %v", name, cut, w.Held(), err)
			}
			_, _ = io.WriteString(w, credential[cut:]+">")
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			// The end of what tells the kind may be out; nothing that comes after it.
			if got := out.String(); strings.Contains(got, credential[len(credential)-8:]) || !strings.HasSuffix(got, Stars+">") {
				t.Errorf("%s, silent after %d: %q", name, cut, got)
			}
		}
	}
}
