package vcs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/audit"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

// keeper keeps values at rest; *vault.Keeper is one.
type keeper interface {
	Wrap(ctx context.Context, purpose string, plaintext []byte) ([]byte, error)
	Unwrap(ctx context.Context, purpose string, ciphertext []byte) ([]byte, error)
}

// Options are what a Service works with. All are needed.
type Options struct {
	DB    *db.DB
	Auth  access.Authorizer
	Audit *audit.Writer
	Vault keeper
	Now   func() time.Time
	NewID func() string // a new ULID
}

// Service answers and changes integrations. It is safe for concurrent use.
type Service struct{ o Options }

// New returns the service, or an error if an option is missing.
func New(o Options) (*Service, error) {
	if o.DB == nil || o.Audit == nil || o.Vault == nil || o.Now == nil || o.NewID == nil {
		return nil, errors.New("vcs: an option is missing")
	}
	return &Service{o: o}, nil
}

// stored is a secret as it is wrapped.
type stored struct {
	Token  string `json:"token,omitempty"`
	SSHKey string `json:"ssh_key,omitempty"`
}

// purpose binds a wrapped secret to its row.
func purpose(ulid string) string { return "vcs_integration.secret:" + ulid }

func (s *Service) wrap(ctx context.Context, ulid string, secret Secret) ([]byte, error) {
	plain, err := json.Marshal(stored{Token: secret.Token, SSHKey: secret.SSHKey})
	if err != nil {
		return nil, fmt.Errorf("encode secret: %w", err)
	}
	return s.o.Vault.Wrap(ctx, purpose(ulid), plain)
}

