// Package hint keeps the channel on which a mothership says "look again".
//
// A hint carries nothing and proves nothing: whoever gets one asks over HTTPS. So
// a lost, doubled, late or forged hint does no harm, the quality of service is the
// lowest, and without a broker all still works, slower. The other way the worker
// publishes signs of life, as empty.
package hint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/spaceport-iac/spaceport/internal/launcher/egress"
	"github.com/spaceport-iac/spaceport/internal/launcher/sleep"
)

// connectTime bounds one try to reach the broker.
const connectTime = 10 * time.Second

// Options configure a Channel.
type Options struct {
	Endpoint    string // host:port or tls://host:port
	Roots       []*x509.Certificate
	Proxy       *egress.Proxy                    // nil: none
	Certificate func() (*tls.Certificate, error) // the worker's, at this moment
	Namespace   string
	Pool        string
	Worker      string
	Presence    time.Duration // between signs of life; up to half as much is added at random
	// Look is called at each hint and when the channel comes up or goes down. It
	// must not block.
	Look func()
	Log  *slog.Logger
	Now  func() time.Time
}

// Channel is a connection that comes back by itself.
type Channel struct {
	o  Options
	up atomic.Bool
}

// New checks the options.
func New(o Options) (*Channel, error) {
	if o.Certificate == nil || o.Look == nil || o.Log == nil || o.Now == nil || o.Pool == "" || o.Worker == "" {
		return nil, errors.New("hint: an option is missing")
	}
	if o.Presence <= 0 {
		o.Presence = 20 * time.Second
	}
	return &Channel{o: o}, nil
}

// Up reports whether hints arrive at this moment.
func (c *Channel) Up() bool { return c.up.Load() }

// backoff is random within a doubling bound: when a broker comes back, its
// launchers must not all come at once.
func backoff(n int) time.Duration {
	bound := min(30*time.Second, 200*time.Millisecond<<min(n, 10))
	return bound/4 + rand.N(bound)
}

// Run keeps the channel until ctx ends.
func (c *Channel) Run(ctx context.Context) error {
	endpoint := c.o.Endpoint
	if !strings.Contains(endpoint, "://") {
		endpoint = "tls://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return fmt.Errorf("hint: %q is no broker's address", c.o.Endpoint)
	}
	// Certificates count in TLS alone: plain MQTT would tell neither side who
	// the other is.
	u.Scheme = "tls"
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, root := range c.o.Roots {
		pool.AddCert(root)
	}
	start := c.o.Now()
	var warned atomic.Bool
	settings := &tls.Config{
		RootCAs: pool, MinVersion: tls.VersionTLS12, ServerName: u.Hostname(),
		Time: func() time.Time { return start.Add(c.o.Now().Sub(start)) },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return c.o.Certificate()
		},
	}
	manager, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls: []*url.URL{u},
		AttemptConnection: func(ctx context.Context, _ autopaho.ClientConfig, u *url.URL) (net.Conn, error) {
			return c.dial(ctx, u, settings)
		},
		KeepAlive:                     60,
		CleanStartOnInitialConnection: true,
		ReconnectBackoff:              backoff,
		ConnectTimeout:                connectTime,
		OnConnectionUp: func(m *autopaho.ConnectionManager, _ *paho.Connack) {
			// It does not subscribe again by itself, and must not be blocked here.
			go c.subscribe(ctx, m, &warned)
		},
		OnConnectionDown: func() bool {
			if c.up.Swap(false) {
				c.o.Log.Warn("the broker is away; the launcher polls until it is back")
				c.o.Look()
			}
			return true
		},
		OnConnectError: func(err error) {
			if !warned.Swap(true) {
				c.o.Log.Warn("the broker cannot be reached; the launcher polls until it can", "err", err)
			}
		},
		ClientConfig: paho.ClientConfig{
			ClientID: c.o.Worker,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(paho.PublishReceived) (bool, error) {
				c.o.Look()
				return true, nil
			}},
		},
	})
	if err != nil {
		return fmt.Errorf("hint: %w", err)
	}
	c.presence(ctx, manager)
	c.up.Store(false)
	<-manager.Done()
	return ctx.Err()
}

// dial connects, through the proxy if there is one. A context of its own bounds it:
// the client gives no deadline to a dialer that is not its own.
func (c *Channel) dial(ctx context.Context, u *url.URL, settings *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "8883")
	}
	conn, err := c.o.Proxy.Dial(ctx, address, settings)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, settings)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return packets.NewThreadSafeConn(secure), nil
}

func (c *Channel) topic(kind string) string {
	return c.o.Namespace + "/" + kind + "/" + c.o.Pool + "/" + c.o.Worker
}

func (c *Channel) subscribe(ctx context.Context, m *autopaho.ConnectionManager, warned *atomic.Bool) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ack, err := m.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: c.topic("readonly"), QoS: 0}}})
	if err != nil {
		reasons := []byte(nil)
		if ack != nil {
			reasons = ack.Reasons
		}
		c.o.Log.Warn("the broker gives no hints", "reasons", reasons, "err", err)
		return
	}
	warned.Store(false)
	c.up.Store(true)
	c.o.Log.Debug("hints arrive")
	c.o.Look()
}

// presence publishes signs of life. One that fails is not repeated.
func (c *Channel) presence(ctx context.Context, m *autopaho.ConnectionManager) {
	for sleep.For(ctx, c.o.Presence+rand.N(c.o.Presence/2+1)) == nil {
		if !c.up.Load() {
			continue
		}
		pctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		if _, err := m.Publish(pctx, &paho.Publish{Topic: c.topic("writeonly"), QoS: 0}); err != nil {
			c.o.Log.Debug("a sign of life was not sent", "err", err)
		}
		cancel()
	}
}
