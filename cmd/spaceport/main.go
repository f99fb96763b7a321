// Command spaceport is the mothership and the tools beside it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spaceport-iac/spaceport/internal/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command.Main(ctx, command.Process{
		Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	})
	stop()
	os.Exit(code)
}
