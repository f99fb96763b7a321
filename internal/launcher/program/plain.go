//go:build !embedded

package program

import "io/fs"

// Files holds the programs by their names; nil if this binary was built without
// them.
func Files() fs.FS { return nil }
