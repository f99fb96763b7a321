package broker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/spaceport-iac/spaceport/internal/mothership/authority"
	"github.com/spaceport-iac/spaceport/internal/mothership/broker"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/event"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
)

// plain is a vault that hides nothing.
type plain struct{}

func (plain) Wrap(_ context.Context, _ string, b []byte) ([]byte, error)   { return b, nil }
func (plain) Unwrap(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }

type world struct {
	t         *testing.T
	broker    *broker.Broker
	authority *authority.Authority

	mu      sync.Mutex
	seen    map[string]int
	refused map[string]bool
}

func setup(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, seen: map[string]int{}, refused: map[string]bool{}}
	d, err := db.Open(t.Context(), t.TempDir()+"/db")
	w.must(err)
	t.Cleanup(func() { _ = d.Close() })
	w.authority, err = authority.Open(t.Context(), authority.Options{DB: d, Vault: plain{}, Origin: "o", Now: time.Now})
	w.must(err)
	config, err := w.authority.BrokerTLS([]string{"127.0.0.1"})
	w.must(err)
	w.broker, err = broker.New(broker.Options{
		TLS: config, Addr: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
		Active: func(_ context.Context, _, worker string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.refused[worker] {
				return errors.New("revoked")
			}
			return nil
		},
		Seen: func(worker string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.seen[worker]++
		},
	})
	w.must(err)
	w.must(w.broker.Start(t.Context()))
	t.Cleanup(func() { _ = w.broker.Close() })
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// certificate is a worker's, of our CA.
func (w *world) certificate(worker, pool string) tls.Certificate {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	chain, err := w.authority.WorkerCertificate(&key.PublicKey, worker, pool)
	w.must(err)
	c := tls.Certificate{PrivateKey: key}
	for rest := []byte(chain); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return c
		}
		c.Certificate = append(c.Certificate, block.Bytes)
	}
}

// connection is a client that has connected.
type connection struct {
	*paho.Client
	got  chan string
	gone chan struct{}
}

func (w *world) dial(c tls.Certificate) (net.Conn, error) {
	roots := x509.NewCertPool()
	for _, der := range w.authority.Roots() {
		root, err := x509.ParseCertificate(der)
		w.must(err)
		roots.AddCert(root)
	}
	return tls.Dial("tcp", w.broker.Addr().String(), &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{c}})
}

func (w *world) connect(c tls.Certificate, clientID string, change func(*paho.Connect)) (*connection, *paho.Connack, error) {
	w.t.Helper()
	conn, err := w.dial(c)
	if err != nil {
		return nil, nil, err
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	n := &connection{got: make(chan string, 16), gone: make(chan struct{})}
	var once sync.Once
	left := func() { once.Do(func() { close(n.gone) }) }
	n.Client = paho.NewClient(paho.ClientConfig{
		ClientID: clientID, Conn: conn,
		OnClientError:      func(error) { left() },
		OnServerDisconnect: func(*paho.Disconnect) { left() },
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			n.got <- p.Packet.Topic
			return true, nil
		}},
	})
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	packet := &paho.Connect{ClientID: clientID, KeepAlive: 30, CleanStart: true}
	if change != nil {
		change(packet)
	}
	ack, err := n.Connect(ctx, packet)
	return n, ack, err
}

func (w *world) subscribe(n *connection, topic string) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	_, err := n.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic}}})
	return err
}

func (w *world) publish(n *connection, topic string) {
	w.t.Helper()
	_, err := n.Publish(w.t.Context(), &paho.Publish{Topic: topic, Payload: []byte("alive")})
	w.must(err)
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("after a minute it is not so that %s", what)
}

const (
	reads  = "spaceport/readonly/01POOL/01A"
	writes = "spaceport/writeonly/01POOL/01A"
)

func TestAWorkerIsHintedAndShowsThatItLives(t *testing.T) {
	t.Parallel()
	w := setup(t)
	n, _, err := w.connect(w.certificate("01A", "01POOL"), "01A-1", nil)
	w.must(err)
	if w.broker.Live("01A") {
		t.Error("it can be hinted before it listens")
	}
	w.must(w.subscribe(n, reads))
	eventually(t, "it can be hinted", func() bool { return w.broker.Live("01A") })
	w.broker.Hint("01POOL", "01A")
	select {
	case topic := <-n.got:
		if topic != reads {
			t.Errorf("the hint came on %s", topic)
		}
	case <-time.After(time.Minute):
		t.Fatal("no hint came")
	}
	count := func() int { w.mu.Lock(); defer w.mu.Unlock(); return w.seen["01A"] }
	before := count()
	w.publish(n, writes)
	eventually(t, "the sign of life is seen", func() bool { return count() == before+1 })
	w.must(n.Disconnect(&paho.Disconnect{}))
	eventually(t, "it cannot be hinted any more", func() bool { return !w.broker.Live("01A") })
}

