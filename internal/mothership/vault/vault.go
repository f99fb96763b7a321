package vault

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

// Root encrypts the data key. A *secrets.Keeper of gocloud.dev is one.
type Root interface {
	Encrypt(ctx context.Context, plaintext []byte) ([]byte, error)
	Decrypt(ctx context.Context, ciphertext []byte) ([]byte, error)
}

// Options are what a Keeper works with.
type Options struct {
	DB   *db.DB
	Root Root
	// Rand is the source of keys and nonces; nil is the system's.
	Rand io.Reader
}

// keyRow is the name of the wrapped data key in the installation table.
const keyRow = "vault.key"

// version begins every ciphertext, so that another scheme can follow.
const version = 1

// Keeper wraps and unwraps values. It is safe for concurrent use.
type Keeper struct {
	aead cipher.AEAD
	rand io.Reader
}

// Open reads the data key, or makes it if the database has none.
func Open(ctx context.Context, o Options) (*Keeper, error) {
	if o.DB == nil || o.Root == nil {
		return nil, errors.New("vault: DB and Root are needed")
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	key, err := dataKey(ctx, o)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("use data key: %w", err)
	}
	return &Keeper{aead: aead, rand: o.Rand}, nil
}

// dataKey makes a key if there is none. Asking the root may be I/O, so it stands
// outside the transaction; if another process was quicker, its key is taken.
func dataKey(ctx context.Context, o Options) ([]byte, error) {
	wrapped, err := readKey(ctx, o.DB.Read())
	if err != nil {
		return nil, err
	}
	if wrapped == nil {
		fresh := make([]byte, chacha20poly1305.KeySize)
		if _, err := io.ReadFull(o.Rand, fresh); err != nil {
			return nil, fmt.Errorf("make data key: %w", err)
		}
		candidate, err := o.Root.Encrypt(ctx, fresh)
		if err != nil {
			return nil, fmt.Errorf("wrap data key: %w", err)
		}
		err = o.DB.Write(ctx, func(tx *db.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, keyRow, candidate)
			if err != nil {
				return fmt.Errorf("store data key: %w", err)
			}
			wrapped, err = readKey(ctx, tx)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	key, err := o.Root.Decrypt(ctx, wrapped)
	if err != nil {
		return nil, fmt.Errorf("unwrap data key: %w", err)
	}
	return key, nil
}

func readKey(ctx context.Context, q db.Queryer) ([]byte, error) {
	var wrapped []byte
	err := q.QueryRowContext(ctx, `SELECT value FROM installation WHERE name = $1`, keyRow).Scan(&wrapped)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read data key: %w", err)
	}
	return wrapped, nil
}

// Wrap encrypts plaintext for purpose, which names the table and row that the
// value belongs to, such as "pool.token:<id>". It does no I/O.
func (k *Keeper) Wrap(_ context.Context, purpose string, plaintext []byte) ([]byte, error) {
	if purpose == "" {
		return nil, errors.New("wrap value: purpose is needed")
	}
	out := make([]byte, 1+chacha20poly1305.NonceSizeX, 1+chacha20poly1305.NonceSizeX+len(plaintext)+chacha20poly1305.Overhead)
	out[0] = version
	// The nonce is long enough to be drawn at random for every value there will
	// ever be.
	if _, err := io.ReadFull(k.rand, out[1:]); err != nil {
		return nil, fmt.Errorf("wrap value of %s: %w", purpose, err)
	}
	return k.aead.Seal(out, out[1:], plaintext, []byte(purpose)), nil
}

// ErrUnwrap means that a ciphertext was not made by this installation for this
// purpose, or has been altered.
var ErrUnwrap = errors.New("stored value cannot be opened")

// Unwrap decrypts what Wrap made for the same purpose. It does no I/O.
func (k *Keeper) Unwrap(_ context.Context, purpose string, ciphertext []byte) ([]byte, error) {
	const head = 1 + chacha20poly1305.NonceSizeX
	if len(ciphertext) < head || ciphertext[0] != version {
		return nil, fmt.Errorf("unwrap value of %s: %w", purpose, ErrUnwrap)
	}
	plaintext, err := k.aead.Open(nil, ciphertext[1:head], ciphertext[head:], []byte(purpose))
	if err != nil {
		return nil, fmt.Errorf("unwrap value of %s: %w", purpose, ErrUnwrap)
	}
	return plaintext, nil
}
