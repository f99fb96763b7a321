// Command spacelift-launcher takes runs for a worker pool. The same file is the
// worker inside a run's container, and the supervisor of one that is a process.
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
	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/policy"
	"github.com/spaceport-iac/spaceport/internal/launcher/policy/evaluator"
	"github.com/spaceport-iac/spaceport/internal/launcher/setting"
	"github.com/spaceport-iac/spaceport/internal/version"
	"github.com/spaceport-iac/spaceport/internal/worker"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitConfig = 2 // a setting, token, key or engine that cannot work
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "worker":
			return runWorker(args[1:])
		case "supervise":
			return container.SuperviseMain(args[1:])
		case policy.EvaluatorCommand:
			return evaluator.Main()
		case "policy":
			return policyCommand(args[1:])
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

func runWorker(args []string) int {
	switch {
	case len(args) == 2 && args[0] == "env-dump":
		return worker.EnvDump(args[1])
	case len(args) == 2 && args[0] == "--dir":
		return worker.Main(context.Background(), worker.Options{Dir: args[1]})
	}
	fmt.Fprintln(os.Stderr, "spacelift-launcher: worker is for the launcher to call")
	return exitConfig
}

func runLauncher(args []string) int {
	// No child, and nobody who can read this process's environment, gets them.
	environ := os.Environ()
	scrubbed := launcher.Scrub(setting.EnvToken, setting.EnvKey)
	for _, name := range []string{setting.EnvToken, setting.EnvKey} {
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
		Settings: settings, Log: log, Version: version.String(), Binary: binary, Signals: signals,
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
