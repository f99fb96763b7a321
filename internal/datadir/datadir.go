// Package datadir tells a directory that is ours to close to others from one that
// somebody named by mistake, such as a home directory or /tmp.
package datadir

import (
	"fmt"
	"os"
	"slices"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Marks of a directory that a server, or a command beside it, has worked on.
const (
	Database = "spaceport.db"
	KeyFile  = "root.key"
	LockFile = "server.lock"
)

// empty are the names that a directory nobody has used yet may have: a fresh file
// system's.
var empty = []string{"lost+found"}

// RefuseForeign fails with invalid.data_dir when dir has something in it and none of
// marks, names of files that we make early. A dir that does not exist is fine.
func RefuseForeign(dir string, marks ...string) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "the data directory %s cannot be read", dir).Named("data_dir").
			WithHint("give a directory that belongs to this user")
	}
	found := ""
	for _, e := range entries {
		if slices.Contains(marks, e.Name()) {
			return nil
		}
		if found == "" && !slices.Contains(empty, e.Name()) {
			found = e.Name()
		}
	}
	if found == "" {
		return nil
	}
	return fault.New(fault.Invalid, "the directory %s has other things in it, %s for one, and a data directory is closed to other users", dir, fmt.Sprintf("%.80q", found)).
		Named("data_dir").WithHint("give an empty directory, or one that does not exist yet")
}
