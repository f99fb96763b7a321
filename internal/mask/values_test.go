package mask

import (
	"slices"
	"strings"
	"testing"
)

func TestAValueWithinAStructuredSecretIsASecretOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ secret, text, want string }{
		"JSON":             {`{"user":"admin","password":"correct horse","port":5432}`, "password = correct horse of admin at 5432", "password = ***** of admin at 5432"},
		"JSON, nested":     {`{"a":[{"b":"battery staple"}]}`, `b = "battery staple"`, `b = "*****"`},
		"JSON, escaped":    {`{"p":"a\"b\\c\u00f6dddd"}`, `p = a"b\cödddd`, "p = *****"},
		"credentials file": {"[default]\naws_secret_access_key = wJalrXUtnFEMI\n", "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI", "AWS_SECRET_ACCESS_KEY=*****"},
		"YAML":             {"users:\n- name: x\n  token: \"abc.def.ghi\"\n", "token is abc.def.ghi", "token is *****"},
		"HCL":              {"a = 1\ndb_password = \"long-enough\"\n", "password long-enough", "password *****"},
		"base64 of a value": {
			`{"password":"correct horse"}`, "Authorization: Basic dTpjb3JyZWN0IGhvcnNl", "Authorization: Basic dTp*****",
		},
		"a single line is none": {"key = something", "something", "something"},
		"short values stay":     {"port = 5432\nhost = db-1\n", "5432 db-1", "5432 db-1"},
	} {
		if got := New(Options{Secrets: []string{c.secret}}).String(c.text); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestOddStructuresAreTaken(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 20_000) + `"a long value"` + strings.Repeat("]", 20_000)
	for _, secret := range []string{"{", "[]", `{"a":`, "= x\n: y\n", deep, `["itself itself"]`} {
		m := New(Options{Secrets: []string{secret}})
		if got := m.String("text " + secret); strings.TrimSpace(secret) != "" && Maskable(secret) && strings.TrimSpace(got) != "text "+Stars {
			t.Errorf("%.40q: got %.80q", secret, got)
		}
	}
	if got := values("a = 12345678\nb: 87654321", []string{"a = 12345678", "b: 87654321"}); !slices.Equal(got, []string{"12345678", "87654321"}) {
		t.Errorf("got %q", got)
	}
}
