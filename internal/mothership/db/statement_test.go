package db_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

func TestAStatementIsGoodAgainWhateverBecameOfItBefore(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d, err := db.Open(ctx, filepath.Join(t.TempDir(), "spaceport.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	insert := func(ctx context.Context, id string) error {
		return d.Write(ctx, func(tx *db.Tx) error {
			if _, err := tx.ExecContext(ctx, `INSERT INTO space (id, name, created_at) VALUES ($1, $1, $2)`, id, 1); err != nil {
				return err
			}
			var name string
			return tx.QueryRowContext(ctx, `SELECT name FROM space WHERE id = $1`, id).Scan(&name)
		})
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	for i, c := range []struct {
		ctx  context.Context
		id   string
		good bool
	}{{ctx, "a", true}, {ctx, "b", true}, {ctx, "a", false}, {ctx, "c", true}, {canceled, "d", false}, {ctx, "d", true}, {ctx, "d", false}, {ctx, "e", true}} {
		if err := insert(c.ctx, c.id); (err == nil) != c.good {
			t.Errorf("insert %d of %q is answered %v", i, c.id, err)
		}
	}
	ids := func(q db.Queryer) string {
		rows, err := q.QueryContext(ctx, `SELECT id FROM space WHERE id < $1 ORDER BY id`, "z")
		all, err := db.Collect(rows, err, func(r *sql.Rows) (id string, err error) { return id, r.Scan(&id) })
		if err != nil {
			t.Error(err)
		}
		return fmt.Sprint(all)
	}
	var readers sync.WaitGroup
	for range 16 { // more than there are connections
		readers.Go(func() {
			for range 20 {
				if got := ids(d.Read()); got != "[a b c d e]" {
					t.Errorf("the spaces are %s", got)
					return
				}
			}
		})
	}
	readers.Wait()
	for _, c := range []struct{ add, want string }{{"f", "[a b c d e f]"}, {"g", "[a b c d e f g]"}} {
		if err := insert(ctx, c.add); err != nil {
			t.Fatal(err)
		}
		if got := ids(d.Read()); got != c.want {
			t.Errorf("after a change the spaces are %s, want %s: an old look was kept", got, c.want)
		}
	}
	if err := d.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `ALTER TABLE space ADD COLUMN extra TEXT`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := insert(ctx, "h"); err != nil {
		t.Errorf("after a change of the schema: %v", err)
	}
	rows, err := d.Read().QueryContext(ctx, `SELECT nothing FROM nowhere`)
	if err == nil {
		defer rows.Close()
		t.Error("a statement that is none is taken", rows.Err())
	}
}
