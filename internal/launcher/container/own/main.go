package own

import (
	"context"
	"fmt"
	"os"
	"strconv"
)

// Operations of Main.
const (
	OpChown = "chown"
	OpEmpty = "empty"
)

// Main is what a helper container runs: the subcommand "own" of the
// worker's binary, used by package container alone. Its arguments are an operation,
// a uid, a gid and a directory; the result is the exit code.
func Main(args []string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if len(args) != 4 {
		return fail(fmt.Errorf("spacelift-launcher: own is for the launcher to call"))
	}
	uid, err := strconv.Atoi(args[1])
	if err != nil {
		return fail(err)
	}
	gid, err := strconv.Atoi(args[2])
	if err != nil {
		return fail(err)
	}
	switch args[0] {
	case OpChown:
		err = Chown(context.Background(), args[3], uid, gid)
	case OpEmpty:
		err = Empty(context.Background(), args[3])
	default:
		err = fmt.Errorf("unknown operation %q", args[0])
	}
	if err != nil {
		return fail(err)
	}
	return 0
}
