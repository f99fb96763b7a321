//go:build embedded

package program

import (
	"embed"
	"io/fs"
)

//go:embed bin/worker bin/evaluator
var embedded embed.FS

// Files holds the programs by their names; nil if this binary was built without
// them. What is not read takes no memory.
func Files() fs.FS {
	files, err := fs.Sub(embedded, "bin")
	if err != nil {
		panic(err) // the name above is valid
	}
	return files
}
