package mothership

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/setting"
	"github.com/spaceport-iac/spaceport/internal/mothership/web"
)

// Addresses are where a mothership is reached: with port 0 in its settings, only
// it knows.
type Addresses struct {
	API    string `json:"api"`    // base URL, as clients and launchers see it
	Broker string `json:"broker"` // host:port, as launchers see it
	HTTP   string `json:"http"`   // host:port that is listened on
	MQTT   string `json:"mqtt"`
	Health string `json:"health"`
}

// AddressFile is the file in the data directory that has the addresses of the
// running server, as JSON.
const AddressFile = "addresses.json"

// listeners are open ports.
type listeners struct{ http, mqtt, health net.Listener }

// listen opens the ports and says where the mothership is reached.
func (m *Mothership) listen(ctx context.Context, s setting.Resolved) (l listeners, err error) {
	var config net.ListenConfig
	for _, one := range []struct {
		what, address string
		listener      *net.Listener
		said          *string
	}{
		{"API", s.HTTP, &l.http, &m.Addresses.HTTP},
		{"broker", s.MQTT, &l.mqtt, &m.Addresses.MQTT},
		{"health", s.Health, &l.health, &m.Addresses.Health},
	} {
		if *one.listener, err = config.Listen(ctx, "tcp", one.address); err != nil {
			return l, fault.Wrap(err, fault.Unavailable, "the address %s of the %s cannot be listened on: %v", one.address, one.what, reason(err)).
				WithHint("another program may have it: choose another address")
		}
		m.onClose((*one.listener).Close)
		*one.said = (*one.listener).Addr().String()
	}
	scheme := "http"
	if s.TLS != nil {
		scheme = "https"
	}
	m.Addresses.API = scheme + "://" + reachable(m.Addresses.HTTP)
	if s.Public != nil {
		m.Addresses.API = s.Public.String()
	}
	m.Addresses.Broker = reachable(m.Addresses.MQTT)
	if s.Broker != "" {
		m.Addresses.Broker = s.Broker
	}
	return l, nil
}

// reachable is an address that is listened on as one to connect to: every address
// of the host includes the one of its own loopback.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// plain reports whether a base URL would show secrets on the way to it.
func plain(base string) bool {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// hosts are the distinct hosts of addresses, as a certificate names them.
func hosts(addresses ...string) []string {
	var names []string
	for _, a := range addresses {
		host, _, err := net.SplitHostPort(reachable(a))
		if err == nil && !slices.Contains(names, host) {
			names = append(names, host)
		}
	}
	return names
}

// answers checks that a connection to an address of this host can be made.
func answers(address string) web.Check {
	return func(ctx context.Context) error {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", reachable(address))
		if err != nil {
			return reason(err)
		}
		return c.Close()
	}
}

func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

// write puts the addresses into the data directory, whole or not at all.
func (a Addresses) write(dir string) error {
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return fmt.Errorf("encode addresses: %w", err)
	}
	file := filepath.Join(dir, AddressFile)
	if err := os.WriteFile(file+".new", append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write addresses: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("write addresses: %w", err)
	}
	return nil
}
