package setting

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

func TestPrivateSystemsAreMappedByNumber(t *testing.T) {
	t.Parallel()
	s, warnings, err := parse(t, nil,
		"SPACELIFT_PRIVATEVCS_MAPPING_NAME_0=bitbucket_pool", "SPACELIFT_PRIVATEVCS_MAPPING_BASE_ENDPOINT_0=http://192.168.2.2",
		"SPACELIFT_PRIVATEVCS_MAPPING_NAME_1=github.pool", "SPACELIFT_PRIVATEVCS_MAPPING_BASE_ENDPOINT_1=https://internal-github.net/base",
		"SPACELIFT_PRIVATEVCS_MAPPING_NAME_2=shell", "SPACELIFT_PRIVATEVCS_MAPPING_BASE_ENDPOINT_2=ssh://git@10.0.0.1:2222",
		"SPACELIFT_PRIVATEVCS_MAPPING_NAME_3=") // an empty one is none
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"bitbucket_pool": "http://192.168.2.2", "github.pool": "https://internal-github.net/base", "shell": "ssh://git@10.0.0.1:2222"}
	if !maps.Equal(s.PrivateVCS, want) {
		t.Errorf("got %v", s.PrivateVCS)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "SPACELIFT_PRIVATEVCS_MAPPING_BASE_ENDPOINT_0 is plain http") {
		t.Errorf("got %q", warnings)
	}
}

func TestAMapThatCannotBeUsedStopsTheStart(t *testing.T) {
	t.Parallel()
	const name, endpoint = "SPACELIFT_PRIVATEVCS_MAPPING_NAME_", "SPACELIFT_PRIVATEVCS_MAPPING_BASE_ENDPOINT_"
	for want, environ := range map[string][]string{
		name + "0 is not set, but " + endpoint + "1 is":     {endpoint + "1=https://a"},
		name + "1 is not set, but " + endpoint + "2 is":     {name + "0=a", endpoint + "0=https://a", endpoint + "2=https://c"},
		endpoint + "0 is not set, but " + name + "0 is":     {name + "0=a"},
		name + "x does not end in a number":                 {name + "x=a"},
		name + "01 does not end in a number":                {name + "01=a"},
		name + "99999 does not end in a number":             {name + "99999=a"},
		name + "1: \"a\" is mapped twice":                   {name + "0=a", endpoint + "0=https://a", name + "1=a", endpoint + "1=https://b"},
		name + "0: \"a/b\" is not a name":                   {name + "0=a/b", endpoint + "0=https://a"},
		endpoint + "0: it is not an address":                {name + "0=a", endpoint + "0=192.168.2.2"},
		endpoint + "0: it is more than an address":          {name + "0=a", endpoint + "0=https://user:canary@git"},
		"SPACELIFT_SSH_KNOWN_HOSTS: the file /nosuch/known": {"SPACELIFT_SSH_KNOWN_HOSTS=/nosuch/known"},
	} {
		_, _, err := parse(t, nil, environ...)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestHostKeysOfTheOperatorAreChecked(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "known_hosts")
	const line = "git.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC2ueOjV3bWHlQlNQyEb2hZqbJ5cPFEkPsuS4k04bXAE\n"
	for text, good := range map[string]bool{line: true, "# a remark\n" + line: true, line + "git.example.com nonsense\n": false, line + "nonsense\n": false} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, err := parse(t, []string{"--ssh-known-hosts", file})
		if good && (err != nil || s.KnownHosts != text) {
			t.Errorf("%q: got %v", text, err)
		}
		if !good && (err == nil || !strings.Contains(err.Error(), "has a line that is no host key")) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
