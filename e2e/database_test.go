//go:build e2e || bench

package e2e

import (
	"database/sql"
	"path/filepath"

	_ "modernc.org/sqlite"
)

// openDatabase opens the mothership's database file read-only, as somebody
// would who got hold of it.
func (w *world) openDatabase() *sql.DB {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.data(), "*.db"))
	if err != nil || len(files) != 1 {
		w.t.Fatalf("database files in %s: %v, %v", w.data(), files, err)
	}
	d, err := sql.Open("sqlite", "file:"+files[0]+"?_pragma=busy_timeout(5000)")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = d.Close() })
	return d
}
