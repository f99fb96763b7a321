package installation

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gocloud.dev/secrets"

	"github.com/gofrs/flock"

	"github.com/spaceport-iac/spaceport/internal/datadir"
	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/vault"
)

// Names in the data directory.
const (
	lockFile     = datadir.LockFile
	keyFile      = datadir.KeyFile
	databaseFile = datadir.Database
	objectsDir   = "objects"
)

// rowOrigin is the installation table's row with the installation's id.
const rowOrigin = "origin"

// Options are what an installation is opened with.
type Options struct {
	Now   func() time.Time
	NewID func() string // a new ULID
}

// Installation is an open data directory. The server holds it for its life.
type Installation struct {
	// Origin is the installation's id, made once: "spaceport-<ulid>". It is the
	// audience of registrations and stands in everything that is signed.
	Origin string
	Dir    string
	// Objects is the directory of the local object store.
	Objects string
	DB      *db.DB
	Vault   *vault.Keeper

	lock *flock.Flock
	root *secrets.Keeper
}

// Open takes the data directory for this process, makes what is missing, and
// brings the database up to date. A second server on it is refused with a fault
// (conflict.data_dir_in_use) that names directory and process.
func Open(ctx context.Context, dir string, o Options) (_ *Installation, err error) {
	if o.Now == nil || o.NewID == nil {
		return nil, errors.New("installation: Now and NewID are needed")
	}
	dir, err = prepareDir(dir)
	if err != nil {
		return nil, err
	}
	i := &Installation{Dir: dir, Objects: filepath.Join(dir, objectsDir)}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.Close())
		}
	}()
	if i.lock, err = lock(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(i.Objects, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make object directory: %w", err)
	}
	if err := i.open(ctx); err != nil {
		return nil, err
	}
	if i.Origin, err = Prepare(ctx, i.DB, o); err != nil {
		return nil, err
	}
	return i, nil
}

// OpenBeside opens a data directory without taking it, for commands beside a
// running server. It makes nothing: a directory in which no server has been is
// refused (not_found.data_dir). Origin is not set.
func OpenBeside(ctx context.Context, dir string) (_ *Installation, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find data directory: %w", err)
	}
	for _, name := range []string{databaseFile, keyFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return nil, fault.Wrap(err, fault.NotFound, "the directory %s is no server's data directory: it has no %s that can be read", dir, name).Named("data_dir").
				WithHint("name the server's with --data, as a user who may read it")
		}
	}
	i := &Installation{Dir: dir, Objects: filepath.Join(dir, objectsDir)}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.Close())
		}
	}()
	if err := i.open(ctx); err != nil {
		return nil, err
	}
	return i, nil
}

// open opens database and vault.
func (i *Installation) open(ctx context.Context) (err error) {
	if i.DB, err = db.Open(ctx, filepath.Join(i.Dir, databaseFile)); err != nil {
		return err
	}
	if i.root, err = openRoot(ctx, i.Dir, i.DB); err != nil {
		return err
	}
	if i.Vault, err = vault.Open(ctx, vault.Options{DB: i.DB, Root: i.root}); err != nil {
		return wrongKey(i.Dir, err)
	}
	return nil
}

// Close releases the directory.
func (i *Installation) Close() error {
	var errs []error
	if i.DB != nil {
		errs = append(errs, i.DB.Close())
	}
	if i.root != nil {
		errs = append(errs, i.root.Close())
	}
	if i.lock != nil {
		errs = append(errs, i.lock.Unlock())
	}
	return errors.Join(errs...)
}

// Exists reports whether dir has the database of a server, or of a key that was
// made before its first start.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, databaseFile))
	return err == nil
}

// OpenDatabase opens the database of a data directory without taking the
// directory, for commands beside a running server. The caller closes it.
func OpenDatabase(ctx context.Context, dir string) (*db.DB, error) {
	dir, err := prepareDir(dir)
	if err != nil {
		return nil, err
	}
	return db.Open(ctx, filepath.Join(dir, databaseFile))
}

// Prepare makes the rows that every installation has, the root space and the
// installation's id, unless they are there, and returns the id.
func Prepare(ctx context.Context, d *db.DB, o Options) (origin string, err error) {
	origin, err = readOrigin(ctx, d.Read())
	if err != nil || origin != "" {
		return origin, err
	}
	err = d.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO space (id, name, description, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING`,
			access.RootSpace, access.RootSpace, "The space that every installation has", db.Micros(o.Now()))
		if err != nil {
			return fmt.Errorf("make root space: %w", err)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`,
			rowOrigin, []byte("spaceport-"+o.NewID()))
		if err != nil {
			return fmt.Errorf("store origin: %w", err)
		}
		origin, err = readOrigin(ctx, tx)
		return err
	})
	return origin, err
}

func readOrigin(ctx context.Context, q db.Queryer) (string, error) {
	var value []byte
	err := q.QueryRowContext(ctx, `SELECT value FROM installation WHERE name = $1`, rowOrigin).Scan(&value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read origin: %w", err)
	}
	return string(value), nil
}
