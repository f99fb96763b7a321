package db_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

func TestAChangeIsSeenOnlyIfItsTransactionIsCommitted(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d, err := db.Open(ctx, filepath.Join(t.TempDir(), "a file ?with # odd%20name.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })

	insert := func(id string, then error) error {
		return d.Write(ctx, func(tx *db.Tx) error {
			tx.AfterCommit(func() {
				if then != nil {
					t.Error("AfterCommit ran for a transaction that was rolled back")
				}
			})
			if _, err := tx.ExecContext(ctx, `INSERT INTO space (id, name, created_at) VALUES ($1, $1, $2)`, id, 1); err != nil {
				return err
			}
			return then
		})
	}
	refused := errors.New("refused")
	if err := insert("kept", nil); err != nil {
		t.Fatal(err)
	}
	if err := insert("dropped", refused); !errors.Is(err, refused) {
		t.Fatalf("got %v, want the function's own error", err)
	}
	var names string
	if err := d.Read().QueryRowContext(ctx, `SELECT group_concat(id) FROM space`).Scan(&names); err != nil {
		t.Fatal(err)
	}
	if names != "kept" {
		t.Errorf("spaces are %q, want only the committed one", names)
	}
}

func TestAPanicLeavesTheDatabaseWritable(t *testing.T) {
	t.Parallel()
	d, err := db.Open(context.Background(), filepath.Join(t.TempDir(), "spaceport.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	func() {
		defer func() { _ = recover() }()
		_ = d.Write(context.Background(), func(*db.Tx) error { panic("a bug") })
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := d.Write(ctx, func(*db.Tx) error { return nil }); err != nil {
		t.Errorf("after a panic a transaction is answered %v", err)
	}
}
