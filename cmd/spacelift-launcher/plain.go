//go:build !embedded

package main

import (
	"github.com/spaceport-iac/spaceport/internal/launcher/policy"
	"github.com/spaceport-iac/spaceport/internal/launcher/policy/evaluator"
	"github.com/spaceport-iac/spaceport/internal/launcher/program/dispatch"
)

// inside runs what `make build` makes programs of their own: see package program.
func inside(args []string) (code int, known bool) {
	if len(args) > 0 && args[0] == policy.EvaluatorCommand {
		return evaluator.Main(), true
	}
	return dispatch.Main(args)
}
