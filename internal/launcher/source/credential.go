package source

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// credentialFD is where git's helper reads a user name and a token: a file in
// memory that git and what it starts inherit. So a token stands in no argument, no
// environment and no file.
const credentialFD = "/proc/self/fd/3"

// credential is what opens one host, or nothing.
type credential struct{ c *wire.SourceCredential }

// credentialFor returns r's credential if it is meant for a and can be used
// there, else none: it is never sent to another host.
func credentialFor(c *wire.SourceCredential, a address) credential {
	if c == nil || !strings.EqualFold(c.Host, a.home) {
		return credential{}
	}
	if (a.scheme == "ssh") != (c.SSHKey != "") || a.scheme == "file" {
		return credential{}
	}
	return credential{c}
}

func (c credential) none() bool { return c.c == nil }

// id tells caches apart: what one credential opened is not there for others.
func (c credential) id() string {
	if c.none() {
		return ""
	}
	return c.c.ID
}

// hide takes the secret out of what a server may have repeated.
func (c credential) hide(text string) string {
	if c.none() || c.c.Token == "" {
		return text
	}
	return strings.ReplaceAll(text, c.c.Token, "*****")
}

// hide takes out what no log may have.
func (c *cache) hide(text string) string {
	for _, secret := range c.f.o.Hide {
		text = strings.ReplaceAll(text, secret, "*****")
	}
	return c.credential.hide(text)
}

// tokenFile returns the file in memory that the helper reads.
func (c credential) tokenFile() (*os.File, error) {
	if strings.ContainsAny(c.c.Username+c.c.Token, "\x00\n\r") {
		return nil, fault.New(fault.Invalid, "the source credential for %s holds a line break", c.c.Host).Named("source_credential")
	}
	fd, err := unix.MemfdCreate("credential", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the source credential cannot be handed to git: %v", err).Named("source_credential")
	}
	file := os.NewFile(uintptr(fd), "credential")
	if _, err := file.WriteString("username=" + c.c.Username + "\npassword=" + c.c.Token + "\n"); err != nil {
		_ = file.Close()
		return nil, fault.Wrap(err, fault.Internal, "the source credential cannot be handed to git: %v", err).Named("source_credential")
	}
	return file, nil
}

// keyring is an ssh agent that holds one key, for as long as one fetch takes. ssh
// closes every file it inherits, so that its key must come by a socket; the key
// itself never leaves this process.
type keyring struct {
	dir      string
	listener net.Listener
	keys     agent.Agent
	serving  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
}

func (c credential) keyring(ctx context.Context) (*keyring, error) {
	unusable := func(err error) error {
		// Never the parser's text: it may quote the key.
		return fault.Wrap(err, fault.Invalid, "the SSH key of the source credential for %s cannot be used", c.c.Host).Named("source_credential")
	}
	if block, _ := pem.Decode([]byte(c.c.SSHKey)); block == nil {
		return nil, unusable(errors.New("no PEM"))
	}
	key, err := ssh.ParseRawPrivateKey([]byte(c.c.SSHKey))
	if err != nil {
		return nil, unusable(err)
	}
	k := &keyring{keys: agent.NewKeyring(), conns: map[net.Conn]bool{}}
	if err := k.keys.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		return nil, unusable(err)
	}
	// A socket's path has at most 107 bytes, which a data directory may exceed.
	if k.dir, err = os.MkdirTemp("", "spaceport-ssh-"); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the SSH key cannot be handed to ssh: %v", err).Named("source_credential")
	}
	if k.listener, err = (&net.ListenConfig{}).Listen(ctx, "unix", k.socket()); err != nil {
		_ = os.RemoveAll(k.dir)
		return nil, fault.Wrap(err, fault.Internal, "the SSH key cannot be handed to ssh: %v", err).Named("source_credential")
	}
	k.serving.Go(k.serve)
	return k, nil
}

func (k *keyring) socket() string { return filepath.Join(k.dir, "agent") }

func (k *keyring) serve() {
	for {
		conn, err := k.listener.Accept()
		if err != nil {
			return
		}
		k.mu.Lock()
		if k.closed {
			_ = conn.Close()
		}
		k.conns[conn] = true
		k.mu.Unlock()
		k.serving.Go(func() {
			_ = agent.ServeAgent(k.keys, conn) // ends with the connection
			_ = conn.Close()
			k.mu.Lock()
			delete(k.conns, conn)
			k.mu.Unlock()
		})
	}
}

// close ends the agent, whoever may still hold a connection.
func (k *keyring) close() {
	_ = k.listener.Close()
	k.mu.Lock()
	k.closed = true
	for conn := range k.conns {
		_ = conn.Close()
	}
	k.mu.Unlock()
	k.serving.Wait()
	_ = k.keys.RemoveAll()
	_ = os.RemoveAll(k.dir)
}

// writeIfOther writes a file unless it holds data already.
func writeIfOther(name string, data []byte) error {
	if have, err := os.ReadFile(name); err == nil && bytes.Equal(have, data) {
		return nil
	}
	return os.WriteFile(name, data, 0o600)
}
