package hint

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key, a.cert = nil, nil
	root := a.issue("root")
	a.key, a.cert = root.PrivateKey.(*ecdsa.PrivateKey), root.Leaf
	return a
}

func (a *authority) issue(name string) *tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: a.key == nil, BasicConstraintsValid: true,
	}
	parent, signer := a.cert, a.key
	if signer == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// alive hears signs of life.
type alive struct {
	mqtt.HookBase
	topics chan string
}

func (*alive) ID() string           { return "alive" }
func (*alive) Provides(b byte) bool { return b == mqtt.OnPublish }
func (h *alive) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if !cl.Net.Inline {
		select {
		case h.topics <- pk.TopicName:
		default:
		}
	}
	return pk, nil
}

func (a *authority) broker(address string, signs chan string) (*mqtt.Server, string) {
	a.t.Helper()
	s := mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	if err := errors.Join(s.AddHook(new(auth.AllowHook), nil), s.AddHook(&alive{topics: signs}, nil)); err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: address, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{*a.issue("broker")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}})
	if err := s.AddListener(l); err != nil {
		a.t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		a.t.Fatal(err)
	}
	return s, l.Address()
}

func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("%s did not happen", what)
	}
}

func TestHintsComeAgainAfterTheBrokerWasAway(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	signs := make(chan string, 1)
	broker, address := a.broker("127.0.0.1:0", signs)
	looks := make(chan struct{}, 100)
	worker := a.issue("worker")
	c, err := New(Options{
		Endpoint: address, Roots: []*x509.Certificate{a.cert}, Namespace: "ns", Pool: "p", Worker: "w", Presence: 5 * time.Millisecond,
		Certificate: func() (*tls.Certificate, error) { return worker, nil },
		Look:        func() { looks <- struct{}{} }, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })

	within(t, "the channel coming up", looks)
	if !c.Up() {
		t.Fatal("it is not up")
	}
	if topic := <-signs; topic != "ns/writeonly/p/w" {
		t.Fatalf("the sign of life came on %s", topic)
	}
	if err := broker.Publish("ns/readonly/p/w", nil, false, 0); err != nil {
		t.Fatal(err)
	}
	within(t, "the hint", looks)

	_ = broker.Close()
	within(t, "the news that the broker is away", looks)
	if c.Up() {
		t.Fatal("it is up without a broker")
	}
	broker, _ = a.broker(address, signs)
	t.Cleanup(func() { _ = broker.Close() })
	within(t, "the channel coming up again", looks)
	if err := broker.Publish("ns/readonly/p/w", []byte("whatever it says"), false, 0); err != nil {
		t.Fatal(err)
	}
	within(t, "the hint after that", looks)
}

func TestAChannelThatIsUpToNobodyIsGivenUpWithItsContext(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	worker := a.issue("worker")
	c, err := New(Options{
		Endpoint: "tls://127.0.0.1:1", Namespace: "ns", Pool: "p", Worker: "w", Look: func() {}, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Certificate: func() (*tls.Certificate, error) { return worker, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestPausesGrowAndDiffer(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for n := range 40 {
		d := backoff(n)
		if d < 0 || d > 40*time.Second {
			t.Fatalf("pause %d is %s", n, d)
		}
		seen[d] = true
	}
	if len(seen) < 30 {
		t.Fatal("pauses hardly differ")
	}
}
