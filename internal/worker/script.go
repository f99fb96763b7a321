package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// step is one thing that a phase's shell does.
type step struct {
	name string // for people: "the before_plan hook 2", "terraform plan"
	show string // what the log shows before it; "" shows nothing
	run  string // shell text
	// missing explains exit code 127, "command not found", of this step.
	missing string
}

// Names in the scratch directory.
const (
	fileStep    = "step"         // number of the step that runs, or "end"
	fileEnv     = "env"          // dump of the environment
	filePlan    = "plan.json"    // the tool's own description of its plan
	fileOutputs = "outputs.json" // the tool's outputs
	stepDump    = "dump"
	stepEnd     = "end"
)

// hooks makes steps of hooks.
func hooks(name string, texts []string) []step {
	steps := make([]step, 0, len(texts))
	for i, text := range texts {
		label := "the " + name + " hook"
		if len(texts) > 1 {
			label += " " + strconv.Itoa(i+1)
		}
		steps = append(steps, step{name: label, show: text, run: text})
	}
	return steps
}

// writeScript writes the steps into files and returns the path of the script that
// reads them one after another. dump is the command that writes the environment
// down, or nil.
//
// Steps are files of their own, read by ".": each is parsed by itself, so a quote
// that is never closed cannot swallow the next one, and no text of a user is ever
// on a command line, where the process table shows it.
func writeScript(scratch string, steps []step, dump []string) (string, error) {
	var b strings.Builder
	// Ctrl-C reaches the shell too. With a trap it waits for the tool and passes on
	// how that ended; a trap is not inherited, so the tool has its own say.
	b.WriteString("trap 'exit $?' INT\n")
	at := func(name string) string { return quote(filepath.Join(scratch, name)) }
	for i, s := range steps {
		name := "step." + strconv.Itoa(i)
		if err := os.WriteFile(filepath.Join(scratch, name), []byte(s.run+"\n"), 0o600); err != nil {
			return "", fmt.Errorf("write a phase's step: %w", err)
		}
		fmt.Fprintf(&b, "echo %d >%s\n", i, at(fileStep))
		if s.show != "" {
			fmt.Fprintf(&b, "printf '%%s\\n' %s\n", quote(shown(s.show)))
		}
		// Not joined by &&: in such a list "set -e" is without effect, also inside.
		fmt.Fprintf(&b, "set -e\n. %s\ncase $? in 0) ;; *) exit $? ;; esac\n", at(name))
	}
	if len(dump) > 0 {
		fmt.Fprintf(&b, "echo %s >%s\n", stepDump, at(fileStep))
		for _, word := range dump {
			b.WriteString(quote(word) + " ")
		}
		fmt.Fprintf(&b, "%s\n", at(fileEnv))
	}
	fmt.Fprintf(&b, "echo %s >%s\n", stepEnd, at(fileStep))
	path := filepath.Join(scratch, "phase")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return "", fmt.Errorf("write a phase's script: %w", err)
	}
	return path, nil
}

// clearScratch removes what a phase left, so that the next doesn't take it for its
// own, and so that no plan in plain text stays around.
func clearScratch(scratch string) {
	entries, _ := os.ReadDir(scratch)
	for _, e := range entries {
		if !e.IsDir() {
			_ = os.Remove(filepath.Join(scratch, e.Name()))
		}
	}
}

// shown is a command as the log shows it: "$ " before its first line, "> " before
// the others.
func shown(text string) string {
	return "$ " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n> ")
}

// quote makes one word of a text for any sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// command joins words into a command, quoting those that need it.
func command(words ...string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w
		if w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@%+") != "" {
			out[i] = quote(w)
		}
	}
	return strings.Join(out, " ")
}
