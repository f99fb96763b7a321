// Command spacelift-launcher takes runs for a worker pool. The same file carries the
// worker that runs inside a run's container.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher"
	"github.com/spaceport-iac/spaceport/internal/launcher/program"
	"github.com/spaceport-iac/spaceport/internal/launcher/setting"
	"github.com/spaceport-iac/spaceport/internal/version"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitConfig = 2 // a setting, token, key or engine that cannot work
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if code, known := inside(args); known {
		return code
	}
	if len(args) > 0 {
		switch args[0] {
		case "policy":
			return policyCommand(args[1:])
		case "doctor":
			return doctorCommand(args[1:])
		case "version", "--version":
			fmt.Println(version.String())
			return exitOK
		case "help", "--help", "-h":
			fmt.Print(setting.Usage())
			return exitOK
		}
	}
	return runLauncher(args)
}

func runLauncher(args []string) int {
	// No child, and no command for a secret, and nobody who can read this process's environment, gets them.
	environ := os.Environ()
	scrubbed := launcher.Scrub(setting.Secrets()...)
	for _, name := range setting.Secrets() {
		_ = os.Unsetenv(name)
	}
	settings, warnings, err := setting.Parse(setting.Input{Args: args, Environ: environ, ReadFile: os.ReadFile})
	if err != nil {
		return explain(err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: settings.LogLevel}))
	if scrubbed != nil {
		log.Warn("token and key can still be read in this process's environment by its own user", "err", scrubbed)
	}
	for _, w := range warnings {
		log.Warn("a setting is not used", "setting", w)
	}
	binary, err := os.Executable()
	if err != nil {
		return explain(err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	defer signal.Stop(signals)
	err = launcher.Run(context.Background(), launcher.Options{
		Settings: settings, Log: log, Version: version.String(), Binary: binary, Programs: program.Contents(), Signals: signals,
	})
	return explain(err)
}

// explain prints one sentence for people and returns the exit code.
func explain(err error) int {
	if err == nil || errors.Is(err, context.Canceled) {
		return exitOK
	}
	fmt.Fprintln(os.Stderr, "spacelift-launcher:", err)
	if fault.As(err) != nil && !fault.Is(err, fault.Internal) {
		return exitConfig
	}
	return exitFailed
}
