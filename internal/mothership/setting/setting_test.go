package setting

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

var update = flag.Bool("update", false, "write docs/server-settings.md anew")

// defaults are the settings as the command line fills them when nothing is set.
func defaults() Settings {
	return Settings{
		Data: "/data", HTTP: "127.0.0.1:1983", MQTT: "127.0.0.1:1984", Health: "127.0.0.1:8080", BrokerType: "builtin",
		ObjectStorage: "local", Database: "sqlite", Encryption: "local", Account: "spaceport", LogLevel: "info", LeaseScale: "1",
	}
}

func TestEverySettingHasItsFlagItsNameAndItsSentence(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, row := range Table() {
		if row.Flag == "" || row.Env == "" || seen[row.Flag] || seen[row.Env] {
			t.Errorf("row %+v lacks a flag and a name of its own", row)
		}
		seen[row.Flag], seen[row.Env] = true, true
		if !strings.HasSuffix(row.Help, ".") {
			t.Errorf("--%s: its help is no sentence", row.Flag)
		}
	}
	for name := range Unused() {
		if seen[name] {
			t.Errorf("%s is both used and unused", name)
		}
	}
}

func TestTheDocumentationIsThatOfTheTable(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "..", "docs", "server-settings.md")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(Docs()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != Docs() {
		t.Error("docs/server-settings.md is not that of the table: go test ./internal/mothership/setting -update")
	}
}

func TestAValueThatCannotBeUsedIsRefusedByItsName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env  string
		kind fault.Code
		set  func(*Settings)
	}{
		{"MQTT_BROKER_TYPE", fault.Unsupported, func(s *Settings) { s.BrokerType = "iotcore" }},
		{"OBJECT_STORAGE_TYPE", fault.Unsupported, func(s *Settings) { s.ObjectStorage = "aws" }},
		{"DATABASE_URL", fault.Unsupported, func(s *Settings) { s.Database = "postgres://spaceport:canary@db/spaceport" }},
		{"ENCRYPTION_TYPE", fault.Unsupported, func(s *Settings) { s.Encryption = "kms" }},
		{"SPACEPORT_HTTP", fault.Invalid, func(s *Settings) { s.HTTP = "localhost" }},
		{"SPACEPORT_MQTT", fault.Invalid, func(s *Settings) { s.MQTT = "1984" }},
		{"SPACEPORT_HEALTH", fault.Invalid, func(s *Settings) { s.Health = "" }},
		{"SPACEPORT_DATA_DIR", fault.Invalid, func(s *Settings) { s.Data = "" }},
		{"SPACEPORT_ACCOUNT", fault.Invalid, func(s *Settings) { s.Account = " " }},
		{"SPACEPORT_LOG_LEVEL", fault.Invalid, func(s *Settings) { s.LogLevel = "loud" }},
		{"SPACEPORT_LEASE_SCALE", fault.Invalid, func(s *Settings) { s.LeaseScale = "0" }},
		{"SERVER_DOMAIN", fault.Invalid, func(s *Settings) { s.Domain = "https://example.com/graphql" }},
		{"MQTT_BROKER_ENDPOINT", fault.Invalid, func(s *Settings) { s.BrokerEndpoint = "mqtt://example.com:1984" }},
		{"MQTT_BROKER_ENDPOINT", fault.Invalid, func(s *Settings) { s.BrokerEndpoint = "example.com:1983" }},
		{"SPACEPORT_TLS_KEY", fault.Invalid, func(s *Settings) { s.TLSCert = "cert.pem" }},
		{"SPACEPORT_TLS_CERT", fault.Invalid, func(s *Settings) { s.TLSKey = "key.pem" }},
		{"SPACEPORT_TLS_CERT", fault.Invalid, func(s *Settings) { s.TLSCert, s.TLSKey = "/none/cert.pem", "/none/key.pem" }},
	} {
		s := defaults()
		c.set(&s)
		_, err := s.Resolve()
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.env) {
			t.Errorf("%s: got %v, want a fault of kind %s that names it", c.env, err, c.kind)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the password is shown: %v", c.env, err)
		}
	}
}

func TestAddressesAreTakenInTheFormsThatPeopleWrite(t *testing.T) {
	t.Parallel()
	for domain, want := range map[string]string{
		"spaceport.example.com":          "https://spaceport.example.com",
		"spaceport.example.com:8443":     "https://spaceport.example.com:8443",
		"https://spaceport.example.com/": "https://spaceport.example.com",
		"http://127.0.0.1:1983":          "http://127.0.0.1:1983",
	} {
		s := defaults()
		s.Domain = domain
		r, err := s.Resolve()
		if err != nil || r.Public.String() != want {
			t.Errorf("SERVER_DOMAIN %q gives %v, %v; want %s", domain, r.Public, err, want)
		}
	}
	for endpoint, want := range map[string]string{"": "", "b.example.com:1984": "b.example.com:1984", "tls://b.example.com:8883": "b.example.com:8883"} {
		s := defaults()
		s.BrokerEndpoint = endpoint
		r, err := s.Resolve()
		if err != nil || r.Broker != want {
			t.Errorf("MQTT_BROKER_ENDPOINT %q gives %q, %v; want %q", endpoint, r.Broker, err, want)
		}
	}
}

func TestUnknownAndUnusedNamesAreWarnedAbout(t *testing.T) {
	t.Parallel()
	got := strings.Join(Warnings([]string{
		"SPACEPORT_DATADIR=/x", "ADMIN_USERNAME=root", "ADMIN_PASSWORD=", "SPACEPORT_HTTP=:1", "SPACELIFT_TOKEN=x", "PATH=/bin",
	}), "\n")
	want := "ADMIN_USERNAME is set and has no effect: logging in as an administrator comes with the console; use an API key\n" +
		"SPACEPORT_DATADIR is not a setting of the server; did you mean SPACEPORT_DATA_DIR?"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
