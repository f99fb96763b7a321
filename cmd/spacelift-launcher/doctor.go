package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/spaceport-iac/spaceport/internal/launcher"
	"github.com/spaceport-iac/spaceport/internal/launcher/doctor"
	"github.com/spaceport-iac/spaceport/internal/launcher/setting"
	"github.com/spaceport-iac/spaceport/internal/version"
)

const doctorUsage = `usage: spacelift-launcher doctor [--json] [--name value ...]

Looks at all that a launcher with these settings needs: token, key and certificate,
disk, container engine, mothership and broker, and says what to do about what is
wrong. It registers nothing.
Exit code 0: a launcher can take runs; 1: it cannot; 2: a setting cannot be used.
`

// doctorCommand looks at what a launcher with these settings needs.
func doctorCommand(args []string) int {
	if wantsHelp(args) {
		fmt.Print(doctorUsage)
		return exitOK
	}
	asJSON := slices.Contains(args, "--json")
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--json" })
	environ := os.Environ()
	_ = launcher.Scrub(setting.Secrets()...) // a short life; the launcher itself warns
	for _, name := range setting.Secrets() {
		_ = os.Unsetenv(name)
	}
	settings, warnings, err := setting.Parse(setting.Input{Args: args, Environ: environ, ReadFile: os.ReadFile})
	if err != nil {
		return explain(err)
	}
	findings := []doctor.Finding{}
	for _, w := range warnings {
		findings = append(findings, doctor.Finding{Check: "settings", Status: doctor.Warn, Message: w})
	}
	findings = append(findings, doctor.Examine(context.Background(), doctor.Options{
		Settings: settings, Log: slog.New(slog.DiscardHandler), Version: version.String(), Now: time.Now,
	})...)
	well := !slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.Status == doctor.Fail })
	if asJSON {
		out := json.NewEncoder(os.Stdout)
		out.SetEscapeHTML(false)
		out.SetIndent("", "  ")
		if err := out.Encode(map[string]any{"ok": well, "findings": findings}); err != nil {
			return explain(err)
		}
	} else {
		for _, f := range findings {
			fmt.Printf("%-8s %s: %s\n", f.Status, f.Check, f.Message)
			if f.Fix != "" {
				fmt.Printf("         %s\n", f.Fix)
			}
		}
	}
	if !well {
		return exitFailed
	}
	return exitOK
}
