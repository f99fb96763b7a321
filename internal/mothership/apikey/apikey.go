package apikey

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/audit"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

// Key is an API key without its secret.
type Key struct {
	ID         string
	Name       string
	Admin      bool
	Space      string // where Role holds
	Role       access.Role
	Creator    string // actor
	CreatedAt  time.Time
	LastUsedAt *time.Time // to the hour or so
	Deleted    bool
}

// Created is a new key with its secret, which cannot be shown again.
type Created struct {
	Key
	Secret string
}

// Input is what a key is made from.
type Input struct {
	Name  string
	Admin bool
	// Space and Role are for a key that is no administrator. Without a role it
	// may log in and do nothing.
	Space string
	Role  access.Role
}

// Options are what a Service works with.
type Options struct {
	DB    *db.DB
	Auth  access.Authorizer
	Audit *audit.Writer
	Now   func() time.Time
	NewID func() string // a new ULID
	Rand  io.Reader     // nil is the system's
}

// Service answers and changes API keys. It is safe for concurrent use.
type Service struct{ o Options }

// New returns the service, or an error if an option is missing.
func New(o Options) (*Service, error) {
	if o.DB == nil || o.Audit == nil || o.Now == nil || o.NewID == nil {
		return nil, errors.New("apikey: DB, Audit, Now and NewID are needed")
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	return &Service{o: o}, nil
}

const (
	maxName    = 255
	secretSize = 32
	// touchEvery bounds how often a login writes to the database.
	touchEvery = 10 * time.Minute
)

// Create makes a key. Only an administrator may make one.
func (s *Service) Create(ctx context.Context, in Input) (Created, error) {
	if in.Space == "" {
		in.Space = access.RootSpace
	}
	if err := s.o.Auth.Require(ctx, access.APIKeyCreate, access.RootSpace); err != nil {
		return Created{}, err
	}
	in.Name = strings.TrimSpace(in.Name)
	switch {
	case in.Name == "" || utf8.RuneCountInString(in.Name) > maxName || !utf8.ValidString(in.Name):
		return Created{}, fault.New(fault.Invalid, "the name of an API key has 1 to %d characters", maxName).Named("name")
	case strings.ContainsFunc(in.Name, unicode.IsControl):
		// It stands in histories, which clients print a line an entry.
		return Created{}, fault.New(fault.Invalid, "the name of an API key has no line breaks, tabs or other control characters").Named("name")
	case in.Role != "" && !in.Role.Valid():
		return Created{}, fault.New(fault.Invalid, "%q is not a role", in.Role).Named("role").
			WithHint("roles are reader, writer and admin")
	}
	raw := make([]byte, secretSize)
	if _, err := io.ReadFull(s.o.Rand, raw); err != nil {
		return Created{}, fmt.Errorf("make secret of an API key: %w", err)
	}
	secret := base64.RawURLEncoding.EncodeToString(raw)
	hash := sha256.Sum256([]byte(secret))
	p, _ := access.From(ctx)
	k := Key{
		ID: s.o.NewID(), Name: in.Name, Admin: in.Admin, Space: in.Space, Role: in.Role,
		Creator: p.Actor(), CreatedAt: s.o.Now().Truncate(time.Microsecond),
	}
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO api_key (id, name, secret_hash, admin, space, role, creator, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			k.ID, k.Name, hash[:], k.Admin, k.Space, string(k.Role), k.Creator, db.Micros(k.CreatedAt))
		if err != nil {
			return fmt.Errorf("store API key: %w", err)
		}
		return s.o.Audit.Record(ctx, tx, access.APIKeyCreate, k.ID, k.Space, map[string]string{
			"name": k.Name, "admin": fmt.Sprint(k.Admin), "role": string(k.Role),
		})
	})
	if err != nil {
		return Created{}, err
	}
	return Created{Key: k, Secret: secret}, nil
}

