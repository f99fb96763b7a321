package broker

import (
	"bytes"
	"context"
	"crypto/tls"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// hook is where the library asks who may do what.
type hook struct {
	mqtt.HookBase
	b *Broker
}

// ID names the hook.
func (h *hook) ID() string { return "spaceport" }

// Provides says which of the hooks are used.
func (h *hook) Provides(kind byte) bool {
	return bytes.IndexByte([]byte{
		mqtt.OnConnectAuthenticate, mqtt.OnSessionEstablished, mqtt.OnACLCheck, mqtt.OnPublish, mqtt.OnSubscribed, mqtt.OnUnsubscribed, mqtt.OnDisconnect,
	}, kind) >= 0
}

// OnConnectAuthenticate lets a connection in whose certificate is that of an
// active worker.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	c, why := h.identify(cl)
	switch {
	case why != "":
	case pk.Connect.WillFlag:
		why = "it leaves a will"
	default:
		why = h.inactive(c)
	}
	if why != "" {
		h.b.o.Log.Info("an MQTT connection was refused", "remote", cl.Net.Remote, "reason", why)
		return false
	}
	h.b.o.Seen(c.worker)
	return true
}

// OnSessionEstablished takes the connection into the books. Only from here on does
// the library promise to tell of its end.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	c, why := h.identify(cl)
	if why != "" {
		return // it was let in, so there is nothing to say
	}
	h.b.mu.Lock()
	h.b.clients[cl] = c
	h.b.mu.Unlock()
	// A right that was taken back since it was asked about found no connection to cut.
	if why := h.inactive(c); why != "" {
		h.b.cut(c.pool, c.worker)
	}
}

// identify returns whom a connection belongs to, or why it is refused.
func (h *hook) identify(cl *mqtt.Client) (*client, string) {
	conn, ok := cl.Net.Conn.(*tls.Conn)
	if !ok {
		return nil, "it is not a TLS connection"
	}
	// The handshake is over: a packet has been read.
	certificates := conn.ConnectionState().PeerCertificates
	if len(certificates) == 0 {
		return nil, "it has no certificate"
	}
	subject := certificates[0].Subject
	if subject.CommonName == "" || len(subject.OrganizationalUnit) != 1 || subject.OrganizationalUnit[0] == "" {
		return nil, "its certificate names no worker"
	}
	c := &client{pool: subject.OrganizationalUnit[0], worker: subject.CommonName}
	// The newer of two equal client ids pushes the older out. Were they free to
	// choose, any worker could keep any other one offline.
	if !strings.HasPrefix(cl.ID, c.worker) {
		return nil, "its client id does not begin with its worker id"
	}
	c.reads, c.writes = h.b.readTopic(c.pool, c.worker), h.b.writeTopic(c.pool, c.worker)
	return c, ""
}

// inactive says why a worker may not hold a connection; "" if it may.
func (h *hook) inactive(c *client) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := h.b.o.Active(ctx, c.pool, c.worker); err != nil {
		return err.Error()
	}
	return ""
}

func (h *hook) client(cl *mqtt.Client) *client {
	h.b.mu.Lock()
	defer h.b.mu.Unlock()
	return h.b.clients[cl]
}

// OnACLCheck is asked at each subscription (with its filter), publication and
// delivery. Equality with one topic also refuses every wildcard and every shared
// subscription.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	if cl.Net.Inline {
		return true
	}
	c := h.client(cl)
	if c == nil {
		return false
	}
	if write {
		return topic == c.writes
	}
	return topic == c.reads
}

// OnPublish takes a sign of life. It goes no further: nobody reads that topic.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl.Net.Inline {
		return pk, nil
	}
	if c := h.client(cl); c != nil && pk.TopicName == c.writes {
		h.b.o.Seen(c.worker)
	}
	return pk, packets.CodeSuccessIgnore
}

// OnSubscribed notes that the worker can be hinted from now on.
func (h *hook) OnSubscribed(cl *mqtt.Client, pk packets.Packet, reasons []byte) {
	for i, filter := range pk.Filters {
		if i < len(reasons) && reasons[i] < packets.ErrUnspecifiedError.Code {
			h.subscribed(cl, filter.Filter, true)
		}
	}
}

// OnUnsubscribed notes that it cannot be any more.
func (h *hook) OnUnsubscribed(cl *mqtt.Client, pk packets.Packet) {
	for _, filter := range pk.Filters {
		h.subscribed(cl, filter.Filter, false)
	}
}

func (h *hook) subscribed(cl *mqtt.Client, filter string, on bool) {
	h.b.mu.Lock()
	c := h.b.clients[cl]
	changed := c != nil && filter == c.reads && c.subscribed != on
	if changed {
		c.subscribed = on
		h.b.count(c, on)
	}
	h.b.mu.Unlock()
	if changed && on {
		h.b.o.Up(c.pool, c.worker)
	}
}

// count keeps the number of connections on which a worker can be hinted. The
// caller holds the lock.
func (b *Broker) count(c *client, up bool) {
	if up {
		b.live[c.worker]++
		return
	}
	if b.live[c.worker]--; b.live[c.worker] <= 0 {
		delete(b.live, c.worker)
	}
}

// OnDisconnect forgets the connection.
func (h *hook) OnDisconnect(cl *mqtt.Client, _ error, _ bool) {
	h.b.mu.Lock()
	defer h.b.mu.Unlock()
	c := h.b.clients[cl]
	if c == nil {
		return
	}
	delete(h.b.clients, cl)
	if c.subscribed {
		h.b.count(c, false)
	}
}
