package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	dockerclient "github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/client"
	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/egress"
	"github.com/spaceport-iac/spaceport/internal/launcher/setting"
	"github.com/spaceport-iac/spaceport/internal/seal"
)

// Status is how a check came out.
type Status string

// The values of Status.
const (
	OK   Status = "ok"
	Warn Status = "warning" // a launcher works, now
	Fail Status = "failed"  // it cannot take runs
)

const (
	expires = 30 * 24 * time.Hour // before which a certificate's end is warned of
	skewed  = time.Minute         // of clocks, which is worth a warning
)

// Finding is what one check found.
type Finding struct {
	Check   string `json:"check"`
	Status  Status `json:"status"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// Options are what to look at.
type Options struct {
	Settings *setting.Settings
	Log      *slog.Logger
	Version  string
	Now      func() time.Time
	Within   time.Duration // of each check; ten seconds if zero
}

// patient collects findings.
type patient struct {
	o     Options
	token *seal.Token
	all   []Finding
}

func (p *patient) say(check string, status Status, fix, message string, args ...any) {
	p.all = append(p.all, Finding{check, status, fmt.Sprintf(message, args...), fix})
}

// bad takes an error's sentence and its hint apart.
func (p *patient) bad(check string, err error) {
	f := fault.Public(err)
	message, hint := f.Message, f.Hint
	if fault.As(err) == nil {
		message, hint = err.Error(), ""
	}
	p.all = append(p.all, Finding{check, Fail, message, hint})
}

// Examine runs all checks, in order.
func Examine(ctx context.Context, o Options) []Finding {
	if o.Within == 0 {
		o.Within = 10 * time.Second
	}
	p := &patient{o: o}
	p.secrets()
	p.authorities()
	p.disk()
	p.engine(ctx)
	if p.token != nil {
		p.api(ctx)
		p.broker(ctx)
	}
	return p.all
}

// secrets looks at token, key and certificate.
func (p *patient) secrets() {
	s := p.o.Settings
	token, err := seal.ParseToken(string(s.Token))
	if err != nil {
		p.bad("token", err)
	} else {
		p.token = token
		p.say("token", OK, "", "it is for pool %s of %s", token.Pool, token.API.Endpoint)
	}
	key, err := seal.ParsePoolKey(string(s.Key))
	if err != nil {
		p.bad("key", err)
		return
	}
	p.say("key", OK, "", "it is %s", key.Fingerprint())
	if token == nil {
		return
	}
	cert, now := token.PoolCertificate(), p.o.Now()
	const reset = "make a new signing request and reset the pool"
	until := cert.NotAfter.UTC().Format(time.DateOnly)
	switch err := key.Matches(cert); {
	case err != nil:
		p.bad("certificate", err)
	case now.After(cert.NotAfter):
		p.say("certificate", Fail, reset, "the pool's certificate expired on %s", until)
	case now.Add(expires).After(cert.NotAfter):
		p.say("certificate", Warn, reset, "the pool's certificate expires on %s", until)
	default:
		p.say("certificate", OK, "", "it is the key's, and valid until %s", until)
	}
}

func (p *patient) authorities() {
	roots := p.o.Settings.Roots
	if expired := roots.Expired(p.o.Now()); len(expired) > 0 {
		p.say("private authorities", Warn, "replace it in ADDITIONAL_ROOT_CAS", "%s", strings.Join(expired, "; "))
		return
	}
	p.say("private authorities", OK, "", "%d are believed beside the system's", len(roots.Certificates()))
}

func (p *patient) disk() {
	s := p.o.Settings
	// The data directory may not be there yet; what it will be on is.
	dir := s.DataDir
	for dir != "/" {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	if unix.Access(dir, unix.W_OK) != nil {
		p.say("data directory", Fail, fmt.Sprintf("let the launcher's user (uid %d) write there, or set SPACELIFT_DATA_DIR", os.Geteuid()), "%s cannot be written", dir)
		return
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		p.bad("data directory", err)
		return
	}
	free := int64(st.Bavail) * st.Bsize
	if free < s.DiskFloor {
		p.say("data directory", Fail, "make room there, or lower SPACELIFT_DISK_FLOOR", "its disk has %d MiB left, and a run needs %d MiB", free>>20, s.DiskFloor>>20)
		return
	}
	p.say("data directory", OK, "", "%s, with %d MiB left", s.DataDir, free>>20)
}

// engine looks at the container engine: rights, version, user remapping, and the
// network, runtime and mounts that the settings name.
func (p *patient) engine(ctx context.Context) {
	s := p.o.Settings
	if s.Backend == "process" {
		p.say("container engine", Warn, "use the docker backend", "runs are plain processes, without any isolation")
		return
	}
	wanted := container.Wanted{Network: s.Network, Runtime: s.Runtime}
	for _, m := range s.Mounts {
		wanted.Mounts = append(wanted.Mounts, container.WantedMount{Setting: m.Setting, Mount: container.Mount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly, Operator: true}})
	}
	d, err := container.NewDocker(container.DockerOptions{DataDir: s.DataDir, RunsDir: filepath.Join(s.DataDir, "slots", "0", "runs"), Host: s.DockerHost, Wanted: wanted})
	if err != nil {
		p.bad("container engine", err)
		return
	}
	defer func() { _ = d.Close() }() // only asked
	ctx, cancel := context.WithTimeout(ctx, p.o.Within)
	defer cancel()
	if err := d.Check(ctx); err != nil {
		p.bad("container engine", err)
		return
	}
	info, err := d.Client().Info(ctx, dockerclient.InfoOptions{})
	if err != nil {
		p.bad("container engine", err)
		return
	}
	p.say("container engine", OK, "", "version %s at %s", info.Info.ServerVersion, d.Client().DaemonHost())
	if s.Proxy.Set() && info.Info.HTTPSProxy == "" && info.Info.HTTPProxy == "" {
		p.say("image pulls", Warn, "set HTTPS_PROXY in the engine's own service; see docs/network.md", "the launcher has a proxy and the container engine, which pulls the images, has none")
	}
}

// via says how an address is reached.
func (p *patient) via(u *url.URL) string {
	if proxy := p.o.Settings.Proxy.For(u); proxy != nil {
		return "through the proxy " + egress.Shown(proxy)
	}
	return "directly"
}

func (p *patient) roots() []*x509.Certificate {
	return slices.Concat(p.token.RootPool(), p.o.Settings.Roots.Certificates())
}

func (p *patient) api(ctx context.Context) {
	endpoint := p.token.API.Endpoint
	c, err := client.New(client.Options{Endpoint: endpoint, Roots: p.roots(), Proxy: p.o.Settings.Proxy, Log: p.o.Log, Version: p.o.Version, Now: p.o.Now})
	if err != nil {
		p.bad("mothership", err)
		return
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, p.o.Within)
	defer cancel()
	if _, err := c.Nonce(ctx); err != nil {
		p.bad("mothership", err)
		return
	}
	u, _ := url.Parse(endpoint)
	p.say("mothership", OK, "", "%s answers, %s", endpoint, p.via(u))
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, endpoint, nil)
	if err != nil {
		return
	}
	answer, err := c.HTTP().Do(req)
	if err != nil {
		return // it has answered once already
	}
	_ = answer.Body.Close()
	theirs, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return
	}
	if skew := p.o.Now().Sub(theirs).Round(time.Second); skew.Abs() > skewed {
		p.say("clock", Warn, "keep this host's time by NTP: certificates are judged by it", "this host's clock differs from the mothership's by %s", skew)
		return
	}
	p.say("clock", OK, "", "it agrees with the mothership's")
}

func (p *patient) broker(ctx context.Context) {
	address := p.token.Broker.Endpoint
	if !strings.Contains(address, "://") {
		address = "tls://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		p.say("broker", Fail, "take the token anew", "%q is no broker's address", p.token.Broker.Endpoint)
		return
	}
	port := u.Port()
	if port == "" {
		port = "8883"
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, root := range p.roots() {
		pool.AddCert(root)
	}
	ctx, cancel := context.WithTimeout(ctx, p.o.Within)
	defer cancel()
	config := &tls.Config{RootCAs: pool, ServerName: u.Hostname(), MinVersion: tls.VersionTLS12, Time: p.o.Now}
	how := p.via(&url.URL{Scheme: "https", Host: u.Host})
	conn, err := p.o.Settings.Proxy.Dial(ctx, net.JoinHostPort(u.Hostname(), port), config)
	if err == nil {
		defer conn.Close()
		err = tls.Client(conn, config).HandshakeContext(ctx)
	}
	if err != nil {
		// The launcher polls then, and all works, slower.
		p.say("broker", Warn, "let this host, or its proxy by CONNECT, reach the broker", "%s cannot be reached %s (%v); the launcher polls", u.Host, how, err)
		return
	}
	p.say("broker", OK, "", "%s answers, %s", u.Host, how)
}
