package launcher_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/testkit"
)

// The names of a network that nobody can resolve: only its proxy leads there. All
// parts show certificates of a private authority.
const (
	apiHost    = "mothership.internal.invalid:443"
	objectHost = "objects.internal.invalid:8443"
	brokerHost = "broker.internal.invalid:8883"
	gitHost    = "git.internal.invalid:443"
)

const proxyPassword = "c4n4ry/p@ss"

// closed is a mothership behind a proxy, in such a network.
type closed struct {
	*world
	proxy *testkit.Proxy
	ca    []byte // PEM of the authority
}

// documented is the authority as ADDITIONAL_ROOT_CAS has it.
func (c *closed) documented() string {
	object, err := json.Marshal(map[string][]string{"caCertificates": {base64.StdEncoding.EncodeToString(c.ca)}})
	if err != nil {
		c.t.Fatal(err)
	}
	return "ADDITIONAL_ROOT_CAS=" + base64.StdEncoding.EncodeToString(object)
}

func setupClosed(t *testing.T, w *world, user *url.Userinfo) *closed {
	t.Helper()
	c := &closed{world: w}
	certificate := c.authority()
	secured := func(h http.Handler) string {
		s := httptest.NewUnstartedServer(h)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	git := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"), Stderr: t.Output(),
		Env: []string{"GIT_PROJECT_ROOT=" + w.repo, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	all := secured(w.Server.Config.Handler)
	routes := map[string]string{apiHost: all, objectHost: all, gitHost: secured(git), brokerHost: c.broker(certificate)}
	c.proxy = testkit.NewProxy(t, user, func(address string) string { return routes[address] })
	w.Move(launchertest.Addresses{API: "https://" + strings.TrimSuffix(apiHost, ":443"), Objects: "https://" + objectHost, Broker: "tls://" + brokerHost})
	return c
}

// authority makes a private authority and a certificate for all names of the network.
func (c *closed) authority() tls.Certificate {
	c.t.Helper()
	make := func(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			c.t.Fatal(err)
		}
		template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		template.BasicConstraintsValid = true
		if parent == nil {
			parent, by = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
		if err != nil {
			c.t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			c.t.Fatal(err)
		}
		return cert, key
	}
	root, key := make(&x509.Certificate{Subject: pkix.Name{CommonName: "private authority"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	leaf, leafKey := make(&x509.Certificate{Subject: pkix.Name{CommonName: "parts"}, DNSNames: []string{"*.internal.invalid"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, root, key)
	c.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: leafKey}
}

// broker starts an MQTT broker that wants certificates of the mothership's root.
func (c *closed) broker(certificate tls.Certificate) string {
	c.t.Helper()
	workers := x509.NewCertPool()
	workers.AddCert(c.Root())
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0", TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: workers, MinVersion: tls.VersionTLS12,
	}})
	if err := errors.Join(s.AddHook(new(auth.AllowHook), nil), s.AddListener(l), s.Serve()); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = s.Close() })
	return l.Address()
}

// reached fails unless each of the hosts was reached through the proxy.
func (c *closed) reached(hosts ...string) {
	c.t.Helper()
	for _, host := range hosts {
		c.wait("the proxy leads to "+host, func() (bool, string) {
			passed := c.proxy.Passed()
			return slices.Contains(passed, host), fmt.Sprint(passed)
		})
	}
}

func TestEveryWayOutGoesThroughTheProxyAndBelievesAPrivateAuthority(t *testing.T) {
	t.Parallel()
	for name, user := range map[string]*url.Userinfo{"without a password": nil, "with a password": url.UserPassword("runner", proxyPassword)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, map[string]string{"hello": "world\n"})
			c := setupClosed(t, w, user)
			// In small letters, and in capitals in the test with an engine.
			w.env = []string{"https_proxy=" + c.proxy.Address(), c.documented()}
			j := w.job(`cat hello; echo "by $HTTPS_PROXY, not $no_proxy"; git ls-remote https://` + strings.TrimSuffix(gitHost, ":443") + `/.git main`)
			j.Repository = "https://" + strings.TrimSuffix(gitHost, ":443") + "/.git"
			r := w.Enqueue(&launchertest.Run{Job: j})
			l := w.start(w.data)
			w.over(r)
			text := w.text(r)
			for _, want := range []string{"world\n", w.sha + "\trefs/heads/main\n", "not localhost,127.0.0.1,::1"} {
				if !strings.Contains(text, want) {
					t.Errorf("%q is missing in %s", want, text)
				}
			}
			c.reached(apiHost, objectHost, gitHost, brokerHost)
			w.wait("the broker's hints arrive", func() (bool, string) { return strings.Contains(l.log.String(), "hints arrive"), l.log.String() })
			for _, secret := range []string{proxyPassword, url.QueryEscape(proxyPassword), "c4n4ry"} {
				if strings.Contains(text+l.log.String(), secret) {
					t.Errorf("%q stands in a log:\n%s\n%s", secret, text, l.log)
				}
			}
		})
	}
}

func TestAProxyThatRefusesIsNamedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	c := setupClosed(t, w, url.UserPassword("runner", "another"))
	wrong := url.URL{Scheme: "http", User: url.UserPassword("runner", proxyPassword), Host: c.proxy.Listener.Addr().String()}
	w.env = []string{"HTTPS_PROXY=" + wrong.String(), c.documented()}
	l := w.start(w.data)
	w.wait("the launcher says so", func() (bool, string) {
		log := l.log.String()
		return strings.Contains(log, "cannot be reached through the proxy http://"+c.proxy.Listener.Addr().String()+": Proxy Authentication Required"), log
	})
	if log := l.log.String(); strings.Contains(log, "c4n4ry") {
		t.Error(log)
	}
}

func TestWithoutItsAuthorityAPartIsNotBelieved(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	c := setupClosed(t, w, nil)
	w.env = []string{"HTTPS_PROXY=" + c.proxy.Address()}
	l := w.start(w.data)
	w.wait("the launcher says so", func() (bool, string) {
		return strings.Contains(l.log.String(), "certificate signed by unknown authority"), l.log.String()
	})
}
