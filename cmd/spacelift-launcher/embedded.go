//go:build embedded

package main

import (
	"fmt"
	"os"

	"github.com/spaceport-iac/spaceport/internal/launcher/policy"
)

// inside refuses what only the programs know that this binary carries: see package
// program.
func inside(args []string) (code int, known bool) {
	if len(args) == 0 {
		return 0, false
	}
	switch args[0] {
	case "worker", "supervise", "own", policy.EvaluatorCommand:
		fmt.Fprintf(os.Stderr, "spacelift-launcher: %s is for the launcher to call\n", args[0])
		return exitConfig, true
	}
	return 0, false
}
