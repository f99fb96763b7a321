package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/testkit"
)

func TestWhatIsTheAddressOfAProxy(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"proxy:3128": "http://proxy:3128", " http://u:p@proxy:3128/ ": "http://u:p@proxy:3128/", "https://proxy": "https://proxy",
		"socks5://proxy:1080": "socks5://proxy:1080", "[::1]:3128": "http://[::1]:3128",
		"ftp://u:c4n4ry@proxy": "", "http://": "", "http://u:c4n4ry%zz@proxy": "", "http://proxy/path?c4n4ry": "", "http://u:c4n#4ry@proxy": "",
	} {
		got, err := ParseProxy(value)
		if got != want || (err == nil) == (want == "") {
			t.Errorf("%q: got %q, %v", value, got, err)
		}
		if err != nil && (strings.Contains(err.Error(), "c4n") || !strings.Contains(err.Error(), "http://proxy.example.com:3128")) {
			t.Errorf("%q: the sentence is %v", value, err)
		}
	}
}

func TestTheHostItselfAndCloudsMetadataAreReachedDirectly(t *testing.T) {
	t.Parallel()
	p := NewProxy("http://p:1", "http://p:1", "10.0.0.0/8,.internal,bare.example.com")
	for address, direct := range map[string]bool{
		"https://example.com": false, "http://example.com": false, "https://10.1.2.3": true, "https://a.internal": true, "https://bare.example.com:8443": true,
		"http://127.0.0.1:9": true, "http://localhost": true, "http://169.254.169.254/latest": true, "http://[fd00:ec2::254]/": true, "http://[fe80::1]/": true,
	} {
		u, _ := url.Parse(address)
		if (p.For(u) == nil) != direct {
			t.Errorf("%s goes through %v", address, p.For(u))
		}
	}
	if (*Proxy)(nil).For(&url.URL{Scheme: "https", Host: "x"}) != nil || len((*Proxy)(nil).Environ()) != 0 || len(NewProxy("", "", "x").Environ()) != 0 {
		t.Error("there is no proxy, and there is one")
	}
}

func TestOtherProgramsGetBothSpellingsAndKeepAwayFromTheHostItself(t *testing.T) {
	t.Parallel()
	env := NewProxy("", "http://p:1", "a.example.com").Environ()
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		if !strings.HasPrefix(env[name], "a.example.com,localhost,127.0.0.1,::1,169.254.169.254") {
			t.Errorf("%s is %q", name, env[name])
		}
	}
	if env["https_proxy"] != "http://p:1" || env["HTTPS_PROXY"] != "http://p:1" || len(env) != 4 {
		t.Errorf("got %v", env)
	}
}

func TestEachFormOfAPasswordIsASecret(t *testing.T) {
	t.Parallel()
	got := NewProxy("", "http://user:p%40ss%2dword@p:1", "").Secrets()
	for _, want := range []string{"p@ss-word", "p%40ss-word", "p%40ss%2dword", "dXNlcjpwQHNzLXdvcmQ="} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is no secret: %q", want, got)
		}
	}
}

// greeter says a line to everybody who connects, before it is spoken to.
func greeter(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "welcome\n")
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func welcomed(t *testing.T, p *Proxy, roots *tls.Config) error {
	t.Helper()
	c, err := p.Dial(t.Context(), "far.invalid:1", roots)
	if err != nil {
		return err
	}
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	if line != "welcome\n" {
		t.Errorf("got %q, %v", line, err)
	}
	return nil
}

func TestATunnelIsMadeThroughProxiesWithAndWithoutTLS(t *testing.T) {
	t.Parallel()
	to := greeter(t)
	plain := testkit.NewProxy(t, url.UserPassword("u", "c4n4ry"), func(string) string { return to })
	if err := welcomed(t, NewProxy("", plain.Address(), ""), nil); err != nil {
		t.Error(err)
	}
	secure := httptest.NewUnstartedServer(plain)
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	address := "https://u:c4n4ry@" + secure.Listener.Addr().String()
	if err := welcomed(t, NewProxy("", address, ""), &tls.Config{RootCAs: roots}); err != nil {
		t.Error(err)
	}
	err := welcomed(t, NewProxy("", address, ""), nil)
	if err == nil || !strings.Contains(err.Error(), "through the proxy https://"+secure.Listener.Addr().String()+": ") || strings.Contains(err.Error(), "c4n4ry") {
		t.Errorf("a proxy whose authority nobody knows: %v", err)
	}
	wrong := "http://u:wr0ng@" + plain.Listener.Addr().String()
	err = welcomed(t, NewProxy("", wrong, ""), nil)
	if err == nil || !strings.Contains(err.Error(), "407") || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("a wrong password: %v", err)
	}
}

func TestAProxyThatSaysNothingIsGivenUpWithTheContext(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	ended := make(chan error, 1)
	go func() {
		_, err := NewProxy("", silent.URL, "").Dial(ctx, "far.invalid:1", nil)
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it is connected")
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits for ever")
	}
}
