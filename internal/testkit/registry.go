package testkit

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	mathrand "math/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/moby/moby/client"

	"github.com/spaceport-iac/spaceport/internal/launcher/hostimage"
)

// engineCerts is where an engine looks for the certificates of a registry's CA.
const engineCerts = "/etc/docker/certs.d"

// Registry is a private image registry: TLS by a CA of its own, a user and a
// password. It has a name that no other test has, so that what is pulled from it
// can be told from all else in the engine.
type Registry struct {
	// Host is its name in references, User and Password what it wants.
	Host, User, Password string
	// CA is its authority's certificate in PEM.
	CA []byte

	t      testing.TB
	server *httptest.Server

	mu        sync.Mutex
	intercept func(http.ResponseWriter, *http.Request) bool
	resolved  int
}

// NewRegistry starts a registry that the engine can reach and does not trust yet.
// It listens on the gateway of the engine's bridge: an engine takes any registry
// on a loopback address for one without security.
func NewRegistry(t testing.TB) *Registry {
	t.Helper()
	gateway := bridgeGateway(t)
	var secret [12]byte
	_, _ = rand.Read(secret[:])
	r := &Registry{t: t, User: "puller", Password: "canary-" + hex.EncodeToString(secret[:])}
	ca, leaf := certificates(t, gateway)
	r.CA = ca
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(gateway, "0"))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = l.Addr().String()
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.serve(store, w, req) }))
	_ = r.server.Listener.Close()
	r.server.Listener = l
	r.server.TLS = &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12}
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.server.StartTLS()
	t.Cleanup(r.server.Close)
	t.Cleanup(func() { removeImages(t, r.Host) })
	return r
}

// Trust makes the engine trust the registry's CA, which needs root.
func (r *Registry) Trust() {
	r.t.Helper()
	dir := filepath.Join(engineCerts, r.Host)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Fatalf("the engine cannot be made to trust a registry: run this test as root: %v", err)
	}
	r.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), r.CA, 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// Intercept is asked before each request to the registry; if it answers true, it
// has answered the request.
func (r *Registry) Intercept(f func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.intercept = f
}

// Resolved is how often the registry was asked for an image by its name.
func (r *Registry) Resolved() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.resolved
}

func (r *Registry) serve(store http.Handler, w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	f := r.intercept
	r.mu.Unlock()
	if f != nil && f(w, req) {
		return
	}
	user, password, ok := req.BasicAuth()
	if !ok || user != r.User || password != r.Password {
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
		return
	}
	if (req.Method == http.MethodGet || req.Method == http.MethodHead) && strings.Contains(req.URL.Path, "/manifests/") && !strings.Contains(req.URL.Path, "sha256:") {
		r.mu.Lock()
		r.resolved++
		r.mu.Unlock()
	}
	store.ServeHTTP(w, req)
}

// Config writes a config.json with the registry's credentials and returns its
// directory.
func (r *Registry) Config() string {
	r.t.Helper()
	dir := r.t.TempDir()
	auth := base64.StdEncoding.EncodeToString([]byte(r.User + ":" + r.Password))
	b, err := json.Marshal(map[string]any{"auths": map[string]any{r.Host: map[string]string{"auth": auth}}})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return dir
}

// PushRunner puts a runner image into the registry, the like of RunnerImage, and
// returns its reference. volumes are the paths that it declares.
func (r *Registry) PushRunner(repository string, volumes ...string) string {
	r.t.Helper()
	binaries, err := hostimage.Default()
	if err != nil {
		r.t.Fatal(err)
	}
	var rootfs bytes.Buffer
	if err := hostimage.Build(r.t.Context(), &rootfs, binaries); err != nil {
		r.t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(rootfs.Bytes())), nil })
	if err != nil {
		r.t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.push(repository, image, runtime.GOARCH, volumes)
}

// PushEmpty puts an image of that many random layers, each of size bytes, into the
// registry. It has no shell, nor anything else that could be run.
func (r *Registry) PushEmpty(repository, arch string, layers, size int64) string {
	r.t.Helper()
	image, err := random.Image(size, layers, random.WithSource(mathrand.NewSource(time.Now().UnixNano())))
	if err != nil {
		r.t.Fatal(err)
	}
	return r.push(repository, image, arch, nil)
}

func (r *Registry) push(repository string, image v1.Image, arch string, volumes []string) string {
	r.t.Helper()
	cf, err := image.ConfigFile()
	if err != nil {
		r.t.Fatal(err)
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture = "linux", arch
	// A content of its own: no other test removes, or has, this image.
	cf.Config.Labels = map[string]string{"spaceport.test": r.Host + "/" + repository}
	cf.Config.Volumes = map[string]struct{}{}
	for _, v := range volumes {
		cf.Config.Volumes[v] = struct{}{}
	}
	if image, err = mutate.ConfigFile(image, cf); err != nil {
		r.t.Fatal(err)
	}
	ref, err := name.ParseReference(r.Host + "/" + repository + ":1")
	if err != nil {
		r.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(r.CA)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy, transport.TLSClientConfig = nil, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	defer transport.CloseIdleConnections()
	err = remote.Write(ref, image, remote.WithContext(r.t.Context()), remote.WithTransport(transport), remote.WithAuth(&authn.Basic{Username: r.User, Password: r.Password}))
	if err != nil {
		r.t.Fatalf("push %s: %v", ref, err)
	}
	return ref.Name()
}

// bridgeGateway is the host's address on the engine's own bridge.
func bridgeGateway(t testing.TB) string {
	t.Helper()
	found, err := Docker(t).NetworkInspect(t.Context(), "bridge", client.NetworkInspectOptions{})
	if err != nil {
		t.Fatalf("the engine has no bridge: %v", err)
	}
	for _, c := range found.Network.IPAM.Config {
		if c.Gateway.IsValid() {
			return c.Gateway.String()
		}
	}
	t.Fatal("the engine's bridge has no gateway: this test needs an engine on this host")
	return ""
}

// removeImages removes what the engine has from a registry.
func removeImages(t testing.TB, host string) {
	api, err := client.New(client.FromEnv)
	if err != nil {
		return
	}
	defer api.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	found, err := api.ImageList(ctx, client.ImageListOptions{All: true})
	if err != nil {
		t.Errorf("clean up images: %v", err)
		return
	}
	for _, image := range found.Items {
		// By its names: an image without a tag has only a digest.
		for _, name := range append(image.RepoTags, image.RepoDigests...) {
			if strings.HasPrefix(name, host+"/") {
				_, _ = api.ImageRemove(ctx, name, client.ImageRemoveOptions{PruneChildren: true})
			}
		}
	}
}

// certificates makes an authority and a server's certificate for an address.
func certificates(t testing.TB, address string) (ca []byte, leaf tls.Certificate) {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test registry CA"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: address}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		IPAddresses: []net.IP{net.ParseIP(address)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, server, root, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}), tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
