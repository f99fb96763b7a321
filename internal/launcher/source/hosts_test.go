package source

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"log/slog"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// canary is the secret of these tests: it must never be found anywhere.
const canary = "c4n4ry-t0ken"

// httpsHost is a real git server behind TLS by an authority of its own.
type httpsHost struct {
	*httptest.Server
	root string // of the repositories
	ca   string // file of its authority

	mu       sync.Mutex
	requests []http.Header
	// before may answer instead of git.
	before func(w http.ResponseWriter, r *http.Request) bool
}

func (h *httpsHost) host() string { return h.Listener.Addr().String() }

// authorized counts the requests that carried a credential, of all there were.
func (h *httpsHost) authorized() (with, all int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, header := range h.requests {
		if header.Get("Authorization") != "" {
			with++
		}
	}
	return with, len(h.requests)
}

// newHTTPS serves the repositories below root to who knows the token; to everybody
// if it is empty.
func newHTTPS(t *testing.T, root, token string) *httpsHost {
	t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"), Stderr: t.Output(),
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	h := &httpsHost{root: root}
	h.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.requests = append(h.requests, r.Header.Clone())
		before := h.before
		h.mu.Unlock()
		if before != nil && before(w, r) {
			return
		}
		if user, password, _ := r.BasicAuth(); token != "" && (user != "bot" || password != token) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	h.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	h.StartTLS()
	t.Cleanup(h.Close)
	h.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(h.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *httpsHost) credential(token string) *wire.SourceCredential {
	return &wire.SourceCredential{ID: "01A", Host: h.host(), Username: "bot", Token: token}
}

// fetcher is one that trusts the host's authority.
func (h *httpsHost) fetcher(t *testing.T) *Fetcher {
	f := fetcher(t, false)
	f.o.CAFile = h.ca
	return f
}

// sshHost is a real sshd, one process a connection, that lets one key in.
type sshHost struct {
	addr  string
	known string // its line of known_hosts
	key   string // PEM of the key that it lets in
	login string
}

func newKey(t *testing.T) (private string, public ssh.PublicKey) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	public, err = ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), public
}

func newSSH(t *testing.T) *sshHost {
	t.Helper()
	sshd, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		t.Fatalf("the tests need /usr/sbin/sshd (Debian package openssh-server): %v", err)
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where sshd gives up its rights
			t.Fatal(err)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	hostKey, hostPublic := newKey(t)
	h := &sshHost{login: me.Username}
	var public ssh.PublicKey
	h.key, public = newKey(t)
	config := write("sshd_config", strings.Join([]string{
		"HostKey " + write("host_key", hostKey), "AuthorizedKeysFile " + write("authorized", string(ssh.MarshalAuthorizedKey(public))),
		"StrictModes no", "UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin yes", "PidFile none", "LogLevel ERROR",
	}, "\n")+"\n")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = listener.Addr().String()
	_, port, _ := net.SplitHostPort(h.addr)
	h.known = "[127.0.0.1]:" + port + " " + string(ssh.MarshalAuthorizedKey(hostPublic))
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				file, err := conn.(*net.TCPConn).File()
				_ = conn.Close()
				if err != nil {
					return
				}
				cmd := exec.Command(sshd, "-i", "-e", "-f", config)
				cmd.Stdin, cmd.Stdout, cmd.Stderr = file, file, t.Output()
				_ = cmd.Start()
				_ = file.Close()
				_ = cmd.Wait()
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	return h
}

func (h *sshHost) url(path string) string { return "ssh://" + h.login + "@" + h.addr + path }

func (h *sshHost) credential() *wire.SourceCredential {
	return &wire.SourceCredential{ID: "01B", Host: h.addr, SSHKey: h.key, KnownHosts: h.known}
}

// fetch fetches into a new directory and returns it, the commit and the log.
func fetch(t *testing.T, f *Fetcher, r Request) (dst string, commit wire.Commit, log string, err error) {
	t.Helper()
	dst = filepath.Join(t.TempDir(), "source")
	var lines []string
	commit, err = f.Fetch(t.Context(), r, dst, func(line string) { lines = append(lines, line) })
	return dst, commit, strings.Join(lines, "\n"), err
}

// content of a file that was written, or what is wrong with it.
func read(dir, name string) string {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// wantFault compares a fault's code and sentence, and that no secret is in it.
func wantFault(t *testing.T, err error, code fault.Code, text string) {
	t.Helper()
	f := fault.As(err)
	if f == nil || f.Code != code || !strings.Contains(f.Error(), text) {
		t.Errorf("got %v, want %s: …%s…", err, code, text)
	}
	if f != nil && (strings.Contains(f.Error(), canary) || strings.Contains(f.Error(), "\n")) {
		t.Errorf("a secret or more than one line stands in %q", f.Error())
	}
}

// exposed are the processes of this host in whose arguments or environment the
// text stands.
func exposed(text string) []string {
	var found []string
	for _, kind := range []string{"cmdline", "environ"} {
		files, _ := filepath.Glob("/proc/[0-9]*/" + kind)
		for _, name := range files {
			if data, err := os.ReadFile(name); err == nil && bytes.Contains(data, []byte(text)) {
				found = append(found, name)
			}
		}
	}
	return found
}

// written are the files below dir that hold the text.
func written(t *testing.T, dir, text string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if bytes.Contains(data, []byte(text)) {
			found = append(found, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func marshal(key ssh.PublicKey) string { return string(ssh.MarshalAuthorizedKey(key)) }
