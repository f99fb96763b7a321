package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/policy"
	"github.com/spaceport-iac/spaceport/internal/launcher/program"
)

const policyUsage = `usage: spacelift-launcher policy test [--input FILE] POLICY

Evaluates a run initialization policy as a launcher does, on an input of your own
(a file, - for standard input, or a line of a decision log) or on a sample.
Exit code 0: the run may go on; 1: it is denied; 2: no answer.
`

// policyCommand tries a policy without a launcher. A policy that cannot be used
// must not look like one that denies, so it has a code of its own.
func policyCommand(args []string) int {
	if wantsHelp(args) {
		fmt.Print(policyUsage)
		return exitOK
	}
	input, path, err := policyArgs(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "spacelift-launcher: %v: spacelift-launcher policy --help says what there is\n", err)
		return exitConfig
	}
	d, err := policyTest(context.Background(), input, path)
	if err != nil {
		fmt.Fprintln(os.Stderr, "spacelift-launcher:", err)
		return exitConfig
	}
	outcome, code := policy.Allowed, exitOK
	if len(d.Deny) > 0 {
		outcome, code = policy.Denied, exitFailed
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	if err := out.Encode(map[string]any{"outcome": outcome, "deny": d.Deny, "sample": d.Sample, "print": d.Print, "duration_ms": d.Took.Milliseconds()}); err != nil {
		fmt.Fprintln(os.Stderr, "spacelift-launcher:", err)
		return exitConfig
	}
	return code
}

func wantsHelp(args []string) bool {
	return slices.Contains(args, "--help") || slices.Contains(args, "-h")
}

func policyArgs(args []string) (input, path string, err error) {
	if len(args) == 0 || args[0] != "test" {
		return "", "", fault.New(fault.Invalid, "policy has one command, test")
	}
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case a == "--input" && i+1 < len(args):
			i++
			input = args[i]
		case len(a) > 1 && a[0] == '-':
			return "", "", fault.New(fault.Invalid, "there is no flag %s, or it needs a value", a)
		case path != "":
			return "", "", fault.New(fault.Invalid, "unexpected argument %q", a)
		default:
			path = a
		}
	}
	if path == "" {
		return "", "", fault.New(fault.Invalid, "the policy's file is missing")
	}
	return input, path, nil
}

func policyTest(ctx context.Context, input, path string) (policy.Decision, error) {
	self, err := os.Executable()
	if programs := program.Contents(); programs != nil {
		var memory io.Closer
		if self, memory, err = program.Memory(program.Evaluator, programs[program.Evaluator]); err == nil {
			defer memory.Close()
		}
	}
	if err != nil {
		return policy.Decision{}, err
	}
	p, err := policy.Open(ctx, policy.Options{
		Path: path, Evaluator: []string{self, policy.EvaluatorCommand}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return policy.Decision{}, err
	}
	for _, w := range p.Warnings() {
		fmt.Fprintln(os.Stderr, "warning:", w)
	}
	fmt.Fprintln(os.Stderr, "read as Rego", p.Version())
	data, err := policyInput(input)
	if err != nil {
		return policy.Decision{}, err
	}
	began := time.Now()
	d, err := p.Evaluate(ctx, data)
	d.Took = time.Since(began)
	return d, err
}

func policyInput(path string) (data []byte, err error) {
	switch path {
	case "":
		return policy.Sample(), nil
	case "-":
		data, err = io.ReadAll(os.Stdin)
	default:
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the input cannot be read: %v", err)
	}
	if !json.Valid(data) {
		return nil, fault.New(fault.Invalid, "the input is not one JSON value").WithHint("of a decision log, give one line")
	}
	var line struct {
		Policy string          `json:"policy"`
		Input  json.RawMessage `json:"input"`
	}
	if json.Unmarshal(data, &line) == nil && line.Policy != "" && line.Input != nil {
		return line.Input, nil
	}
	return data, nil
}