func TestAWorkerReadsAndWritesItsOwnTopicsAlone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a, _, err := w.connect(w.certificate("01A", "01POOL"), "01A", nil)
	w.must(err)
	b, _, err := w.connect(w.certificate("01B", "01POOL"), "01B", nil)
	w.must(err)
	w.must(w.subscribe(b, "spaceport/readonly/01POOL/01B"))
	for _, topic := range []string{
		"spaceport/readonly/01POOL/01B", "spaceport/writeonly/01POOL/01A", "spaceport/writeonly/01POOL/01B",
		"spaceport/readonly/01POOL/+", "spaceport/readonly/#", "#", "+/readonly/01POOL/01A", "$share/g/" + reads, "$SYS/#",
	} {
		if w.subscribe(a, topic) == nil {
			t.Errorf("it may read %s", topic)
		}
	}
	for _, topic := range []string{"spaceport/readonly/01POOL/01B", "spaceport/writeonly/01POOL/01B", reads} {
		_, _ = a.Publish(t.Context(), &paho.Publish{Topic: topic, Payload: []byte("look")}) // silently refused
	}
	w.mu.Lock()
	before := w.seen["01B"]
	w.mu.Unlock()
	w.publish(a, writes)
	eventually(t, "all that A sent has been read", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.seen["01A"] >= 2 })
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen["01B"] != before || len(b.got) != 0 {
		t.Error("A spoke as B or to B")
	}
}

func TestWhoIsNotLetIn(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.refused["01GONE"] = true
	for name, c := range map[string]struct {
		certificate tls.Certificate
		clientID    string
		change      func(*paho.Connect)
	}{
		"without a certificate":             {tls.Certificate{}, "01A", nil},
		"with another worker's client id":   {w.certificate("01A", "01POOL"), "01B", nil},
		"of a revoked worker":               {w.certificate("01GONE", "01POOL"), "01GONE", nil},
		"that leaves a will":                {w.certificate("01A", "01POOL"), "01A", func(c *paho.Connect) { c.WillMessage = &paho.WillMessage{Topic: writes, Payload: []byte("x")} }},
		"with a certificate of nobody's CA": {setup(t).certificate("01A", "01POOL"), "01A", nil},
	} {
		if _, _, err := w.connect(c.certificate, c.clientID, c.change); err == nil {
			t.Errorf("a connection %s is let in", name)
		}
	}
}

func TestNoSessionOutlivesItsConnection(t *testing.T) {
	t.Parallel()
	w := setup(t)
	long := uint32(3600)
	keep := func(c *paho.Connect) {
		c.CleanStart = false
		c.Properties = &paho.ConnectProperties{SessionExpiryInterval: &long}
	}
	certificate := w.certificate("01A", "01POOL")
	n, _, err := w.connect(certificate, "01A", keep)
	w.must(err)
	w.must(w.subscribe(n, reads))
	w.must(n.Disconnect(&paho.Disconnect{}))
	eventually(t, "it is gone", func() bool { return !w.broker.Live("01A") })
	w.broker.Hint("01POOL", "01A")
	n, ack, err := w.connect(certificate, "01A", keep)
	w.must(err)
	if ack.SessionPresent {
		t.Error("the session is still there")
	}
	w.must(w.subscribe(n, reads))
	w.broker.Hint("01POOL", "01A")
	<-n.got
	if len(n.got) != 0 {
		t.Error("a hint from before was kept")
	}
}

func TestWhoLosesTheRightIsCutOff(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]event.Event{
		"with its pool's reset":    {Kind: pool.EventPoolReset, Subject: "01POOL"},
		"with its pool's deletion": {Kind: pool.EventPoolDeleted, Subject: "01POOL"},
		"with its own end":         {Kind: pool.EventWorkerGone, Subject: "01A", Data: map[string]string{"pool": "01POOL", "worker": "01A"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			n, _, err := w.connect(w.certificate("01A", "01POOL"), "01A", nil)
			w.must(err)
			other, _, err := w.connect(w.certificate("01Z", "01OTHER"), "01Z", nil)
			w.must(err)
			w.must(w.subscribe(n, reads))
			w.broker.Follow(e)
			select {
			case <-n.gone:
			case <-time.After(time.Minute):
				t.Fatal("it is still connected")
			}
			select {
			case <-other.gone:
				t.Error("another pool's worker was cut off too")
			default:
			}
		})
	}
}
