package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/spaceport-iac/spaceport/internal/mothership/event"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
)

// DefaultNamespace is the first segment of topics.
const DefaultNamespace = "spaceport"

// hint is all that a hint says.
var hint = []byte("look")

// Options are what a Broker works with. All without a default are needed.
type Options struct {
	// TLS must ask for client certificates of our CA and verify them.
	TLS  *tls.Config
	Addr string // host:port; port 0: any
	// Listener is one that is open already, instead of Addr; Start takes it over.
	Listener  net.Listener
	Namespace string // default DefaultNamespace
	// Active refuses workers that may not hold a connection.
	Active func(ctx context.Context, pool, worker string) error
	// Seen records a sign of life. It must not block.
	Seen func(worker string)
	// Up is told when a worker can be hinted from now on. It must not block; nil
	// is allowed.
	Up  func(pool, worker string)
	Log *slog.Logger

	HandshakeFor time.Duration // until a connection has introduced itself: default 15 s
}

// Broker is a running broker.
type Broker struct {
	o      Options
	server *mqtt.Server
	addr   net.Addr
	cuts   sync.WaitGroup

	mu      sync.Mutex
	clients map[*mqtt.Client]*client
	live    map[string]int // worker → connections that are subscribed to its topic
	closed  bool
}

// client is a connection that has introduced itself.
type client struct {
	pool, worker string
	reads        string // the topic it may subscribe to
	writes       string // the topic it may publish on
	subscribed   bool
}

// New returns a broker that does not listen yet.
func New(o Options) (*Broker, error) {
	if o.TLS == nil || (o.Addr == "" && o.Listener == nil) || o.Active == nil || o.Seen == nil || o.Log == nil {
		return nil, errors.New("broker: an option is missing")
	}
	if o.TLS.ClientAuth != tls.RequireAndVerifyClientCert || o.TLS.ClientCAs == nil {
		// The certificate is the whole of a client's identity here.
		return nil, errors.New("broker: TLS must require and verify client certificates")
	}
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	if o.HandshakeFor <= 0 {
		o.HandshakeFor = 15 * time.Second
	}
	if o.Up == nil {
		o.Up = func(string, string) {}
	}
	capabilities := mqtt.NewDefaultServerCapabilities()
	// The library makes a channel of this size for each connection up front.
	capabilities.MaximumClientWritesPending = 64
	capabilities.MaximumSessionExpiryInterval = 0
	capabilities.MaximumMessageExpiryInterval = 60
	capabilities.MaximumPacketSize = 16 << 10
	capabilities.MaximumInflight = 16
	capabilities.ReceiveMaximum = 16
	capabilities.TopicAliasMaximum = 0
	capabilities.MinimumProtocolVersion = 5
	capabilities.MaximumQos = 0
	capabilities.RetainAvailable = 0
	capabilities.SharedSubAvailable = 0
	capabilities.WildcardSubAvailable = 0
	b := &Broker{o: o, clients: map[*mqtt.Client]*client{}, live: map[string]int{}}
	b.server = mqtt.New(&mqtt.Options{
		Capabilities: capabilities,
		// Connections come and go; the library tells of each at a level that would
		// drown what people must see.
		Logger:                   slog.New(slog.DiscardHandler),
		SysTopicResendInterval:   3600,
		InlineClient:             true,
		ClientNetWriteBufferSize: 1 << 10,
		ClientNetReadBufferSize:  1 << 10,
	})
	if err := b.server.AddHook(&hook{b: b}, nil); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	return b, nil
}

// Start listens. Close ends what it starts.
func (b *Broker) Start(ctx context.Context) error {
	inner := b.o.Listener
	if inner == nil {
		var (
			lc  net.ListenConfig
			err error
		)
		if inner, err = lc.Listen(ctx, "tcp", b.o.Addr); err != nil {
			return fmt.Errorf("listen for MQTT on %s: %w", b.o.Addr, err)
		}
	}
	b.addr = inner.Addr()
	listener := tls.NewListener(hurried{inner, b.o.HandshakeFor}, b.o.TLS)
	if err := b.server.AddListener(listeners.NewNet("mqtt", listener)); err != nil {
		return errors.Join(fmt.Errorf("broker: %w", err), inner.Close())
	}
	if err := b.server.Serve(); err != nil {
		return errors.Join(fmt.Errorf("broker: %w", err), inner.Close())
	}
	return nil
}

// hurried gives each new connection a deadline to introduce itself; the library
// sets another one when it has.
type hurried struct {
	net.Listener
	within time.Duration
}

func (h hurried) Accept() (net.Conn, error) {
	conn, err := h.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(h.within))
}

// Addr is the address that the broker listens on, once it has been started.
func (b *Broker) Addr() net.Addr { return b.addr }

// Close cuts all connections and waits for their ends.
func (b *Broker) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cuts.Wait()
	return b.server.Close()
}

// Live reports whether a worker is connected and listens for hints.
func (b *Broker) Live(worker string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.live[worker] > 0
}

// Hint tells a worker to look again. It does not block; a worker that does not
// listen misses it.
func (b *Broker) Hint(pool, worker string) {
	if err := b.server.Publish(b.readTopic(pool, worker), hint, false, 0); err != nil {
		b.o.Log.Debug("a hint was not sent", "pool", pool, "worker", worker, "err", err)
	}
}

func (b *Broker) readTopic(pool, worker string) string {
	return b.o.Namespace + "/readonly/" + pool + "/" + worker
}

func (b *Broker) writeTopic(pool, worker string) string {
	return b.o.Namespace + "/writeonly/" + pool + "/" + worker
}

// Disconnect cuts the connections of a worker, or with an empty worker those of
// the whole pool.
func (b *Broker) Disconnect(pool, worker string) {
	b.mu.Lock()
	var cut []*mqtt.Client
	for cl, c := range b.clients {
		if c.pool == pool && (worker == "" || c.worker == worker) {
			cut = append(cut, cl)
		}
	}
	b.mu.Unlock()
	for _, cl := range cut {
		// The answer is the reason that we give, and there is nothing more to do
		// for a connection that is already broken.
		_ = b.server.DisconnectClient(cl, packets.ErrNotAuthorized)
	}
}

// Follow is for event.Log.Listen: it cuts off the workers that lost their right,
// and hints those of which something changed. It does not block.
func (b *Broker) Follow(e event.Event) {
	switch e.Kind {
	case pool.EventPoolReset, pool.EventPoolDeleted:
		b.cut(e.Subject, "")
	case pool.EventWorkerGone:
		b.cut(e.Data["pool"], e.Data["worker"])
	case pool.EventWorkerChanged:
		b.Hint(e.Data["pool"], e.Data["worker"])
	}
}

// cut is Disconnect without waiting for the network; Close waits for it.
func (b *Broker) cut(pool, worker string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.cuts.Go(func() { b.Disconnect(pool, worker) })
}
