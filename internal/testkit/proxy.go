package testkit

import (
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
)

// Proxy is a forward proxy: plain requests and CONNECT, for those who know the
// password if it has one.
type Proxy struct {
	*httptest.Server
	user *url.Userinfo
	// Route says where to connect for a host:port; the same address if it is nil or
	// returns "". So names that no resolver knows can be served.
	Route func(address string) string

	mu      sync.Mutex
	passed  []string // host:port of each request that it let through
	refused int
	open    sync.WaitGroup
	conns   map[net.Conn]bool
	closed  bool
}

// NewProxy starts a proxy on 127.0.0.1; user may be nil.
func NewProxy(t testing.TB, user *url.Userinfo, route func(string) string) *Proxy {
	t.Helper()
	p := &Proxy{user: user, Route: route, conns: map[net.Conn]bool{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		for c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.Server.Close()
		p.open.Wait()
	})
	return p
}

// Address is the proxy's address with user and password, as in a setting.
func (p *Proxy) Address() string {
	return (&url.URL{Scheme: "http", User: p.user, Host: p.Listener.Addr().String()}).String()
}

// Passed are the addresses that it was asked for and let through.
func (p *Proxy) Passed() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.passed)
}

// Refused is how many had no or the wrong password.
func (p *Proxy) Refused() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

func (p *Proxy) admit(w http.ResponseWriter, r *http.Request) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.user != nil {
		password, _ := p.user.Password()
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.user.Username()+":"+password))
		if r.Header.Get("Proxy-Authorization") != want {
			p.refused++
			w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
			w.WriteHeader(http.StatusProxyAuthRequired)
			return false
		}
	}
	p.passed = append(p.passed, r.Host)
	return true
}

func (p *Proxy) route(address string) string {
	if p.Route != nil {
		if to := p.Route(address); to != "" {
			return to
		}
	}
	return address
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.admit(w, r) {
		return
	}
	if r.Method != http.MethodConnect {
		p.forward(w, r)
		return
	}
	far, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", p.route(r.Host))
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	near, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		_ = far.Close()
		return
	}
	p.mu.Lock()
	if p.closed {
		_, _ = near.Close(), far.Close()
	}
	p.conns[near], p.conns[far] = true, true
	p.mu.Unlock()
	_, _ = io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		p.open.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_, _ = way[0].Close(), way[1].Close()
		})
	}
}

func (p *Proxy) forward(w http.ResponseWriter, r *http.Request) {
	out := r.Clone(r.Context())
	out.RequestURI = ""
	out.URL.Host = p.route(r.URL.Host)
	out.Header.Del("Proxy-Authorization")
	answer, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}
