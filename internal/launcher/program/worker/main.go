// Command worker is the worker's program, which the launcher carries.
package main

import (
	"fmt"
	"os"

	"github.com/spaceport-iac/spaceport/internal/launcher/program/dispatch"
)

func main() {
	code, known := dispatch.Main(os.Args[1:])
	if !known {
		fmt.Fprintln(os.Stderr, "the worker's program is for the launcher to call")
		code = 2
	}
	os.Exit(code)
}
