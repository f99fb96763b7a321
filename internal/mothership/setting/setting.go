package setting

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Settings are what an operator decides. Resolve checks them.
type Settings struct {
	Data   string `name:"data" env:"SPACEPORT_DATA_DIR" default:"/var/lib/spaceport" placeholder:"DIR" help:"Directory of the database, the objects and the key that opens the secrets."`
	HTTP   string `name:"http" env:"SPACEPORT_HTTP" default:"127.0.0.1:1983" placeholder:"ADDR" help:"Address of the API, for people and launchers."`
	MQTT   string `name:"mqtt" env:"SPACEPORT_MQTT" default:"127.0.0.1:1984" placeholder:"ADDR" help:"Address of the built-in broker, for launchers; TLS."`
	Health string `name:"health" env:"SPACEPORT_HEALTH" default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address of /readiness, /startup and /metrics."`

	Domain         string `name:"domain" env:"SERVER_DOMAIN" placeholder:"URL" help:"Public address of the API: a host name, which means https, or a base URL. Left out: the address that is listened on."`
	BrokerEndpoint string `name:"mqtt-endpoint" env:"MQTT_BROKER_ENDPOINT" placeholder:"URL" help:"Public address of the broker: host:port or tls://host:port. Left out: the address that is listened on."`
	BrokerType     string `name:"mqtt-type" env:"MQTT_BROKER_TYPE" default:"builtin" help:"Kind of broker. This version has builtin."`
	ObjectStorage  string `name:"object-storage" env:"OBJECT_STORAGE_TYPE" default:"local" help:"Where objects are kept. This version has local: in the data directory."`
	Database       string `name:"database" env:"DATABASE_URL" default:"sqlite" help:"Which database. This version has sqlite: in the data directory."`
	Encryption     string `name:"encryption" env:"ENCRYPTION_TYPE" default:"local" help:"What keeps secrets at rest. This version has local: a key file in the data directory."`

	TLSCert string `name:"tls-cert" env:"SPACEPORT_TLS_CERT" placeholder:"FILE" help:"Certificate chain of the API, PEM. Left out: plain HTTP, for a proxy in front or the host alone."`
	TLSKey  string `name:"tls-key" env:"SPACEPORT_TLS_KEY" placeholder:"FILE" help:"Its private key, PEM."`

	Account         string `name:"account" env:"SPACEPORT_ACCOUNT" default:"spaceport" help:"Name of the account."`
	AllowFileSource bool   `name:"allow-file-source" env:"SPACEPORT_ALLOW_FILE_SOURCE" help:"Let stacks take their source from file:// URLs on the workers' hosts."`
	LogLevel        string `name:"log-level" env:"SPACEPORT_LOG_LEVEL" default:"info" help:"debug, info, warn or error."`
	LeaseScale      string `name:"lease-scale" env:"SPACEPORT_LEASE_SCALE" default:"1" hidden:"" help:"Multiplies every duration of a run's lease; for tests."`
}

// Unused are names of other installations that are taken and read by nothing, and
// why that does no harm.
func Unused() map[string]string {
	return map[string]string{
		"ADMIN_USERNAME":                     "logging in as an administrator comes with the console; use an API key",
		"ADMIN_PASSWORD":                     "logging in as an administrator comes with the console; use an API key",
		"MESSAGE_QUEUE_TYPE":                 "the queue is in the database",
		"MQTT_BROKER_BUILTIN_LOG_LEVEL":      "the broker logs at the server's level",
		"LICENSE_TYPE":                       "there is no licence",
		"LICENSE_TOKEN":                      "there is no licence",
		"OBSERVABILITY_VENDOR":               "figures are at /metrics",
		"MESSAGE_PROCESSING_TIMEOUT_SECONDS": "the queue is in the database",
	}
}

// Row is a setting as the documentation shows it.
type Row struct {
	Flag, Env, Default, Help string
	Hidden                   bool
}

// Table lists the settings in order.
func Table() []Row {
	var rows []Row
	for field := range reflect.TypeFor[Settings]().Fields() {
		_, hidden := field.Tag.Lookup("hidden")
		rows = append(rows, Row{
			Flag: field.Tag.Get("name"), Env: field.Tag.Get("env"), Default: field.Tag.Get("default"),
			Help: field.Tag.Get("help"), Hidden: hidden,
		})
	}
	return rows
}

