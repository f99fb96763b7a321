package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/egress"
	"github.com/spaceport-iac/spaceport/internal/launcher/sleep"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

const (
	maxAnswer  = 256 << 20 // of a JSON answer, in bytes
	firstPause = 20 * time.Millisecond
	// DefaultPauseCap is the longest pause between tries where no lease says otherwise.
	DefaultPauseCap = 10 * time.Second
	callTimeout     = 30 * time.Second
	blobTimeout     = 10 * time.Minute
)

// Options configure a Client.
type Options struct {
	Endpoint string              // https://host[:port], or http on loopback
	Roots    []*x509.Certificate // of the token and the operator, beside the system's
	Proxy    *egress.Proxy       // nil: none
	Log      *slog.Logger
	Version  string
	// Now is time.Now if nil. TLS certificates are judged by the wall time at
	// construction, advanced by the monotonic clock.
	Now func() time.Time
}

// Client calls one mothership. It is safe for concurrent use.
type Client struct {
	base    string
	http    *http.Client
	proxy   *egress.Proxy
	log     *slog.Logger
	version string

	mu      sync.Mutex
	origins map[string]bool
}

// New makes a client. Fault: invalid.endpoint.
func New(o Options) (*Client, error) {
	if o.Log == nil {
		return nil, errors.New("client: no logger")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.RawQuery != "" || u.User != nil {
		return nil, fault.New(fault.Invalid, "the mothership's address %q is no https address", o.Endpoint).Named("endpoint")
	}
	if u.Scheme == "http" && !Loopback(u.Hostname()) {
		return nil, fault.New(fault.Invalid, "the mothership's address %s is not https", o.Endpoint).Named("endpoint").
			WithHint("plain http is for this host alone")
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, root := range o.Roots {
		pool.AddCert(root)
	}
	// A wall clock that jumps by years must not cut a running launcher off, so
	// only the time at the start is believed.
	start := o.Now()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = o.Proxy.Request
	transport.TLSClientConfig = &tls.Config{
		RootCAs: pool, MinVersion: tls.VersionTLS12,
		Time: func() time.Time { return start.Add(o.Now().Sub(start)) },
	}
	transport.IdleConnTimeout = 30 * time.Second
	transport.MaxIdleConnsPerHost = 8
	return &Client{
		base: strings.TrimSuffix(o.Endpoint, "/"), log: o.Log, version: o.Version, proxy: o.Proxy,
		http:    &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		origins: map[string]bool{origin(u): true},
	}, nil
}

// Loopback reports whether a host can only be this one.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// AllowOrigins adds the origins of signed addresses, from the signed bundle.
func (c *Client) AllowOrigins(origins []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range origins {
		if u, err := url.Parse(o); err == nil && u.Host != "" {
			c.origins[origin(u)] = true
		}
	}
}

// HTTP is the client beneath, for calls to others by the same proxy and the same
// authorities.
func (c *Client) HTTP() *http.Client { return c.http }

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call is one request that may be repeated.
type call struct {
	method, url string
	header      http.Header
	body        func() (io.ReadCloser, error)
	size        int64
	bearer      func() string
	timeout     time.Duration
	pauseCap    time.Duration
	once        bool // no second try
}

// do sends until there is an answer, and returns its body, at most limit bytes.
func (c *Client) do(ctx context.Context, r call, limit int64) ([]byte, http.Header, error) {
	pause := firstPause
	for {
		body, header, err := c.try(ctx, r, limit)
		if err == nil || !again(err) || r.once {
			return body, header, err
		}
		if ctx.Err() != nil {
			return nil, nil, err
		}
		c.log.Debug("call failed, will try again", "path", pathOf(r.url), "err", err)
		// Half of each pause is random, so that launchers whose mothership
		// came back do not all speak at once.
		wait := pause/2 + rand.N(pause/2+1)
		if sleep.For(ctx, wait) != nil {
			return nil, nil, err
		}
		pause = min(2*pause, r.pauseCap)
	}
}

func (c *Client) try(ctx context.Context, r call, limit int64) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	var body io.ReadCloser
	if r.body != nil {
		var err error
		if body, err = r.body(); err != nil {
			return nil, nil, fault.Wrap(err, fault.Internal, "what was to be sent cannot be read")
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, body)
	if err != nil {
		return nil, nil, fault.Wrap(err, fault.Invalid, "an address cannot be used")
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.ContentLength = r.size
	if r.size == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("User-Agent", "spacelift-launcher/"+c.version)
	if r.bearer != nil {
		if b := r.bearer(); b != "" {
			req.Header.Set("Authorization", "Bearer "+b)
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, c.unreachable(req.URL, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, nil, c.unreachable(req.URL, err)
	}
	if int64(len(data)) > limit {
		return nil, nil, fault.New(fault.Invalid, "an answer is longer than %d bytes", limit)
	}
	if resp.StatusCode/100 == 2 {
		return data, resp.Header, nil
	}
	return nil, nil, refusal(req.URL, resp.StatusCode, data)
}

// unreachable keeps signed queries and a proxy's password out of every text.
func (c *Client) unreachable(u *url.URL, err error) error {
	var uerr *url.Error
	if errors.As(err, &uerr) {
		err = uerr.Err
	}
	if via := c.proxy.For(u); via != nil {
		return fault.Wrap(err, fault.Unavailable, "%s cannot be reached through the proxy %s: %v", origin(u), egress.Shown(via), err)
	}
	return fault.Wrap(err, fault.Unavailable, "%s cannot be reached: %v", origin(u), err)
}

func pathOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Path
}

// refusal makes a fault of an answer that is not 2xx.
func refusal(u *url.URL, status int, body []byte) error {
	kind := fault.Invalid
	switch status {
	case http.StatusUnauthorized:
		kind = fault.Unauthenticated
	case http.StatusForbidden:
		kind = fault.Forbidden
	case http.StatusNotFound:
		kind = fault.NotFound
	case http.StatusConflict, http.StatusLocked:
		kind = fault.Conflict
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		kind = fault.Unavailable
	default:
		if status >= 500 {
			kind = fault.Unavailable
		}
	}
	var p wire.Problem
	if json.Unmarshal(body, &p) != nil || p.Message == "" {
		return fault.New(kind, "%s answered %d", origin(u), status).Named(fmt.Sprintf("http_%d", status))
	}
	if strings.HasPrefix(p.Code, string(fault.Stale)) {
		kind = fault.Stale
	}
	e := fault.New(kind, "%s", p.Message)
	e.Code, e.Hint = fault.Code(p.Code), p.Hint
	return e
}

// again reports whether the same call may have another answer later.
func again(err error) bool { return fault.Is(err, fault.Unavailable) }

// post sends in as JSON and reads the answer into out.
func (c *Client) post(ctx context.Context, path string, bearer func() string, pauseCap time.Duration, in, out any) error {
	data, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.json(ctx, call{method: http.MethodPost, url: c.base + path, bearer: bearer, pauseCap: pauseCap, timeout: callTimeout}, data, out)
}

func (c *Client) json(ctx context.Context, r call, data []byte, out any) error {
	r.header = http.Header{"Content-Type": {"application/json"}}
	r.size = int64(len(data))
	r.body = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	answer, _, err := c.do(ctx, r, maxAnswer)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fault.Wrap(err, fault.Invalid, "the mothership's answer to %s cannot be read", pathOf(r.url))
	}
	return nil
}
