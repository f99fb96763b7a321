package worker

import (
	"testing"

	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func TestACustomWorkflowPlansAndApplies(t *testing.T) {
	t.Parallel()
	b := setupCustom(t, map[string]string{
		"plan":     "echo plan {{.PlanFileName}} lock={{.Lock}} refresh={{.Refresh}}{{range .Targets}} -target={{.}}{{end}}",
		"showPlan": `echo '{"format_version":"1.2","resource_changes":[{"address":"a.b","type":"a","name":"b","change":{"actions":["create"],"after":{"k":"v"}}}]}'`,
	}, run.PhaseInit, run.PhasePlan)
	b.job.Vendor.Workspace = "blue"
	b.job.Targets = []string{"a.b", "c.d"}
	b.job.Environment = []wire.Variable{{Name: "SPACELIFT_DISABLE_STATE_LOCK", Value: "1"}}
	r := b.run()
	want(t, r, wire.ResultOK, 0, "")
	b.wantLog("\ninit\n", "new blue\n", "plan spacelift.plan lock=false refresh=true -target=a.b -target=c.d\n")
	if r.Plan == nil || !r.Plan.Changed || r.Plan.Delta.Added != 1 || r.Plan.Changes[0].Address != "a.b" {
		t.Fatalf("plan %+v", r.Plan)
	}
	commands, err := b.dir.ReadWorkflow()
	if err != nil || commands["init"] != "echo init" {
		t.Errorf("workflow for the next container: %q, %v", commands, err)
	}
}

func TestAnApplyTakesItsCommandsFromTheJob(t *testing.T) {
	t.Parallel()
	b := setupCustom(t, map[string]string{"apply": "echo apply as planned", "getOutputs": `echo '{"a":{"type":"string","value":"x","sensitive":false},"b":{"type":"string","value":"y","sensitive":true}}'`}, run.PhaseApply)
	commands, err := readWorkflow(b.dir.Workspace() + "/source")
	if err != nil {
		t.Fatal(err)
	}
	b.job.Workflow = commands
	b.write(workflowFile, workflow(map[string]string{"apply": "echo rewritten meanwhile"}))
	r := b.run()
	want(t, r, wire.ResultOK, 0, "")
	b.wantLog("apply as planned\n")
	b.wantNoLog("rewritten")
	if !r.HaveOutputs || len(r.Outputs) != 2 || string(r.Outputs[0].Value) != `"x"` || r.Outputs[1].Value != nil {
		t.Errorf("outputs %+v", r.Outputs)
	}
}

func TestAWorkflowFileThatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change map[string]string
		file   string
		reason string
	}{
		"a key is missing":       {map[string]string{"showPlan": ""}, "", ".spacelift/workflow.yml has no showPlan"},
		"a key is unknown":       {map[string]string{"shwPlan": "x"}, "", ".spacelift/workflow.yml has the unknown key shwPlan"},
		"no such blank":          {map[string]string{"init": "echo {{.Workspace}}"}, "", ".spacelift/workflow.yml has a init that cannot be filled in"},
		"no template":            {map[string]string{"init": "echo {{"}, "", "is not a template"},
		"no YAML":                {nil, "init: [", "is not a list of keys with a text each"},
		"the plan is not a plan": {map[string]string{"showPlan": "echo hello"}, "", "not in Terraform's JSON format"},
		"the plan is empty":      {map[string]string{"showPlan": "true"}, "", "not in Terraform's JSON format"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupCustom(t, c.change, run.PhaseInit, run.PhasePlan)
			if c.file != "" {
				b.write(workflowFile, c.file)
			}
			want(t, b.run(), wire.ResultFailed, 0, c.reason)
		})
	}
	t.Run("there is none", func(t *testing.T) {
		t.Parallel()
		b := setup(t, nil)
		b.job.Vendor.Name = "custom"
		b.job.Phases = []wire.WorkerPhase{{Phase: run.PhaseInit}}
		want(t, b.run(), wire.ResultFailed, 0, ".spacelift/workflow.yml is missing")
	})
}

func TestAVendorThatIsUnknownIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.job.Vendor.Name = "pulumi"
	want(t, b.run(), wire.ResultFailed, 0, `does not know the vendor "pulumi"`)
}
