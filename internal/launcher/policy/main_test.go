package policy_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/spaceport-iac/spaceport/internal/launcher/policy"
	"github.com/spaceport-iac/spaceport/internal/launcher/policy/evaluator"
)

// This test binary is the evaluator too, as the launcher's is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == policy.EvaluatorCommand {
		os.Exit(evaluator.Main())
	}
	goleak.VerifyTestMain(m)
}
