package quickstart

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spaceport-iac/spaceport/internal/durable"
	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/seal"
)

// addresses are where the server listens, each "127.0.0.1:port".
type addresses struct{ http, mqtt, health string }

var defaultAddresses = addresses{http: "127.0.0.1:1983", mqtt: "127.0.0.1:1984", health: "127.0.0.1:8080"}

func (a addresses) endpoint() string { return "http://" + a.http }

// wantedAddresses are those that an earlier start's token names, so that the
// token stays good, else the documented ones.
func wantedAddresses(l layout) addresses {
	a := defaultAddresses
	text, err := os.ReadFile(l.token())
	if err != nil {
		return a
	}
	token, err := seal.ParseToken(string(text))
	if err != nil {
		return a
	}
	if host := hostOf(token.API.Endpoint); isLoopback(host) {
		a.http = host
	}
	if host := hostOf(token.Broker.Endpoint); isLoopback(host) {
		a.mqtt = host
	}
	return a
}

// hostOf returns host:port of an URL, or of an endpoint that is just that.
func hostOf(endpoint string) string {
	if !strings.Contains(endpoint, "://") {
		return endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return u.Host
}

func isLoopback(hostPort string) bool {
	host, port, err := net.SplitHostPort(hostPort)
	return err == nil && host == "127.0.0.1" && port != "" && port != "0"
}

// chooseAddresses takes the wanted addresses where they are free, and free ports
// of the kernel's choice elsewhere. It returns which wanted ones were taken.
func chooseAddresses(ctx context.Context, wanted addresses) (got addresses, taken []string, err error) {
	// All are held at once, so that no two get the same port.
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	var listen net.ListenConfig
	choose := func(want string) string {
		l, listenErr := listen.Listen(ctx, "tcp", want)
		if listenErr != nil {
			taken = append(taken, want)
			l, listenErr = listen.Listen(ctx, "tcp", "127.0.0.1:0")
		}
		if listenErr != nil {
			err = fault.Wrap(listenErr, fault.Unavailable, "no free port can be had on 127.0.0.1")
			return ""
		}
		held = append(held, l)
		return l.Addr().String()
	}
	got = addresses{choose(wanted.http), choose(wanted.mqtt), choose(wanted.health)}
	return got, taken, err
}

// startServer starts `spaceport server` and waits until it is ready.
func (s *session) startServer(ctx context.Context) (string, map[string]any, error) {
	// Between our look at the ports and the server's, another quickstart may take
	// one; then they are chosen anew.
	for again := 2; ; again-- {
		got, taken, err := chooseAddresses(ctx, wantedAddresses(s.dir))
		if err != nil {
			return "", nil, err
		}
		if len(taken) > 0 {
			s.note("server", fmt.Sprintf("%s: taken; other ports are used", strings.Join(taken, ", ")))
		}
		s.address = got
		c, err := s.tryServer(ctx, got)
		if err == nil {
			s.procs.rely(c)
			return "the mothership answers at " + got.endpoint(),
				pairs("url", got.endpoint(), "mqtt", got.mqtt, "health", got.health, "log", c.spec.log), nil
		}
		if c == nil || !c.ended() || again == 0 {
			return "", nil, err
		}
		if _, taken, lookErr := chooseAddresses(ctx, got); lookErr != nil || len(taken) == 0 {
			return "", nil, err // it ended for another reason
		}
	}
}

// tryServer starts a server on trial and waits until it is ready. The child is nil
// if there is none.
func (s *session) tryServer(ctx context.Context, at addresses) (*child, error) {
	// An earlier server's; this one's tells it from a stranger on the same ports.
	if err := os.Remove(s.dir.addresses()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("forget the addresses of an earlier start: %w", err)
	}
	c, err := s.procs.start(childSpec{
		name: "the mothership", binary: s.opts.Server, log: s.dir.log("server"), signals: 1, grace: 15 * time.Second, onTrial: true,
		args: []string{
			"server", "--data", s.dir.root, "--http", at.http, "--mqtt", at.mqtt, "--health", at.health,
			// The quickstart's repository is a directory of this machine.
			"--allow-file-source",
		},
		env: inherited(s.opts.Environ),
	})
	if err != nil {
		return nil, err
	}
	return c, s.poll(ctx, time.Minute, "the mothership's readiness", func(ctx context.Context) (bool, string, error) {
		if c.ended() {
			return false, "", c.endedFault()
		}
		if _, err := os.Stat(s.dir.addresses()); err != nil {
			return false, "it has not opened its ports yet", nil
		}
		return ready(ctx, "http://"+at.health+"/readiness")
	})
}

// ready asks once.
func ready(ctx context.Context, address string) (bool, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false, "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err.Error(), nil //nolint:nilerr // not up yet is what we wait for the end of
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	return res.StatusCode == http.StatusOK, res.Status, nil
}

// credentials is an API key as `spaceport apikey create` prints it, with where
// to use it. It is never printed as a whole.
type credentials struct {
	Endpoint string `json:"endpoint"`
	ID       string `json:"id"`
	Secret   string `json:"secret"`
}

// String keeps the secret out of messages.
func (c credentials) String() string { return "API key " + c.ID }

// getCredentials goes on with the API key of an earlier start if it still works,
// else makes one with the command that a customer would use.
func (s *session) getCredentials(ctx context.Context) (string, map[string]any, error) {
	path := s.dir.credentials()
	data := pairs("file", path)
	if b, err := os.ReadFile(path); err == nil {
		var c credentials
		if err := json.Unmarshal(b, &c); err == nil && c.ID != "" {
			c.Endpoint = s.address.endpoint()
			if err := s.connect(ctx, c); err == nil {
				data["id"] = c.ID
				return "going on with API key " + c.ID, data, s.keep(c)
			}
			s.note("credentials", "the API key in "+path+" does not work any more; a new one is made")
		}
	}
	out, err := s.command(ctx, "apikey", "create", "--name", keyName, "--admin", "--data", s.dir.root)
	if err != nil {
		return "", nil, err
	}
	c := credentials{}
	if err := json.Unmarshal(out, &c); err != nil || c.ID == "" || c.Secret == "" {
		return "", nil, errors.New("spaceport apikey create printed something else than a key")
	}
	c.Endpoint = s.address.endpoint()
	if err := s.keep(c); err != nil {
		return "", nil, err
	}
	data["id"] = c.ID
	return "API key " + c.ID + ", kept in " + path, data, s.connect(ctx, c)
}

func (s *session) keep(c credentials) error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encode credentials: %w", err)
	}
	return durable.WriteFile(s.dir.credentials(), append(b, '\n'))
}

// connect signs in.
func (s *session) connect(ctx context.Context, c credentials) error {
	api, err := dial(ctx, c)
	if err != nil {
		return err
	}
	s.key, s.api = c, api
	return nil
}

// command runs our own binary as a person would and returns what it printed.
func (s *session) command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, s.opts.Server, args...)
	cmd.Env = inherited(s.opts.Environ)
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	said := err.Error()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		said = printable(strings.SplitN(strings.TrimSpace(string(exit.Stderr)), "\n", 2)[0])
	}
	return nil, fault.Wrap(err, fault.Unavailable, "spaceport %s failed: %s", strings.Join(args[:2], " "), said)
}
