// Command evaluator evaluates a run initialization policy. The launcher carries it.
package main

import (
	"os"

	"github.com/spaceport-iac/spaceport/internal/launcher/policy/evaluator"
)

func main() { os.Exit(evaluator.Main()) }
