package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/run"
)

// terraform is Terraform and, under another name, OpenTofu.
type terraform struct {
	*project
	binary   string
	label    string
	suffixes []string // of configuration files
}

// backendFile declares the state backend. Its block is empty on purpose: whatever
// stands in it is kept in the plan file, and an address of this container would
// break the apply in the next one. Address and password come by TF_HTTP_*.
const (
	backendFile    = "spaceport_backend.tf"
	backendContent = "# Written by Spaceport, which keeps this stack's state. Do not commit it.\nterraform {\n  backend \"http\" {}\n}\n"
)

func (t *terraform) steps(p run.Phase) ([]step, error) {
	if p == run.PhasePerform {
		return t.perform()
	}
	if name := t.skips(p); name != "" {
		return t.skipped(name), nil
	}
	switch p {
	case run.PhaseInit:
		return t.init()
	case run.PhasePlan:
		return t.plan(), nil
	case run.PhaseApply:
		return t.apply(), nil
	case run.PhaseDestroy:
		return []step{t.step("destroy", t.flags("-auto-approve", t.lock())...)}, nil
	}
	return nil, fault.New(fault.Unsupported, "this worker does not know the phase %q", p)
}

func (t *terraform) init() ([]step, error) {
	if t.managed() {
		if t.job.Vendor.Workspace != "" {
			return nil, fault.New(fault.Invalid, "the stack names the workspace %q, but state that Spaceport keeps has no workspaces", t.job.Vendor.Workspace).
				WithHint("remove the workspace, or bring a backend of your own")
		}
		if err := t.writeBackend(); err != nil {
			return nil, err
		}
	}
	steps := []step{t.step("init", t.flags()...)}
	if w := t.job.Vendor.Workspace; w != "" {
		selects := command(t.binary, "workspace", "select", w)
		creates := command(t.binary, "workspace", "new", w)
		steps = append(steps, step{
			name: t.binary + " workspace", show: selects + " || " + creates,
			run: selects + " 2>/dev/null || " + creates, missing: t.missing(),
		})
	}
	return steps, nil
}

// writeBackend writes the backend's file, unless the user's code has one already.
func (t *terraform) writeBackend() error {
	found, err := findBackend(t.dir, t.suffixes, backendFile)
	if err != nil {
		return err
	}
	if found != nil {
		return fault.New(fault.Invalid, "%s line %d has a %s block, but Spaceport keeps this stack's state", found.file, found.line, found.block).
			Named("own_backend").
			WithHint("remove the block, or let the stack manage its state itself")
	}
	// OpenTofu reads x.tofu in place of x.tf: such a file would silently put the state
	// into the workspace, which is thrown away.
	stem := strings.TrimSuffix(backendFile, ".tf")
	if _, err := os.Lstat(filepath.Join(t.dir, stem+".tofu")); err == nil && t.binary == "tofu" {
		return fault.New(fault.Invalid, "the repository has a file %s.tofu, a name that Spaceport needs for the state backend", stem).
			WithHint("rename the file")
	}
	path := filepath.Join(t.dir, backendFile)
	// The clone may hold a link of that name: unlink, then create.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write the state backend's file: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("write the state backend's file: %w", err)
	}
	_, err = f.WriteString(backendContent)
	return errors.Join(err, f.Close())
}

func (t *terraform) plan() []step {
	file := filepath.Join(t.dir, planFile)
	args := t.flags("-out="+file, t.lock())
	for _, target := range t.job.Targets {
		args = append(args, "-target="+target)
	}
	show := command(t.binary, "show", "-json", file) + " >" + quote(filepath.Join(t.scratch, filePlan))
	return []step{
		t.step("plan", args...),
		{name: t.binary + " show", show: t.debug(show), run: show, missing: t.missing()},
	}
}

func (t *terraform) apply() []step {
	file := filepath.Join(t.dir, planFile)
	into := filepath.Join(t.scratch, fileOutputs)
	output := command(t.binary, "output", "-json") + " >" + quote(into)
	return []step{
		t.step("apply", t.flags(t.lock(), file)...),
		// The apply has happened; that its outputs can't be read makes it no failure.
		{name: t.binary + " output", show: t.debug(output), run: output + " || rm -f " + quote(into)},
	}
}

// step is a command that the user sees as it is run.
func (t *terraform) step(verb string, args ...string) step {
	line := command(append([]string{t.binary, verb}, args...)...)
	return step{name: t.binary + " " + verb, show: line, run: line, missing: t.missing()}
}

// flags are the flags that every command has, and others; empty ones fall away.
func (t *terraform) flags(more ...string) []string {
	flags := []string{"-input=false"}
	if !t.env.isSet("SPACELIFT_COLOR") {
		flags = append(flags, "-no-color")
	}
	for _, f := range more {
		if f != "" {
			flags = append(flags, f)
		}
	}
	return flags
}

func (t *terraform) lock() string {
	if t.env.isSet("SPACELIFT_DISABLE_STATE_LOCK") {
		return "-lock=false"
	}
	return ""
}

// debug shows a command that is of no interest otherwise.
func (t *terraform) debug(line string) string {
	if t.job.Debug || t.env.isSet("SPACELIFT_DEBUG") {
		return line
	}
	return ""
}

func (t *terraform) missing() string {
	version := ""
	if v := t.job.Vendor.Version; v != "" {
		version = " " + v
	}
	return strings.TrimSpace(fmt.Sprintf("%s%s is neither in the runner image nor brought by the worker", t.label, version))
}
