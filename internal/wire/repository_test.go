package wire

import "testing"

func TestTheHostOfARepositoryIsWhatACredentialNames(t *testing.T) {
	t.Parallel()
	for address, want := range map[string][2]string{
		"https://Git.Example.com/a":       {"https", "git.example.com"},
		"https://git.example.com:443/a":   {"https", "git.example.com"},
		"https://git.example.com:8443/a":  {"https", "git.example.com:8443"},
		"https://[::1]:443/a":             {"https", "[::1]"},
		"http://127.0.0.1:80/a":           {"http", "127.0.0.1"},
		"ssh://git@git.example.com:22/a":  {"ssh", "git.example.com"},
		"ssh://git@git.example.com:443/a": {"ssh", "git.example.com:443"},
		"git@Git.example.com:team/a.git":  {"ssh", "git.example.com"},
		"git@git.example.com:/a":          {"ssh", "git.example.com"},
		"private://Pool_1/team/a":         {"private", "private://Pool_1"},
		"private:///a":                    {"", ""},
		"file:///srv/a":                   {"file", ""},
		"/srv/a":                          {"", ""},
		"ext::sh -c id":                   {"", ""},
		"a b":                             {"", ""},
	} {
		if scheme, host := RepositoryHost(address); scheme != want[0] || host != want[1] {
			t.Errorf("%s: got %q at %q", address, scheme, host)
		}
	}
}
