package audit_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/audit"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

func TestARowStandsOrFallsWithItsChange(t *testing.T) {
	t.Parallel()
	d, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	ids := 0
	w, err := audit.New(audit.Options{Now: func() time.Time { return time.Unix(1, 0) }, NewID: func() string { ids++; return string(rune('A' + ids)) }})
	if err != nil {
		t.Fatal(err)
	}
	record := func(ctx context.Context, subject string, then error) error {
		return d.Write(ctx, func(tx *db.Tx) error {
			if err := w.Record(ctx, tx, access.StackUpdate, subject, "root", map[string]string{"k": "v"}); err != nil {
				return err
			}
			return then
		})
	}
	someone := access.With(context.Background(), access.Principal{Kind: access.KindAPIKey, ID: "K", Remote: "192.0.2.7"})
	undone := errors.New("undone")
	if err := record(someone, "kept", nil); err != nil {
		t.Fatal(err)
	}
	if err := record(someone, "undone", undone); !errors.Is(err, undone) {
		t.Fatal(err)
	}
	if err := record(context.Background(), "by nobody", nil); err != nil {
		t.Fatal(err)
	}
	var rows string
	err = d.Read().QueryRowContext(context.Background(), `SELECT group_concat(at || '|' || actor || '|' || action || '|' || subject || '|' || space || '|' || remote || '|' || data, ' ; ' ORDER BY id) FROM audit`).Scan(&rows)
	want := `1000000|api::K|stack:update|kept|root|192.0.2.7|{"k":"v"} ; 1000000|nobody|stack:update|by nobody|root||{"k":"v"}`
	if err != nil || rows != want {
		t.Errorf("got %s, %v", rows, err)
	}
}
