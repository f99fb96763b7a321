//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// marked returns the bash blocks of a document that follow a test mark.
func marked(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for i, part := range strings.Split(string(text), "<!-- test -->\n```bash\n") {
		if i == 0 {
			continue
		}
		block, _, found := strings.Cut(part, "\n```\n")
		if !found {
			t.Fatalf("%s: block %d has no end", path, i)
		}
		script.WriteString(block + "\n")
	}
	return script.String()
}

// What the documentation tells a newcomer to type is typed here, from the first
// command to the last, in a clone of its own.
func TestTheCommandsOfGettingStartedRun(t *testing.T) {
	t.Parallel()
	top, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	script := marked(t, filepath.Join(top, "docs", "getting-started.md"))
	if strings.Count(script, "\n") < 50 {
		t.Fatalf("only these commands are marked:\n%s", script)
	}
	clone := filepath.Join(t.TempDir(), "spaceport")
	run(t, nil, "git", "clone", "-q", top, clone)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail")
	shell.Dir = clone
	shell.Stdin = strings.NewReader(script)
	var out bytes.Buffer
	shell.Stdout, shell.Stderr = &out, &out
	// What the commands leave running ends with the test.
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	group := func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	shell.Cancel = group
	shell.WaitDelay = 10 * time.Second
	err = shell.Run()
	_ = group() // nothing is left if all went well
	if err != nil {
		t.Fatalf("%v\n%s", err, tail(out.String(), 6000))
	}
}
