package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/proxy"
)

// Dial connects to host:port by TCP, through the proxy for https if there is one for
// it. roots judge a proxy that itself speaks TLS; nil are the system's. Its errors
// name the proxy, without its password.
func (p *Proxy) Dial(ctx context.Context, address string, roots *tls.Config) (net.Conn, error) {
	dialer := &net.Dialer{}
	via := p.For(&url.URL{Scheme: "https", Host: address})
	if via == nil {
		return dialer.DialContext(ctx, "tcp", address)
	}
	conn, err := dialVia(ctx, dialer, via, address, roots)
	if err != nil {
		return nil, fmt.Errorf("through the proxy %s: %w", Shown(via), err)
	}
	return conn, nil
}

func dialVia(ctx context.Context, dialer *net.Dialer, via *url.URL, address string, roots *tls.Config) (net.Conn, error) {
	if via.Scheme == "socks5" || via.Scheme == "socks5h" {
		socks, err := proxy.FromURL(via, dialer)
		if err != nil {
			return nil, err
		}
		return socks.(proxy.ContextDialer).DialContext(ctx, "tcp", address)
	}
	port := via.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[via.Scheme]
	}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(via.Hostname(), port))
	if err != nil {
		return nil, err
	}
	// The context must end a proxy that says nothing.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	tunnel := conn
	if via.Scheme == "https" {
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		if roots != nil {
			config = roots.Clone()
		}
		config.ServerName, config.Certificates, config.GetClientCertificate = via.Hostname(), nil, nil
		tunnel = tls.Client(conn, config)
	}
	tunnel, err = connect(ctx, tunnel, via, address)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return tunnel, nil
}

// connect asks a proxy for a way to address.
func connect(ctx context.Context, conn net.Conn, via *url.URL, address string) (net.Conn, error) {
	request := (&http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}).WithContext(ctx)
	if via.User != nil {
		request.Header.Set("Proxy-Authorization", "Basic "+basic(via.User))
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("it answered %s", answer.Status)
	}
	// What came after the answer belongs to whoever is connected to.
	if n := reader.Buffered(); n > 0 {
		return &early{Conn: conn, reader: reader}, nil
	}
	return conn, nil
}

// early is a connection of which something has been read already.
type early struct {
	net.Conn
	reader *bufio.Reader
}

// Read reads what was read already first.
func (e *early) Read(b []byte) (int, error) { return e.reader.Read(b) }

func basic(user *url.Userinfo) string {
	password, _ := user.Password()
	return base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
}
