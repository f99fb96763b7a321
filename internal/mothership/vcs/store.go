package vcs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

const columns = `id, ulid, space, host, username, secret, public_key, known_hosts, is_default, labels, description, created_at, updated_at`

func scan(into func(...any) error) (Integration, []byte, error) {
	var i Integration
	var secret []byte
	var labels string
	var created, updated int64
	err := into(&i.ID, &i.ULID, &i.Space, &i.Host, &i.Username, &secret, &i.PublicKey, &i.KnownHosts, &i.Default, &labels, &i.Description, &created, &updated)
	if err != nil {
		return Integration{}, nil, err
	}
	if err := json.Unmarshal([]byte(labels), &i.Labels); err != nil {
		return Integration{}, nil, fmt.Errorf("read labels of integration %s: %w", i.ID, err)
	}
	i.CreatedAt, i.UpdatedAt = db.Time(created), db.Time(updated)
	return i, secret, nil
}

func find(ctx context.Context, q db.Queryer, id string) (Integration, []byte, error) {
	i, secret, err := scan(q.QueryRowContext(ctx, `SELECT `+columns+` FROM vcs_integration WHERE id = $1`, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return i, nil, fault.New(fault.NotFound, "there is no VCS integration %q", id)
	}
	if err != nil {
		return i, nil, fmt.Errorf("read integration %s: %w", id, err)
	}
	return i, secret, nil
}

func list(ctx context.Context, q db.Queryer) ([]Integration, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+columns+` FROM vcs_integration ORDER BY id`)
	all, err := db.Collect(rows, err, func(r *sql.Rows) (Integration, error) {
		i, _, err := scan(r.Scan)
		return i, err
	})
	if err != nil {
		return nil, fmt.Errorf("list integrations: %w", err)
	}
	return all, nil
}

func insert(ctx context.Context, tx *db.Tx, i Integration, secret []byte) error {
	labels, err := labelsText(i)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO vcs_integration (`+columns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		i.ID, i.ULID, i.Space, i.Host, i.Username, secret, i.PublicKey, i.KnownHosts, i.Default, labels, i.Description, db.Micros(i.CreatedAt), db.Micros(i.UpdatedAt))
	if err != nil {
		return fmt.Errorf("store integration: %w", err)
	}
	return nil
}

func update(ctx context.Context, tx *db.Tx, i Integration, secret []byte) error {
	labels, err := labelsText(i)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE vcs_integration SET username = $1, secret = $2, public_key = $3, known_hosts = $4, is_default = $5, labels = $6,
		description = $7, updated_at = $8 WHERE id = $9`,
		i.Username, secret, i.PublicKey, i.KnownHosts, i.Default, labels, i.Description, db.Micros(i.UpdatedAt), i.ID)
	if err != nil {
		return fmt.Errorf("update integration: %w", err)
	}
	return nil
}

func labelsText(i Integration) (string, error) {
	if i.Labels == nil {
		return "[]", nil
	}
	text, err := json.Marshal(i.Labels)
	return string(text), err
}

// namedBy returns the slug of a stack that names the integration, or "".
func namedBy(ctx context.Context, tx *db.Tx, i Integration) (string, error) {
	rows, err := tx.QueryContext(ctx, `SELECT slug, settings FROM stack WHERE space = $1 AND deleted_at IS NULL ORDER BY slug`, i.Space)
	slugs, err := db.Collect(rows, err, func(r *sql.Rows) (string, error) {
		var slug, settings string
		var names struct {
			Integration string `json:"vcs_integration"`
		}
		if err := r.Scan(&slug, &settings); err != nil {
			return "", err
		}
		err := json.Unmarshal([]byte(settings), &names)
		if names.Integration != i.ID {
			slug = ""
		}
		return slug, err
	})
	if err != nil {
		return "", fmt.Errorf("look for stacks of integration %s: %w", i.ID, err)
	}
	for _, slug := range slugs {
		if slug != "" {
			return slug, nil
		}
	}
	return "", nil
}

// ForStack returns the integration that a stack's repository is opened by, or nil:
// the one that is named, else the default for its host. One for another host than
// the repository's is none. The caller has found the stack, and so may read it.
func (s *Service) ForStack(ctx context.Context, st stack.Stack) (*Integration, error) {
	i, _, err := forStack(ctx, s.o.DB.Read(), st)
	return i, err
}

func forStack(ctx context.Context, q db.Queryer, st stack.Stack) (*Integration, []byte, error) {
	named := st.Settings.VCSIntegration
	scheme, at := wire.RepositoryHost(st.Settings.CloneURL())
	if at == "" {
		return nil, nil, nil
	}
	query, args := `SELECT `+columns+` FROM vcs_integration WHERE space = $1 AND host = $2 AND is_default`, []any{st.Space, at}
	if named != "" {
		query, args = `SELECT `+columns+` FROM vcs_integration WHERE space = $1 AND host = $2 AND id = $3`, append(args, named)
	}
	i, secret, err := scan(q.QueryRowContext(ctx, query, args...).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read integration of a stack: %w", err)
	}
	if scheme != wire.PrivateScheme && (scheme == "ssh") != (i.PublicKey != "") {
		return nil, nil, nil
	}
	return &i, secret, nil
}

// Credential opens the secret of the integration that a stack's repository is opened by,
// for a run's job; nil if there is none. It asks for no permission: a transport
// must never call it.
func (s *Service) Credential(ctx context.Context, q db.Queryer, st stack.Stack) (*wire.SourceCredential, error) {
	i, wrapped, err := forStack(ctx, q, st)
	if err != nil || i == nil {
		return nil, err
	}
	plain, err := s.o.Vault.Unwrap(ctx, purpose(i.ULID), wrapped)
	if err != nil {
		return nil, err
	}
	var secret stored
	if err := json.Unmarshal(plain, &secret); err != nil {
		return nil, fmt.Errorf("read secret of integration %s: damaged", i.ID)
	}
	return &wire.SourceCredential{
		ID: i.ULID, Host: i.Host, Username: i.Username, Token: secret.Token, SSHKey: secret.SSHKey, KnownHosts: i.KnownHosts,
	}, nil
}
