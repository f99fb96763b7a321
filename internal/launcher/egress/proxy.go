package egress

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// Proxy says through which proxy an address is reached, as HTTP_PROXY, HTTPS_PROXY
// and NO_PROXY have it elsewhere. The zero value, and nil, reach all directly.
type Proxy struct{ config httpproxy.Config }

// schemes of proxies that every user of the settings knows how to speak to.
var schemes = []string{"http", "https", "socks5", "socks5h"}

// ParseProxy checks the address of a proxy, which is http:// if it names no scheme,
// and returns it in full. Its error never repeats the address: it may hold a
// password.
func ParseProxy(value string) (string, error) {
	value = strings.TrimSpace(value)
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	if err != nil || u.Hostname() == "" || !slices.Contains(schemes, u.Scheme) || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") {
		return "", errors.New("this is not the address of a proxy such as http://proxy.example.com:3128; a user's name and password go before an @, with special characters as %XX")
	}
	return value, nil
}

// NewProxy makes a Proxy of addresses that ParseProxy returned, each possibly empty.
// no lists names, domains, addresses and networks that are reached directly.
func NewProxy(http, https, no string) *Proxy {
	return &Proxy{httpproxy.Config{HTTPProxy: http, HTTPSProxy: https, NoProxy: no}}
}

// For returns the proxy on the way to an address, or nil for none. This host itself
// and its link, where clouds tell machines who they are, are always reached directly.
func (p *Proxy) For(u *url.URL) *url.URL {
	if p == nil || u == nil {
		return nil
	}
	if ip := net.ParseIP(u.Hostname()); ip.IsLinkLocalUnicast() || ip.Equal(imds6) {
		return nil
	}
	via, err := p.config.ProxyFunc()(u)
	if err != nil {
		return nil // ParseProxy let nothing through that is none
	}
	return via
}

// Request is the same for a request, in the form of [http.Transport.Proxy].
func (p *Proxy) Request(r *http.Request) (*url.URL, error) { return p.For(r.URL), nil }

// Set reports whether there is any proxy.
func (p *Proxy) Set() bool {
	return p != nil && (p.config.HTTPProxy != "" || p.config.HTTPSProxy != "")
}

// URLs returns the proxies that are set, by the name of their setting.
func (p *Proxy) URLs() map[string]*url.URL {
	all := map[string]*url.URL{}
	if p == nil {
		return all
	}
	for name, value := range map[string]string{"HTTP_PROXY": p.config.HTTPProxy, "HTTPS_PROXY": p.config.HTTPSProxy} {
		if u, err := url.Parse(value); err == nil && value != "" {
			all[name] = u
		}
	}
	return all
}

// imds6 is the metadata service of EC2 by IPv6, which isn't link-local.
var imds6 = net.ParseIP("fd00:ec2::254")

// here is what a tool must reach without a proxy: the same host, where it finds its
// state, and the metadata services of clouds.
const here = "localhost,127.0.0.1,::1,169.254.169.254,169.254.170.2,fd00:ec2::254"

// Environ returns the settings as other programs read them: each name in capitals
// and in small letters, since there are programs for either.
func (p *Proxy) Environ() map[string]string {
	env := map[string]string{}
	if !p.Set() {
		return env
	}
	no := here
	if p.config.NoProxy != "" {
		no = p.config.NoProxy + "," + here
	}
	for name, value := range map[string]string{"HTTP_PROXY": p.config.HTTPProxy, "HTTPS_PROXY": p.config.HTTPSProxy, "NO_PROXY": no} {
		if value != "" {
			env[name], env[strings.ToLower(name)] = value, value
		}
	}
	return env
}

// Secrets returns what must not be seen of the proxies' addresses: their passwords
// as they are written there, as they are meant, and as they are sent.
func (p *Proxy) Secrets() []string {
	var secrets []string
	for _, u := range p.URLs() {
		password, ok := u.User.Password()
		if !ok || password == "" {
			continue
		}
		_, written, _ := strings.Cut(u.User.String(), ":")
		secrets = append(secrets, password, written, basic(u.User))
		// As the setting has it, which may be escaped in another way.
		for _, value := range []string{p.config.HTTPProxy, p.config.HTTPSProxy} {
			if at := strings.LastIndex(value, "@"); at > 0 {
				if _, user, ok := strings.Cut(value[:at], "://"); ok {
					if _, raw, ok := strings.Cut(user, ":"); ok && raw != "" {
						secrets = append(secrets, raw)
					}
				}
			}
		}
	}
	slices.Sort(secrets)
	return slices.Compact(secrets)
}

// Shown is a proxy's address without user and password.
func Shown(u *url.URL) string {
	if u == nil {
		return ""
	}
	return (&url.URL{Scheme: cmp.Or(u.Scheme, "http"), Host: u.Host}).String()
}