// Delete ends a key at once.
func (s *Service) Delete(ctx context.Context, id string) (Key, error) {
	if err := s.o.Auth.Require(ctx, access.APIKeyDelete, access.RootSpace); err != nil {
		return Key{}, err
	}
	var k Key
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		var err error
		if k, _, err = s.find(ctx, tx, id); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE api_key SET deleted_at = $1 WHERE id = $2`, db.Micros(s.o.Now()), id); err != nil {
			return fmt.Errorf("delete API key: %w", err)
		}
		return s.o.Audit.Record(ctx, tx, access.APIKeyDelete, k.ID, k.Space, map[string]string{"name": k.Name})
	})
	if err != nil {
		return Key{}, err
	}
	k.Deleted = true
	return k, nil
}

// Get returns a key.
func (s *Service) Get(ctx context.Context, id string) (Key, error) {
	if err := s.o.Auth.Require(ctx, access.APIKeyRead, access.RootSpace); err != nil {
		return Key{}, err
	}
	k, _, err := s.find(ctx, s.o.DB.Read(), id)
	return k, err
}

// List returns all keys that are not deleted, by name.
func (s *Service) List(ctx context.Context) ([]Key, error) {
	if err := s.o.Auth.Require(ctx, access.APIKeyRead, access.RootSpace); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.Read().QueryContext(ctx, `SELECT `+columns+` FROM api_key WHERE deleted_at IS NULL ORDER BY name, id`)
	keys, err := db.Collect(rows, err, func(r *sql.Rows) (Key, error) {
		k, _, err := scan(r.Scan)
		return k, err
	})
	if err != nil {
		return nil, fmt.Errorf("list API keys: %w", err)
	}
	return keys, nil
}

// Authenticate returns the principal of the key with this id and secret. It
// asks for no permission: the secret is one.
func (s *Service) Authenticate(ctx context.Context, id, secret string) (access.Principal, error) {
	k, hash, err := s.find(ctx, s.o.DB.Read(), id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return access.Principal{}, err
	}
	// Always the same work: the answer's time tells nobody which ids exist. The
	// hash of a missing key is empty and equals nothing.
	given := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(given[:], hash) != 1 {
		return access.Principal{}, fault.New(fault.Unauthenticated, "unauthorized: no such API key, or its secret is wrong").Named("api_key")
	}
	if err := s.touch(ctx, k); err != nil {
		return access.Principal{}, err
	}
	return k.principal(), nil
}

// touch records the use of a key, but not each single one.
func (s *Service) touch(ctx context.Context, k Key) error {
	now := s.o.Now()
	if k.LastUsedAt != nil && now.Sub(*k.LastUsedAt) < touchEvery {
		return nil
	}
	return s.o.DB.Write(ctx, func(tx *db.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE api_key SET last_used_at = $1 WHERE id = $2`, db.Micros(now), k.ID); err != nil {
			return fmt.Errorf("record use of API key: %w", err)
		}
		return nil
	})
}

// Principal returns the principal of a key as it is now; a deleted key has none.
func (s *Service) Principal(ctx context.Context, id string) (access.Principal, error) {
	k, _, err := s.find(ctx, s.o.DB.Read(), id)
	if fault.Is(err, fault.NotFound) {
		return access.Principal{}, fault.Wrap(err, fault.Unauthenticated, "unauthorized: the API key has been deleted").Named("api_key")
	}
	if err != nil {
		return access.Principal{}, err
	}
	return k.principal(), nil
}

func (k Key) principal() access.Principal {
	p := access.Principal{Kind: access.KindAPIKey, ID: k.ID, Name: k.Name, Admin: k.Admin}
	if k.Role != "" {
		p.Roles = map[string]access.Role{k.Space: k.Role}
	}
	return p
}

const columns = `id, name, secret_hash, admin, space, role, creator, created_at, last_used_at`

func (s *Service) find(ctx context.Context, q db.Queryer, id string) (Key, []byte, error) {
	k, hash, err := scan(q.QueryRowContext(ctx, `SELECT `+columns+` FROM api_key WHERE id = $1 AND deleted_at IS NULL`, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Key{}, nil, fault.New(fault.NotFound, "there is no API key %q", id)
	}
	if err != nil {
		return Key{}, nil, fmt.Errorf("read API key: %w", err)
	}
	return k, hash, nil
}

func scan(into func(...any) error) (Key, []byte, error) {
	var k Key
	var hash []byte
	var role string
	var created int64
	var used sql.NullInt64
	if err := into(&k.ID, &k.Name, &hash, &k.Admin, &k.Space, &role, &k.Creator, &created, &used); err != nil {
		return Key{}, nil, err
	}
	k.Role = access.Role(role)
	k.CreatedAt = db.Time(created)
	if used.Valid {
		t := db.Time(used.Int64)
		k.LastUsedAt = &t
	}
	return k, hash, nil
}
