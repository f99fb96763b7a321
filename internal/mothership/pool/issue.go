package pool

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/seal"
)

// issued is a pool certificate and the token made from it.
type issued struct {
	certificate *x509.Certificate
	key         string // fingerprint of the public key
	token       string
	wrapped     []byte
}

// tokenPurpose binds a wrapped token to its row.
func tokenPurpose(pool string) string { return "pool.token:" + pool }

// issue certifies the public key of a signing request and makes a token.
func (s *Service) issue(ctx context.Context, csr *seal.CSR, pool string, epoch int64) (issued, error) {
	cert, err := s.o.Authority.PoolCertificate(csr.Public, pool, epoch)
	if err != nil {
		return issued{}, fmt.Errorf("issue certificate of pool %s: %w", pool, err)
	}
	token, err := seal.NewToken(seal.Token{
		Origin:      s.o.Origin,
		Pool:        pool,
		Broker:      seal.Endpoint{Endpoint: s.o.Endpoints.Broker},
		API:         seal.Endpoint{Endpoint: s.o.Endpoints.API},
		Certificate: certificatePEM(cert),
		Roots:       s.o.Authority.Roots(),
	})
	if err != nil {
		return issued{}, fmt.Errorf("make token of pool %s: %w", pool, err)
	}
	i := issued{certificate: cert, key: csr.Fingerprint, token: token.Encode()}
	i.wrapped, err = s.o.Vault.Wrap(ctx, tokenPurpose(pool), []byte(i.token))
	return i, err
}

func certificatePEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func (i issued) store(ctx context.Context, tx *db.Tx, p Pool) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO pool_certificate (fingerprint, pool, key, pem, epoch, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		seal.Digest(i.certificate.Raw), p.ID, i.key, certificatePEM(i.certificate), p.Epoch, db.Micros(p.UpdatedAt))
	if err != nil {
		return fmt.Errorf("store certificate of pool %s: %w", p.ID, err)
	}
	return nil
}

// Create makes a pool from a signing request. The answer has the token.
func (s *Service) Create(ctx context.Context, in Input) (Pool, error) {
	if in.Space == "" {
		in.Space = access.RootSpace
	}
	if err := s.o.Auth.Require(ctx, access.PoolCreate, in.Space); err != nil {
		return Pool{}, err
	}
	if err := in.clean(); err != nil {
		return Pool{}, err
	}
	csr, err := seal.ParseCSR(in.CSR)
	if err != nil {
		return Pool{}, err
	}
	now := s.stamp()
	p := Pool{
		ID: s.o.NewID(), Name: in.Name, Description: in.Description, Space: in.Space, Labels: in.Labels,
		DriftLimit: in.DriftLimit, Epoch: 1, CreatedAt: now, UpdatedAt: now,
	}
	made, err := s.issue(ctx, csr, p.ID, p.Epoch)
	if err != nil {
		return Pool{}, err
	}
	labels, err := json.Marshal(p.Labels)
	if err != nil {
		return Pool{}, fmt.Errorf("encode labels: %w", err)
	}
	err = s.o.DB.Write(ctx, func(tx *db.Tx) error {
		if err := in.checkPlace(ctx, tx, p.ID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO pool (id, name, description, space, labels, drift_limit, epoch, token, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)`,
			p.ID, p.Name, p.Description, p.Space, string(labels), p.DriftLimit, p.Epoch, made.wrapped, db.Micros(now))
		if err != nil {
			return fmt.Errorf("store pool: %w", err)
		}
		if err := made.store(ctx, tx, p); err != nil {
			return err
		}
		return s.record(ctx, tx, access.PoolCreate, p, EventPoolChanged)
	})
	if err != nil {
		return Pool{}, err
	}
	p.Token = made.token
	return p, nil
}

// Reset gives the pool a new certificate, epoch and token. All registrations end
// at once; running attempts keep their own bearers until they end.
func (s *Service) Reset(ctx context.Context, id, csr string) (Pool, error) {
	p, err := s.locate(ctx, s.o.DB.Read(), access.PoolReset, id)
	if err != nil {
		return Pool{}, err
	}
	request, err := seal.ParseCSR(csr)
	if err != nil {
		return Pool{}, err
	}
	var token string
	err = s.o.DB.Write(ctx, func(tx *db.Tx) error {
		// The epoch is read where it is raised. Issuing within the transaction
		// is arithmetic alone, and resets are rare.
		if p, err = s.locate(ctx, tx, access.PoolReset, id); err != nil {
			return err
		}
		p.Epoch++
		p.UpdatedAt = s.stamp()
		made, err := s.issue(ctx, request, id, p.Epoch)
		if err != nil {
			return err
		}
		token = made.token
		now := db.Micros(p.UpdatedAt)
		if _, err := tx.ExecContext(ctx, `UPDATE pool SET epoch = $1, token = $2, updated_at = $3 WHERE id = $4`, p.Epoch, made.wrapped, now, id); err != nil {
			return fmt.Errorf("reset pool: %w", err)
		}
		for _, change := range []string{
			`UPDATE pool_certificate SET revoked_at = $1 WHERE pool = $2 AND revoked_at IS NULL`,
			// Gone and not available: the queue gives them nothing any more.
			`UPDATE worker SET gone_at = $1, available_at = NULL WHERE pool = $2 AND gone_at IS NULL`,
		} {
			if _, err := tx.ExecContext(ctx, change, now, id); err != nil {
				return fmt.Errorf("reset pool: %w", err)
			}
		}
		if err := made.store(ctx, tx, p); err != nil {
			return err
		}
		tx.AfterCommit(func() { s.cutOff(id) })
		return s.record(ctx, tx, access.PoolReset, p, EventPoolReset)
	})
	if err != nil {
		return Pool{}, err
	}
	if p, err = s.counted(ctx, p); err != nil {
		return Pool{}, err
	}
	p.Token = token
	return p, nil
}

// Token returns the pool's token byte for byte as it was issued, and "" for a
// caller who may read the pool but not update it.
func (s *Service) Token(ctx context.Context, id string) (string, error) {
	p, err := s.locate(ctx, s.o.DB.Read(), access.PoolRead, id)
	if err != nil {
		return "", err
	}
	if !s.o.Auth.Allowed(ctx, access.PoolUpdate, p.Space) {
		return "", nil
	}
	var wrapped []byte
	if err := s.o.DB.Read().QueryRowContext(ctx, `SELECT token FROM pool WHERE id = $1`, id).Scan(&wrapped); err != nil {
		return "", fmt.Errorf("read token of pool %s: %w", id, err)
	}
	token, err := s.o.Vault.Unwrap(ctx, tokenPurpose(id), wrapped)
	if err != nil {
		return "", err
	}
	return string(token), nil
}
