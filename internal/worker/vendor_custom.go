package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"gopkg.in/yaml.v3"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/run"
)

// workflows is where the commands of a custom vendor are left for the launcher,
// who gives them to the container that applies.
type workflows interface {
	WriteWorkflow(commands map[string]string) error
}

// workflowFile is at the repository's root, wherever the project root is.
const workflowFile = ".spacelift/workflow.yml"

// maxWorkflow bounds that file, in bytes.
const maxWorkflow = 1 << 20

// workflowKeys are the commands that a custom workflow has, all of them.
func workflowKeys() []string {
	return []string{"init", "workspaceSelect", "workspaceNew", "plan", "showState", "showPlan", "getOutputs", "apply", "destroy"}
}

// blanks are what a command may fill in.
type blanks struct {
	WorkspaceName string
	Lock          bool
	Refresh       bool
	PlanFileName  string
	Targets       []string
}

// custom runs the repository's own commands.
type custom struct {
	*project
	commands map[string]string
}

func (c *custom) steps(p run.Phase) ([]step, error) {
	if p == run.PhasePerform {
		return c.perform()
	}
	if err := c.load(); err != nil {
		return nil, err
	}
	if name := c.skips(p); name != "" {
		return c.skipped(name), nil
	}
	switch p {
	case run.PhaseInit:
		steps, err := c.each("init")
		if err != nil || c.job.Vendor.Workspace == "" {
			return steps, err
		}
		selects, err1 := c.render("workspaceSelect")
		creates, err2 := c.render("workspaceNew")
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return append(steps, step{
			name: "workspaceSelect of " + workflowFile, show: selects,
			run: "{\n" + selects + "\n} || {\n" + creates + "\n}",
		}), nil
	case run.PhasePlan:
		return c.each("plan", "showPlan>"+filePlan)
	case run.PhaseApply:
		return c.each("apply", "getOutputs>"+fileOutputs)
	case run.PhaseDestroy:
		return c.each("destroy")
	}
	return nil, fault.New(fault.Unsupported, "this worker does not know the phase %q", p)
}

// each makes a step of each key; "key>file" keeps the output for the worker.
func (c *custom) each(keys ...string) ([]step, error) {
	var steps []step
	for _, k := range keys {
		key, file, kept := strings.Cut(k, ">")
		text, err := c.render(key)
		if err != nil {
			return nil, err
		}
		s := step{name: key + " of " + workflowFile, show: text, run: text}
		if kept {
			s.run = "{\n" + text + "\n} >" + quote(filepath.Join(c.scratch, file))
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// load takes the commands from the job, where there are any: after a pause the
// repository's file may have been rewritten by what ran before. Else it reads the
// file and leaves the commands for the next container.
func (c *custom) load() error {
	if c.commands != nil {
		return nil
	}
	if len(c.job.Workflow) > 0 {
		c.commands = c.job.Workflow
		return checkWorkflow(c.commands)
	}
	commands, err := readWorkflow(c.source)
	if err != nil {
		return err
	}
	c.commands = commands
	return c.inside.WriteWorkflow(commands)
}

// readWorkflow reads the file in a repository.
func readWorkflow(source string) (map[string]string, error) {
	root, err := os.OpenRoot(source)
	if err != nil {
		return nil, fmt.Errorf("open the repository: %w", err)
	}
	defer func() { _ = root.Close() }()
	st, err := root.Stat(filepath.FromSlash(workflowFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, workflowFault("is missing, and a custom stack takes its commands from it")
	}
	if err != nil || !st.Mode().IsRegular() || st.Size() > maxWorkflow {
		return nil, workflowFault("is not a readable file of at most %d bytes", maxWorkflow)
	}
	data, err := root.ReadFile(filepath.FromSlash(workflowFile))
	if err != nil {
		return nil, workflowFault("cannot be read")
	}
	var commands map[string]string
	if err := yaml.Unmarshal(data, &commands); err != nil {
		return nil, workflowFault("is not a list of keys with a text each: %s", strings.TrimPrefix(oneLine(err.Error()), "yaml: "))
	}
	return commands, checkWorkflow(commands)
}

func checkWorkflow(commands map[string]string) error {
	for _, key := range workflowKeys() {
		if strings.TrimSpace(commands[key]) == "" {
			return workflowFault("has no %s", key).WithHint("it needs %s", strings.Join(workflowKeys(), ", "))
		}
	}
	var unknown []string
	for key := range commands {
		if !slices.Contains(workflowKeys(), key) {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return workflowFault("has the unknown key %s", unknown[0]).WithHint("the keys are %s", strings.Join(workflowKeys(), ", "))
	}
	return nil
}

// render fills in the blanks of a command.
func (c *custom) render(key string) (string, error) {
	t, err := template.New(key).Option("missingkey=error").Parse(c.commands[key])
	if err != nil {
		return "", workflowFault("has a %s that is not a template: %s", key, oneLine(err.Error()))
	}
	var b strings.Builder
	err = t.Execute(&b, blanks{
		WorkspaceName: c.job.Vendor.Workspace,
		Lock:          !c.env.isSet("SPACELIFT_DISABLE_STATE_LOCK"),
		Refresh:       true,
		PlanFileName:  planFile,
		Targets:       c.job.Targets,
	})
	if err != nil {
		return "", workflowFault("has a %s that cannot be filled in: %s", key, oneLine(err.Error())).
			WithHint("a command may use .WorkspaceName .Lock .Refresh .PlanFileName .Targets")
	}
	return b.String(), nil
}

func workflowFault(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, workflowFile+" "+format, args...).Named("workflow")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
