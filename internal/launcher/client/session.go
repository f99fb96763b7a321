package client

import (
	"context"
	"sync"
	"time"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Bearer is what proves a session or an attempt. It prints as stars and is safe
// for concurrent use.
type Bearer struct {
	mu    sync.Mutex
	value string
	until time.Time
}

// Set replaces the bearer, valid for so long from now; empty ones are passed over.
func (b *Bearer) Set(value string, forMs int64, now time.Time) {
	if value == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.value, b.until = value, now.Add(time.Duration(forMs)*time.Millisecond)
}

// Value returns the bearer for the Authorization header.
func (b *Bearer) Value() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.value
}

// Left returns how long it is still valid.
func (b *Bearer) Left(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until.Sub(now)
}

// String returns stars.
func (*Bearer) String() string { return "*****" }

// GoString returns stars.
func (*Bearer) GoString() string { return "*****" }

// Nonce asks for a nonce to register with.
func (c *Client) Nonce(ctx context.Context) (out wire.NonceAnswer, err error) {
	err = c.post(ctx, wire.PathNonce, nil, DefaultPauseCap, wire.Done{}, &out)
	return out, err
}

// Register makes a session. It tries once: a nonce counts for one try.
func (c *Client) Register(ctx context.Context, registration string) (out wire.RegisterAnswer, err error) {
	data, err := jsonBytes(wire.RegisterRequest{Registration: registration})
	if err != nil {
		return out, err
	}
	err = c.json(ctx, call{method: "POST", url: c.base + wire.PathRegister, timeout: callTimeout, once: true}, data, &out)
	return out, err
}

// Renew asks for a fresh certificate, bearer and bundle of the same session.
func (c *Client) Renew(ctx context.Context, b *Bearer) (out wire.RegisterAnswer, err error) {
	err = c.post(ctx, wire.PathRenew, b.Value, DefaultPauseCap, wire.Done{}, &out)
	return out, err
}

// Orders asks what to do. It tries once: the caller's loop decides when to ask again.
func (c *Client) Orders(ctx context.Context, b *Bearer, in wire.OrdersRequest) (out wire.Orders, err error) {
	data, err := jsonBytes(in)
	if err != nil {
		return out, err
	}
	err = c.json(ctx, call{method: "POST", url: c.base + wire.PathOrders, bearer: b.Value, timeout: callTimeout, once: true}, data, &out)
	return out, err
}

// Deregister says that the launcher leaves for good.
func (c *Client) Deregister(ctx context.Context, b *Bearer, session int64) error {
	return c.post(ctx, wire.PathDeregister, b.Value, time.Second, wire.DeregisterRequest{Session: session}, &wire.Done{})
}

// Clear forgets the bearer.
func (b *Bearer) Clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.value, b.until = "", time.Time{}
}
