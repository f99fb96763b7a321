package authority

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

// Rows of the installation table. Certificates are public but kept the same way:
// binding them to their rows costs nothing and leaves no exception to explain.
const (
	rowRootKey  = "authority.root.key"
	rowRootCert = "authority.root.certificate"
	rowCAKey    = "authority.ca.key"
	rowCACert   = "authority.ca.certificate"
	rowJobKey   = "authority.job.key"
	rowSession  = "authority.session.key"
	rowBearer   = "authority.bearer.key"
	rowURL      = "authority.url.key"
)

func rows() []string {
	return []string{rowRootKey, rowRootCert, rowCAKey, rowCACert, rowJobKey, rowSession, rowBearer, rowURL}
}

// purpose binds a wrapped value to its row.
func purpose(row string) string { return "installation:" + row }

// load reads all material. If there is none, a set is made and stored as a whole;
// a set with holes is refused, since filling them would quietly make launchers
// distrust their own mothership.
func load(ctx context.Context, o Options) (map[string][]byte, error) {
	wrapped, err := read(ctx, o.DB.Read())
	if err != nil {
		return nil, err
	}
	if len(wrapped) == 0 {
		if wrapped, err = create(ctx, o); err != nil {
			return nil, err
		}
	}
	material := map[string][]byte{}
	for _, row := range rows() {
		value, ok := wrapped[row]
		if !ok {
			return nil, fmt.Errorf("the database lacks %s, though it has other keys of the authority", row)
		}
		if material[row], err = o.Vault.Unwrap(ctx, purpose(row), value); err != nil {
			return nil, err
		}
	}
	return material, nil
}

func create(ctx context.Context, o Options) (map[string][]byte, error) {
	material, err := generate(o)
	if err != nil {
		return nil, fmt.Errorf("make the installation's keys: %w", err)
	}
	candidate := map[string][]byte{}
	for row, value := range material {
		if candidate[row], err = o.Vault.Wrap(ctx, purpose(row), value); err != nil {
			return nil, err
		}
	}
	var stored map[string][]byte
	err = o.DB.Write(ctx, func(tx *db.Tx) error {
		// Another process may have been quicker; then its set counts.
		if stored, err = read(ctx, tx); err != nil || len(stored) > 0 {
			return err
		}
		for row, value := range candidate {
			if _, err := tx.ExecContext(ctx, `INSERT INTO installation (name, value) VALUES ($1, $2)`, row, value); err != nil {
				return fmt.Errorf("store %s: %w", row, err)
			}
		}
		stored = candidate
		return nil
	})
	return stored, err
}

func generate(o Options) (map[string][]byte, error) {
	root, rootDER, err := newECKey()
	if err != nil {
		return nil, err
	}
	ca, caDER, err := newECKey()
	if err != nil {
		return nil, err
	}
	rootCert, err := rootCertificate(root, o.Origin, o.Now())
	if err != nil {
		return nil, err
	}
	caCert, err := caCertificate(root, rootCert, &ca.PublicKey, o.Origin, o.Now())
	if err != nil {
		return nil, err
	}
	material := map[string][]byte{
		rowRootKey: rootDER, rowRootCert: rootCert.Raw, rowCAKey: caDER, rowCACert: caCert.Raw,
	}
	for _, row := range []string{rowJobKey, rowSession, rowBearer, rowURL} {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails: the runtime ends the program first
		material[row] = key
	}
	return material, nil
}

func read(ctx context.Context, q db.Queryer) (map[string][]byte, error) {
	found := map[string][]byte{}
	for _, row := range rows() {
		var value []byte
		err := q.QueryRowContext(ctx, `SELECT value FROM installation WHERE name = $1`, row).Scan(&value)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", row, err)
		}
		found[row] = value
	}
	return found, nil
}