// Create makes an integration. Faults: invalid.vcs_*, conflict.vcs_*.
func (s *Service) Create(ctx context.Context, in Input) (Integration, error) {
	if in.Space == "" {
		in.Space = access.RootSpace
	}
	if err := s.o.Auth.Require(ctx, access.VCSIntegrationCreate, in.Space); err != nil {
		return Integration{}, err
	}
	if len(in.Name) > maxText || !nameForm.MatchString(in.Name) {
		return Integration{}, invalid("name", "%q cannot be the name of an integration", in.Name).
			WithHint("use lower-case letters and digits with single dashes between them")
	}
	at, err := host(in.Host, in.SSHKey != "")
	if err != nil {
		return Integration{}, err
	}
	public, err := in.clean()
	if err != nil {
		return Integration{}, err
	}
	if err := errors.Join(checkLabels(in.Labels), checkDescription(in.Description)); err != nil {
		return Integration{}, err
	}
	now := s.o.Now().Truncate(time.Microsecond)
	i := Integration{
		ID: in.Name, ULID: s.o.NewID(), Space: in.Space, Host: at, Username: in.Username, PublicKey: public, Default: in.Default,
		Labels: in.Labels, Description: in.Description, CreatedAt: now, UpdatedAt: now,
	}
	if in.KnownHosts != nil {
		i.KnownHosts = *in.KnownHosts
	}
	secret, err := s.wrap(ctx, i.ULID, in.Secret)
	if err != nil {
		return Integration{}, err
	}
	err = s.o.DB.Write(ctx, func(tx *db.Tx) error {
		var space, taken bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM space WHERE id = $1), EXISTS (SELECT 1 FROM vcs_integration WHERE id = $2)`, i.Space, i.ID).
			Scan(&space, &taken); err != nil {
			return fmt.Errorf("look for integration: %w", err)
		}
		if !space {
			return invalid("space", "there is no space %q", i.Space)
		}
		if taken {
			return fault.New(fault.Conflict, "there is already a VCS integration %q", i.ID).Named("vcs_name").WithHint("change that one, or choose another name")
		}
		if err := onlyDefault(ctx, tx, i); err != nil {
			return err
		}
		if err := insert(ctx, tx, i, secret); err != nil {
			return err
		}
		return s.o.Audit.Record(ctx, tx, access.VCSIntegrationCreate, i.ULID, i.Space, map[string]string{"id": i.ID, "host": i.Host})
	})
	if err != nil {
		return Integration{}, err
	}
	return i, nil
}

// onlyDefault refuses a second default for a host in a space.
func onlyDefault(ctx context.Context, tx *db.Tx, i Integration) error {
	if !i.Default {
		return nil
	}
	var other string
	err := tx.QueryRowContext(ctx, `SELECT id FROM vcs_integration WHERE space = $1 AND host = $2 AND is_default AND id <> $3`, i.Space, i.Host, i.ID).Scan(&other)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for default integration: %w", err)
	}
	return fault.New(fault.Conflict, "VCS integration %q is the default for %s already", other, i.Host).Named("vcs_default").WithHint("change that one first")
}

// Update changes an integration. Faults: as Create's, and not_found.
func (s *Service) Update(ctx context.Context, c Change) (Integration, error) {
	if err := s.o.Auth.RequireAnywhere(ctx, access.VCSIntegrationUpdate); err != nil {
		return Integration{}, err
	}
	var i Integration
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		var secret []byte
		var err error
		if i, secret, err = find(ctx, tx, c.ID); err != nil {
			return err
		}
		if err := s.o.Auth.Require(ctx, access.VCSIntegrationUpdate, i.Space); err != nil {
			return err
		}
		if c.Space != "" && c.Space != i.Space {
			return fault.New(fault.Unsupported, "VCS integration %q is in space %q and does not move", i.ID, i.Space).Named("vcs_space").WithHint("make a new one")
		}
		renewed, err := s.apply(ctx, &i, &secret, c)
		if err != nil {
			return err
		}
		if err := onlyDefault(ctx, tx, i); err != nil {
			return err
		}
		i.UpdatedAt = s.o.Now().Truncate(time.Microsecond)
		if err := update(ctx, tx, i, secret); err != nil {
			return err
		}
		return s.o.Audit.Record(ctx, tx, access.VCSIntegrationUpdate, i.ULID, i.Space, map[string]string{"id": i.ID, "secret": strconv.FormatBool(renewed)})
	})
	if err != nil {
		return Integration{}, err
	}
	return i, nil
}

// apply puts a change into an integration and its wrapped secret, and tells whether
// that is another one now. A secret stays of its kind: a host for https is none for
// ssh.
func (s *Service) apply(ctx context.Context, i *Integration, wrapped *[]byte, c Change) (renewed bool, err error) {
	if c.Labels != nil {
		i.Labels = c.Labels
	}
	if c.Description != nil {
		i.Description = *c.Description
	}
	if c.Default != nil {
		i.Default = *c.Default
	}
	if err := errors.Join(checkLabels(i.Labels), checkDescription(i.Description)); err != nil {
		return false, err
	}
	if (c.Secret.Token != "" && i.PublicKey != "") || (c.Secret.SSHKey != "" && i.PublicKey == "") {
		return false, invalid("secret", "VCS integration %q has a secret of another kind", i.ID).WithHint("make a new integration")
	}
	secret := c.Secret
	if secret.Token == "" && secret.SSHKey == "" {
		plain, err := s.o.Vault.Unwrap(ctx, purpose(i.ULID), *wrapped)
		if err != nil {
			return false, err
		}
		var old stored
		if err := json.Unmarshal(plain, &old); err != nil {
			return false, fmt.Errorf("read secret of integration %s: damaged", i.ID)
		}
		secret.Token, secret.SSHKey = old.Token, old.SSHKey
	} else {
		renewed = true
	}
	if secret.Username == "" {
		secret.Username = i.Username
	}
	public, err := secret.clean()
	if err != nil {
		return false, err
	}
	i.Username, i.PublicKey = secret.Username, public
	if secret.KnownHosts != nil {
		i.KnownHosts = *secret.KnownHosts
	}
	*wrapped, err = s.wrap(ctx, i.ULID, secret)
	return renewed, err
}

// Delete removes an integration and its secret. It is refused while a stack names
// it. Faults: not_found, conflict.vcs_used.
func (s *Service) Delete(ctx context.Context, id string) (Integration, error) {
	if err := s.o.Auth.RequireAnywhere(ctx, access.VCSIntegrationDelete); err != nil {
		return Integration{}, err
	}
	var i Integration
	err := s.o.DB.Write(ctx, func(tx *db.Tx) error {
		var err error
		if i, _, err = find(ctx, tx, id); err != nil {
			return err
		}
		if err := s.o.Auth.Require(ctx, access.VCSIntegrationDelete, i.Space); err != nil {
			return err
		}
		slug, err := namedBy(ctx, tx, i)
		if err != nil {
			return err
		}
		if slug != "" {
			return fault.New(fault.Conflict, "VCS integration %q cannot be deleted while stack %q names it", i.ID, slug).Named("vcs_used").
				WithHint("give the stack another one, or none")
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM vcs_integration WHERE id = $1`, i.ID); err != nil {
			return fmt.Errorf("delete integration: %w", err)
		}
		return s.o.Audit.Record(ctx, tx, access.VCSIntegrationDelete, i.ULID, i.Space, map[string]string{"id": i.ID})
	})
	if err != nil {
		return Integration{}, err
	}
	return i, nil
}

// Get returns an integration.
func (s *Service) Get(ctx context.Context, id string) (Integration, error) {
	if err := s.o.Auth.RequireAnywhere(ctx, access.VCSIntegrationRead); err != nil {
		return Integration{}, err
	}
	i, _, err := find(ctx, s.o.DB.Read(), id)
	if err != nil {
		return Integration{}, err
	}
	return i, s.o.Auth.Require(ctx, access.VCSIntegrationRead, i.Space)
}

// List returns the integrations that the caller may read, by name.
func (s *Service) List(ctx context.Context) ([]Integration, error) {
	if err := s.o.Auth.RequireAnywhere(ctx, access.VCSIntegrationRead); err != nil {
		return nil, err
	}
	all, err := list(ctx, s.o.DB.Read())
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(i Integration) bool { return !s.o.Auth.Allowed(ctx, access.VCSIntegrationRead, i.Space) }), nil
}
