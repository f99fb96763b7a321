// Package dispatch is what the worker's program does with its arguments. See package
// program.
package dispatch

import (
	"context"
	"fmt"
	"os"

	"github.com/spaceport-iac/spaceport/internal/launcher/container/own"
	"github.com/spaceport-iac/spaceport/internal/launcher/container/supervise"
	"github.com/spaceport-iac/spaceport/internal/worker"
)

// Main is the worker's program. It returns an exit code, and false if the arguments
// name none of its subcommands. It must run in the process's first goroutine.
func Main(args []string) (code int, known bool) {
	if len(args) == 0 {
		return 0, false
	}
	switch args[0] {
	case "worker":
		return work(args[1:]), true
	case "supervise":
		return supervise.Main(args[1:]), true
	case "own":
		return own.Main(args[1:]), true
	}
	return 0, false
}

func work(args []string) int {
	switch {
	case len(args) == 2 && args[0] == "env-dump":
		return worker.EnvDump(args[1])
	case len(args) == 2 && args[0] == "--dir":
		return worker.Main(context.Background(), worker.Options{Dir: args[1]})
	}
	fmt.Fprintln(os.Stderr, "spacelift-launcher: worker is for the launcher to call")
	return 2
}
