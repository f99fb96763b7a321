package mask

import (
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// Examples are put together here, so that scanners of repositories find none.
var (
	alnum   = strings.Repeat("aB3dE6gH9j", 10)
	someJWT = "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
	someKey = "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEowIBAAKCAQEA\n+/abcdefghij==\n-----END RSA PRIVATE " + "KEY-----"
)

func wellKnown() map[string]string {
	return map[string]string{
		"AWS key id":          "AKIA" + "IOSFODNN7EXAMPLE",
		"AWS session key id":  "ASIA" + "IOSFODNN7EXAMPLE",
		"Azure AD secret":     "abc8Q~" + alnum[:34],
		"Azure storage":       "AccountKey=" + alnum[:86] + "==",
		"Azure service bus":   "SharedAccessKey=" + alnum[:43] + "=",
		"GitHub PAT":          "ghp_" + alnum[:36],
		"GitHub OAuth":        "gho_" + alnum[:36],
		"GitHub app":          "ghs_" + alnum[:36],
		"GitHub user":         "ghu_" + alnum[:36],
		"GitHub refresh":      "ghr_" + alnum[:76],
		"GitHub fine-grained": "github_pat_" + alnum[:22] + "_" + alnum[:59],
		"JSON web token":      someJWT,
		"unsigned JWT":        someJWT[:strings.LastIndexByte(someJWT, '.')+1],
		"Slack bot":           "xoxb-" + "123456789012-1234567890123-" + alnum[:24],
		"Slack app":           "xapp-1-" + "A0123456789-" + alnum[:24],
		"RSA key":             someKey,
		"PEM key":             strings.ReplaceAll(someKey, "RSA ", ""),
		"PGP key":             strings.ReplaceAll(strings.ReplaceAll(someKey, "RSA ", "PGP "), "KEY-", "KEY BLOCK-"),
		"key in JSON":         strings.ReplaceAll(someKey, "\n", `\n`),
	}
}

func TestWellKnownCredentialsAreHiddenOnlyIfAskedFor(t *testing.T) {
	t.Parallel()
	for name, credential := range wellKnown() {
		for _, around := range [][2]string{{"", ""}, {"token: \"", "\",\n"}, {"https://u:", "@example.com/\n"}, {"A=", ";B=c "}} {
			text := around[0] + credential + around[1]
			want := around[0] + Stars + around[1]
			if got := New(Options{}).String(text); got != text {
				t.Errorf("%s, not asked for: %q", name, got)
			}
			for size := 1; size <= len(text); size = size*2 + 1 {
				if got := inPieces(t, New(Options{WellKnown: true}), text, func() int { return size }); got != want {
					t.Errorf("%s in pieces of %d: got %q, want %q", name, size, got, want)
				}
			}
		}
	}
}

func TestWhatOnlyResemblesACredentialStays(t *testing.T) {
	t.Parallel()
	m := New(Options{WellKnown: true})
	for _, text := range []string{
		"AKIA", "AKIAtoolowercaseletters12", "ghp_short", "github_pat_", "eyJhbGciOiJIUzI1NiJ9", "xoxb-", "what is Q~ for",
		"AccountKey=", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "-----BEGIN", "-----BEGIN ", "-----BEGIN RSA PRIVATE KEY",
		"-----BEGIN a PRIVATE KEY-----", "module.network.aws_subnet.private[3]: Still creating... [id=subnet-01234567]",
		strings.Repeat("a", 3*longestWord), "-----BEGIN " + strings.Repeat("A", 200) + " x",
	} {
		if got := m.String(text); got != text {
			t.Errorf("%.80q became %.80q", text, got)
		}
	}
}

func TestAKeyWithoutAnEndHidesNoMoreThanAKey(t *testing.T) {
	t.Parallel()
	begin := "-----BEGIN PRIVATE " + "KEY-----"
	text := "see " + begin + strings.Repeat("log line\n", longestKey) + "the end"
	want := "see " + Stars + strings.Repeat("log line\n", longestKey)[longestKey:] + "the end"
	if got := New(Options{WellKnown: true}).String(text); got != want {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

func TestShapesAndSecretsOverlap(t *testing.T) {
	t.Parallel()
	token := wellKnown()["GitHub PAT"]
	m := New(Options{Secrets: []string{"user:" + token[:10], token[30:] + " and more"}, WellKnown: true})
	for _, text := range []string{"<user:" + token + ">", "<" + token + " and more>", "<user:" + token + " and more>"} {
		for size := range 20 {
			if got := inPieces(t, m, text, func() int { return size + 1 }); got != "<"+Stars+">" {
				t.Errorf("%q became %q", text, got)
			}
		}
	}
}

func TestAWordBeyondAllBoundsIsHiddenToItsEnd(t *testing.T) {
	t.Parallel()
	m := New(Options{WellKnown: true})
	text := strings.TrimSuffix(someJWT, someJWT[len(someJWT)-10:]) + strings.Repeat("x", 3*longestWord)
	if got := inPieces(t, m, text+" end", func() int { return 1000 }); got != Stars+" end" {
		t.Errorf("got %.80q", got)
	}
}

func TestRandomTextWithCredentialsIsTheSameHoweverItIsCut(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	var parts []string
	for _, c := range wellKnown() {
		parts = append(parts, c)
	}
	parts = append(parts, " ", "\n", "text", "-----BEGIN ", "ghp_", `"`, "=", "eyJ", ".")
	m := New(Options{Secrets: []string{"text ghp_", "PRIVATE"}, WellKnown: true})
	for range 300 {
		var text strings.Builder
		for range 1 + rng.IntN(8) {
			text.WriteString(parts[rng.IntN(len(parts))])
		}
		want := m.String(text.String())
		if got := inPieces(t, m, text.String(), func() int { return 1 + rng.IntN(9) }); got != want {
			t.Fatalf("%q: got %q, want %q", text.String(), got, want)
		}
	}
}

// inPieces masks a text that comes in pieces of given sizes.
func inPieces(t *testing.T, m *Masker, text string, size func() int) string {
	t.Helper()
	var out strings.Builder
	w := m.Writer(&out)
	for rest := text; rest != ""; {
		n := min(size(), len(rest))
		if _, err := io.WriteString(w, rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
