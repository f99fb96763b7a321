package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/durable"
	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/seal"
)

// maxSlots bounds how many launchers may share a data directory.
const maxSlots = 256

// Options tell where an identity lives.
type Options struct {
	DataDir string
	// Machine is what tells this machine from another, see Machine. It may be
	// empty where nothing does: copies are not noticed then.
	Machine string
	// Random is the source of keys; crypto/rand's Reader if nil.
	Random io.Reader
}

// Identity is a held slot and its key. It is safe for concurrent use.
type Identity struct {
	dir     string
	slot    int
	machine string
	random  io.Reader
	lock    *flock.Flock

	mu  sync.Mutex
	key *ecdsa.PrivateKey
}

// Open takes the first free slot of a data directory and loads its key, or
// makes one. Faults: conflict.slots if all are taken, invalid.data_dir if the
// directory cannot be used.
func Open(o Options) (*Identity, error) {
	if o.DataDir == "" {
		return nil, errors.New("identity: no data directory")
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if err := os.MkdirAll(filepath.Join(o.DataDir, "slots"), 0o700); err != nil {
		return nil, unusable(o.DataDir, err)
	}
	for n := range maxSlots {
		dir := filepath.Join(o.DataDir, "slots", strconv.Itoa(n))
		if err := os.MkdirAll(filepath.Join(dir, "runs"), 0o700); err != nil {
			return nil, unusable(o.DataDir, err)
		}
		lock := flock.New(filepath.Join(dir, "lock"), flock.SetFlag(os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW))
		locked, err := lock.TryLock()
		if err != nil {
			return nil, unusable(o.DataDir, err)
		}
		if !locked {
			continue
		}
		id := &Identity{dir: dir, slot: n, machine: o.Machine, random: o.Random, lock: lock}
		if err := id.load(); err != nil {
			return nil, errors.Join(err, lock.Unlock())
		}
		return id, nil
	}
	return nil, fault.New(fault.Conflict, "all %d slots of the data directory %s are in use", maxSlots, o.DataDir).Named("slots")
}

func unusable(dir string, err error) error {
	return fault.Wrap(err, fault.Invalid, "the data directory %s cannot be used: %v", dir, err).Named("data_dir")
}

// load reads the key, or makes one where there is none, where it cannot be
// read, or where it was made on another machine.
func (id *Identity) load() error {
	data, err := os.ReadFile(filepath.Join(id.dir, "worker.key"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return id.Renew()
	case err != nil:
		return unusable(id.dir, err)
	}
	made, err := os.ReadFile(filepath.Join(id.dir, "machine"))
	if err == nil && string(made) != id.machine && string(made) != "" && id.machine != "" {
		return id.Renew()
	}
	if block, _ := pem.Decode(data); block != nil {
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if ec, ok := key.(*ecdsa.PrivateKey); ok && ec.Curve == elliptic.P256() {
				id.key = ec
				return nil
			}
		}
	}
	return id.Renew()
}

// Renew makes a new key, and so a new worker, and has it on disk before it
// returns.
func (id *Identity) Renew() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), id.random)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The machine first: a key without it would pass for one that was made here.
	if err := durable.WriteFile(filepath.Join(id.dir, "machine"), []byte(id.machine)); err != nil {
		return unusable(id.dir, err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := durable.WriteFile(filepath.Join(id.dir, "worker.key"), text); err != nil {
		return unusable(id.dir, err)
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	id.key = key
	return nil
}

// Key returns the worker's private key.
func (id *Identity) Key() *ecdsa.PrivateKey {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.key
}

// KeyPEM returns the private key as PEM, for a TLS configuration.
func (id *Identity) KeyPEM() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(id.Key())
	if err != nil {
		return nil // a P-256 key can always be written
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Fingerprint names the worker's public key.
func (id *Identity) Fingerprint() (string, error) { return seal.FingerprintOf(id.Key().Public()) }

// CSR returns the DER of a signing request of the worker's key. It says nothing
// but the key.
func (id *Identity) CSR() ([]byte, error) {
	return x509.CreateCertificateRequest(id.random, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "worker"}}, id.Key())
}

// NextSession returns a number greater than any before, and has it on disk
// before it returns.
func (id *Identity) NextSession() (int64, error) {
	path := filepath.Join(id.dir, "session")
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, unusable(id.dir, err)
	}
	last, _ := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return last + 1, id.KeepSession(last + 1)
}

// KeepSession notes the number that the mothership gave.
func (id *Identity) KeepSession(n int64) error {
	if err := durable.WriteFile(filepath.Join(id.dir, "session"), strconv.AppendInt(nil, n, 10)); err != nil {
		return unusable(id.dir, err)
	}
	return nil
}

// Machine returns the digest that Open was given.
func (id *Identity) Machine() string { return id.machine }

// Slot returns the slot's number.
func (id *Identity) Slot() int { return id.slot }

// Dir returns the slot's directory.
func (id *Identity) Dir() string { return id.dir }

// Runs returns the directory of run directories.
func (id *Identity) Runs() string { return filepath.Join(id.dir, "runs") }

// Close gives the slot back.
func (id *Identity) Close() error { return id.lock.Unlock() }
