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

// document is a page of docs/.
type document struct {
	t          *testing.T
	name, text string
}

func page(t *testing.T, name string) document {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return document{t, name, string(text)}
}

// between is what stands from one text up to another; "" is the end.
func (d document) between(from, to string) document {
	d.t.Helper()
	_, after, found := strings.Cut(d.text, from)
	if !found {
		d.t.Fatalf("%s: there is no %q", d.name, from)
	}
	if to != "" {
		if after, _, found = strings.Cut(after, to); !found {
			d.t.Fatalf("%s: there is no %q after %q", d.name, to, from)
		}
	}
	return document{d.t, d.name, after}
}

// marked returns the bash blocks that follow a test mark, of which there are this
// many; 0 is any number.
func (d document) marked(want int) string {
	d.t.Helper()
	var script strings.Builder
	parts := strings.Split(d.text, "<!-- test -->\n```bash\n")[1:]
	for i, part := range parts {
		block, _, found := strings.Cut(part, "\n```\n")
		if !found {
			d.t.Fatalf("%s: block %d has no end", d.name, i)
		}
		script.WriteString(block + "\n")
	}
	if want > 0 && len(parts) != want {
		d.t.Fatalf("%s: %d blocks are marked, want %d:\n%s", d.name, len(parts), want, script.String())
	}
	return script.String()
}

// recovered are the commands of recovery.md for what they open, beside the data
// directory of getting-started.md. Each verification is looked at.
func recovered(t *testing.T, lookup, kind, opened string) string {
	t.Helper()
	genuine := page(t, "recovery.md").between("**First**", "Then open it").marked(1)
	return "(\ncd by-hand\nDATA=$PWD/mothership STACK=by-hand RUN=$run\n" + lookup + "{ " + genuine + "} | tee verified\n" +
		"grep -q 'Verified OK' verified && grep -q '" + kind + "' verified\n" +
		`grep -q "$(sha256sum "$DATA/objects/$object" | cut -d' ' -f1)" statement` + "\n" + opened + ")\n"
}

// sections are the documents whose commands run, in their order. What a reader has
// to bring is made between them.
func sections(t *testing.T) string {
	t.Helper()
	start, recovery, source, policy := page(t, "getting-started.md"), page(t, "recovery.md"), page(t, "source.md"), page(t, "initialization-policy.md")
	parked, state := recovery.between("## A parked workspace", "## A managed state"), recovery.between("## A state", "## A parked workspace")
	rego := policy.between("```rego\n", "```").text
	return start.between("", "### Apply on the other worker").marked(0) +
		recovered(t, parked.between("", "Verify it as above").marked(1), "workspace", parked.between("Verify it as above", "").marked(1)+
			"test -d opened/workspace\n") +
		start.between("### Apply on the other worker", "### The end").marked(0) +
		recovered(t, state.between("", "**First**").marked(2), "state", state.between("Then open it", "").marked(1)+
			"jq -e '.outputs.greeting.value' terraform.tfstate\n") +
		"(\nPATH=$PWD/bin:$PATH\nmkdir by-hand/vcs && cd by-hand/vcs\necho secret-of-the-bot >token\n" +
		"echo \"git.example.com $(cut -d' ' -f1,2 <(ssh-keygen -q -t ed25519 -N '' -f host && cat host.pub))\" >known_hosts\n" +
		source.marked(2) +
		"cat >policy.rego <<'END'\n" + rego + "END\n" + policy.marked(1) +
		")\n" +
		start.between("### The end", "").marked(0)
}

// What the documentation tells a newcomer to type is typed here, from the first
// command to the last, in a clone of its own.
func TestTheCommandsOfTheDocumentationRun(t *testing.T) {
	t.Parallel()
	top, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	script := sections(t)
	if strings.Count(script, "\n") < 80 {
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
