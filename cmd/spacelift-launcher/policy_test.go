package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/launcher/policy"
	"github.com/spaceport-iac/spaceport/internal/launcher/policy/evaluator"
)

// This test binary is the evaluator too, as the launcher's is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == policy.EvaluatorCommand {
		os.Exit(evaluator.Main())
	}
	os.Exit(m.Run())
}

func TestPolicyTestTellsByItsExitCode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	p := write("p.rego", "package spacelift\ndeny contains \"no\" if input.class == \"write\"")
	broken := write("broken.rego", "package spacelift\ndeny if true")
	writes := write("in.json", `{"class": "write"}`)
	line := write("line.json", `{"policy": "sha256:00", "outcome": "deny", "input": {"class": "write"}}`)
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"test", p}, exitOK},
		{[]string{"test", "--input", writes, p}, exitFailed},
		{[]string{"test", p, "--input", line}, exitFailed},
		{[]string{"test", broken}, exitConfig},
		{[]string{"test", "--input", p, p}, exitConfig},
		{[]string{"test", "--input", p + ".none", p}, exitConfig},
		{[]string{"test", "--inptu", writes, p}, exitConfig},
		{[]string{"test", p, p}, exitConfig},
		{[]string{"test"}, exitConfig},
		{[]string{"check", p}, exitConfig},
		{nil, exitConfig},
	} {
		if got := policyCommand(c.args); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.args, got, c.want)
		}
	}
}