// Resolved are settings that were checked.
type Resolved struct {
	Settings
	Level slog.Level
	// Public is the base URL of the API without a path, or nil if it follows from
	// the address that is listened on.
	Public *url.URL
	// Broker is host:port of the broker's public address, or empty likewise.
	Broker     string
	TLS        *tls.Config // nil for plain HTTP
	LeaseScale float64
}

// Resolve checks the settings. Its errors are faults of kind invalid or
// unsupported that name the setting.
func (s Settings) Resolve() (Resolved, error) {
	r := Resolved{Settings: s}
	for _, only := range []struct{ env, value, has, later string }{
		{"MQTT_BROKER_TYPE", s.BrokerType, "builtin", "an external broker comes later"},
		{"OBJECT_STORAGE_TYPE", s.ObjectStorage, "local", "S3, GCS and Azure come later"},
		{"DATABASE_URL", s.Database, "sqlite", "PostgreSQL comes later"},
		{"ENCRYPTION_TYPE", s.Encryption, "local", "key management services come later"},
	} {
		if only.value != only.has {
			// Never the value itself: a database URL holds a password.
			return r, fault.New(fault.Unsupported, "%s can only be %q in this version", only.env, only.has).WithHint("%s", only.later)
		}
	}
	for _, a := range []struct{ env, value string }{{"SPACEPORT_HTTP", s.HTTP}, {"SPACEPORT_MQTT", s.MQTT}, {"SPACEPORT_HEALTH", s.Health}} {
		_, port, err := net.SplitHostPort(a.value)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			return r, bad(a.env, "%q is no address", a.value).WithHint("give host:port, such as 127.0.0.1:1983")
		}
	}
	if s.Data == "" {
		return r, bad("SPACEPORT_DATA_DIR", "no directory is given")
	}
	if strings.TrimSpace(s.Account) == "" {
		return r, bad("SPACEPORT_ACCOUNT", "no name is given")
	}
	if err := r.Level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		return r, bad("SPACEPORT_LOG_LEVEL", "%q is no level", s.LogLevel).WithHint("levels are debug, info, warn and error")
	}
	var err error
	if r.LeaseScale, err = strconv.ParseFloat(s.LeaseScale, 64); err != nil || r.LeaseScale <= 0 || r.LeaseScale > 1 {
		return r, bad("SPACEPORT_LEASE_SCALE", "%q is no number above 0 and up to 1", s.LeaseScale)
	}
	if r.Public, err = public(s.Domain); err != nil {
		return r, err
	}
	if r.Broker, err = broker(s.BrokerEndpoint); err != nil {
		return r, err
	}
	r.TLS, err = certificate(s.TLSCert, s.TLSKey)
	return r, err
}

func public(domain string) (*url.URL, error) {
	if domain == "" {
		return nil, nil
	}
	text := domain
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, bad("SERVER_DOMAIN", "%q is neither a host name nor a base URL", domain).WithHint("give spaceport.example.com or https://spaceport.example.com")
	}
	return u, nil
}

func broker(endpoint string) (string, error) {
	if endpoint == "" {
		return "", nil
	}
	text := strings.TrimSuffix(endpoint, "/")
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		if scheme != "tls" {
			return "", bad("MQTT_BROKER_ENDPOINT", "%q is no tls:// address", endpoint).WithHint("launchers speak TLS to the broker: give tls://host:1984")
		}
		text = rest
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || port == "" {
		return "", bad("MQTT_BROKER_ENDPOINT", "%q is no address", endpoint).WithHint("give host:port or tls://host:port")
	}
	if port == "1983" {
		return "", bad("MQTT_BROKER_ENDPOINT", "port 1983 is that of the API").WithHint("the broker's is 1984 unless it was changed")
	}
	return text, nil
}

func certificate(cert, key string) (*tls.Config, error) {
	switch {
	case cert == "" && key == "":
		return nil, nil
	case cert == "":
		return nil, bad("SPACEPORT_TLS_CERT", "it is missing beside SPACEPORT_TLS_KEY")
	case key == "":
		return nil, bad("SPACEPORT_TLS_KEY", "it is missing beside SPACEPORT_TLS_CERT")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "SPACEPORT_TLS_CERT and SPACEPORT_TLS_KEY cannot be used: %v", err).Named("setting")
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

func bad(env, sentence string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "%s: %s", env, fmt.Sprintf(sentence, args...)).Named("setting")
}
