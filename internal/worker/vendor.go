package worker

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// vendor knows a tool's commands.
type vendor interface {
	// steps returns a phase's commands between its hooks. It may prepare files
	// in the project root.
	steps(p run.Phase) ([]step, error)
}

// planFile is the plan's name in the project root.
const planFile = "spacelift.plan"

// project is what a vendor works on.
type project struct {
	job     *wire.WorkerJob
	inside  workflows
	env     *environ
	dir     string // the project root
	source  string // the repository's root
	scratch string
}

// newVendor returns the job's vendor.
func newVendor(p *project) (vendor, error) {
	switch p.job.Vendor.Name {
	case "terraform", "":
		return &terraform{project: p, binary: "terraform", label: "Terraform", suffixes: []string{".tf"}}, nil
	case "opentofu":
		return &terraform{project: p, binary: "tofu", label: "OpenTofu", suffixes: []string{".tf", ".tofu"}}, nil
	case "custom":
		return &custom{project: p}, nil
	}
	return nil, fault.New(fault.Unsupported, "this worker does not know the vendor %q", p.job.Vendor.Name).
		WithHint("use terraform, opentofu or custom")
}

// managed reports whether we keep the state.
func (p *project) managed() bool {
	return p.job.StateMode == wire.StateManaged || p.job.StateMode == wire.StateSealed
}

// perform is a task's command. It has a shell of its own, as "sh -c" would give
// it, but by a file: command lines can be read by everybody on a machine.
func (p *project) perform() ([]step, error) {
	path := filepath.Join(p.scratch, "task", "command")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("write the task's command: %w", err)
	}
	if err := os.WriteFile(path, []byte(p.job.Command+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write the task's command: %w", err)
	}
	return []step{{name: "the task's command", show: p.job.Command, run: command("sh", path)}}, nil
}

// skipped returns the step that says that a phase has been switched off.
func (p *project) skipped(name string) []step {
	return []step{{name: name, run: "printf '%s\\n' " + quote("[worker] skipped, since "+name+" is set")}}
}

// skips returns the variable that switches this phase off, if it is set.
func (p *project) skips(phase run.Phase) string {
	var name string
	switch phase {
	case run.PhaseApply:
		name = "SPACELIFT_SKIP_APPLYING"
	case run.PhaseDestroy:
		name = "SPACELIFT_SKIP_DESTROYING"
	}
	if name != "" && p.env.isSet(name) {
		return name
	}
	return ""
}

// linkTool puts the tool that the launcher brought first on the PATH, under the
// name by which scripts call it.
func linkTool(dir, tool, name string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the tools' directory: %w", err)
	}
	if !executable(tool) {
		return fault.New(fault.Invalid, "the tool that the launcher brought is not an executable file (%s)", tool)
	}
	link := filepath.Join(dir, name)
	_ = os.Remove(link)
	if err := os.Symlink(tool, link); err != nil {
		return fmt.Errorf("put the tool on the PATH: %w", err)
	}
	return nil
}

// toolName is the file name under which a vendor's tool is called.
func toolName(vendor string) string {
	if vendor == "opentofu" {
		return "tofu"
	}
	return "terraform"
}
