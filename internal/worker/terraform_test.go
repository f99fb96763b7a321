//go:build terraform

package worker

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

const configuration = `
variable "secret" {
  default   = "canary-secret-value"
  sensitive = true
}
resource "terraform_data" "one" {
  input = { plain = "canary-plain-value", hidden = var.secret }
}
output "plain" { value = terraform_data.one.output.plain }
output "hidden" {
  value     = var.secret
  sensitive = true
}
`

// store is a launcher that keeps a state.
type store struct {
	state  []byte
	holder string
	refuse bool
}

func (s *store) answer(r wire.Request, body []byte) (wire.Answer, []byte) {
	switch r.Op {
	case wire.OpStateGet:
		if s.state == nil {
			return wire.Answer{Status: 204}, nil
		}
		return wire.Answer{Status: 200}, s.state
	case wire.OpStatePut:
		if s.refuse {
			return wire.Answer{Status: 409, Message: "the attempt is stale"}, nil
		}
		if r.Lock != s.holder {
			return wire.Answer{Status: 409, Message: "the lock is not held"}, nil
		}
		s.state = body
	case wire.OpStateLock:
		if s.holder != "" {
			return wire.Answer{Status: 423, Message: "held by run 7"}, nil
		}
		s.holder = r.Lock
	case wire.OpStateUnlock:
		s.holder = ""
	}
	return wire.Answer{Status: 200}, nil
}

// setupTerraform makes a job for real Terraform. Without the program the test
// fails: `make test` installs it.
func setupTerraform(t *testing.T, files map[string]string, s *store, phases ...run.Phase) *box {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Fatal("terraform is not on the PATH; make test installs it")
	}
	b := setup(t, files)
	rc := filepath.Join(t.TempDir(), "terraformrc")
	if err := os.WriteFile(rc, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	b.env = []string{"TF_CLI_CONFIG_FILE=" + rc}
	b.answer = s.answer
	b.job.RunType = run.Tracked
	b.job.StateMode = wire.StateManaged
	b.job.StateExists = s.state != nil
	b.set(phases...)
	return b
}

func (b *box) set(phases ...run.Phase) {
	b.job.Phases = nil
	for _, p := range phases {
		b.job.Phases = append(b.job.Phases, wire.WorkerPhase{Phase: p})
		b.job.Class = p.Class()
	}
}

// next is another container on the same workspace.
func (b *box) next(t *testing.T, s *store, phases ...run.Phase) *box {
	t.Helper()
	n := &box{t: t, job: b.job, env: b.env, answer: b.answer}
	dir, err := rundir.Create(t.TempDir(), boxID, rundir.Options{UID: os.Getuid(), GID: os.Getgid()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Remove() })
	n.dir = dir
	n.job.StateExists = s.state != nil
	n.set(phases...)
	return n
}

func TestTerraformPlansAndAppliesInTwoContainers(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{wire.StateManaged, wire.StateSealed} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := &store{}
			b := setupTerraform(t, map[string]string{"main.tf": configuration}, s, run.PhaseInit, run.PhasePlan)
			b.job.StateMode = mode
			r := b.run()
			want(t, r, wire.ResultOK, 0, "")
			b.wantLog("$ terraform init -input=false -no-color\n", "successfully initialized", "$ terraform plan ", "1 to add")
			if r.Plan == nil || !r.Plan.Changed || r.Plan.Delta.Added != 3 || r.Plan.Delta.Resources != 1 {
				t.Fatalf("plan %+v", r.Plan)
			}
			result, _ := os.ReadFile(filepath.Join(b.dir.Out(), wire.OutResult))
			if strings.Contains(string(result), "canary") || mode == wire.StateSealed && strings.Contains(string(result), `"after"`) {
				t.Errorf("the result has values: %s", result)
			}
			if s.holder != "" || s.state != nil {
				t.Errorf("after the plan: holder %q, state %s", s.holder, s.state)
			}

			w := b.next(t, s, run.PhaseApply)
			r = w.run()
			want(t, r, wire.ResultOK, 0, "")
			w.wantLog("1 added")
			if !strings.Contains(string(s.state), "canary-secret-value") || s.holder != "" {
				t.Errorf("after the apply: holder %q, state %s", s.holder, s.state)
			}
			if len(r.Outputs) != 2 || string(r.Outputs[1].Value) != `"canary-plain-value"` || r.Outputs[0].Value != nil || !r.Outputs[0].Sensitive {
				t.Errorf("outputs %+v", r.Outputs)
			}

			again := b.next(t, s, run.PhaseInit, run.PhasePlan)
			r = again.run()
			want(t, r, wire.ResultOK, 0, "")
			if r.Plan.Changed || len(r.Plan.Changes) != 0 {
				t.Errorf("a second plan changes %+v", r.Plan)
			}

			d := b.next(t, s, run.PhaseDestroy)
			want(t, d.run(), wire.ResultOK, 0, "")
			d.wantLog("$ terraform destroy ", "1 destroyed")
		})
	}
}

func TestTheBackendsPasswordIsNowhereInTheWorkspace(t *testing.T) {
	t.Parallel()
	s := &store{}
	b := setupTerraform(t, map[string]string{"main.tf": configuration}, s, run.PhaseInit, run.PhasePlan)
	b.job.Phases[1].After = []string{`! grep -r "$TF_HTTP_PASSWORD" .`, "echo address $TF_HTTP_ADDRESS", "echo password $TF_HTTP_PASSWORD"}
	want(t, b.run(), wire.ResultOK, 0, "")
	b.wantLog("address http://127.0.0.1:", "password *****\n")
}

func TestALockThatIsHeldIsShownWithItsHolder(t *testing.T) {
	t.Parallel()
	s := &store{holder: "somebody"}
	b := setupTerraform(t, map[string]string{"main.tf": configuration}, s, run.PhaseInit, run.PhasePlan)
	want(t, b.run(), wire.ResultFailed, 1, "terraform plan ended with exit code 1")
	b.wantLog("the state was not locked: held by run 7")
	b.wantLog("Error acquiring the state lock", "already locked: ID=held by run 7")
}

func TestAStateThatIsRefusedIsCollected(t *testing.T) {
	t.Parallel()
	s := &store{}
	b := setupTerraform(t, map[string]string{"main.tf": configuration}, s, run.PhaseInit, run.PhasePlan)
	want(t, b.run(), wire.ResultOK, 0, "")
	s.refuse = true
	w := b.next(t, s, run.PhaseApply)
	want(t, w.run(), wire.ResultFailed, 1, "terraform apply ended with exit code 1")
	w.wantLog("the state was not written: the attempt is stale")
	w.wantLog("left errored.tfstate")
	names, err := w.dir.Errored()
	if err != nil || len(names) != 1 {
		t.Errorf("collected %q, %v", names, err)
	}
}

func TestTargetsNarrowThePlan(t *testing.T) {
	t.Parallel()
	b := setupTerraform(t, map[string]string{"main.tf": `
resource "terraform_data" "a" {}
resource "terraform_data" "b" { for_each = toset(["x y"]) }`}, &store{}, run.PhaseInit, run.PhasePlan)
	b.job.Targets = []string{`terraform_data.b["x y"]`}
	r := b.run()
	want(t, r, wire.ResultOK, 0, "")
	if len(r.Plan.Changes) != 1 || r.Plan.Changes[0].Address != `terraform_data.b["x y"]` {
		t.Errorf("changes %+v", r.Plan.Changes)
	}
}

func TestABackendOfTheUsersIsRefused(t *testing.T) {
	t.Parallel()
	b := setupTerraform(t, map[string]string{"main.tf": configuration, "state.tf": "terraform {\n  backend \"local\" {}\n}\n"}, &store{}, run.PhaseInit)
	want(t, b.run(), wire.ResultFailed, 0, `state.tf line 2 has a backend "local" block, but Spaceport keeps this stack's state`)
}

func TestAStackMayKeepItsOwnState(t *testing.T) {
	t.Parallel()
	b := setupTerraform(t, map[string]string{"main.tf": configuration, "state.tf": "terraform {\n  backend \"local\" {}\n}\n"}, &store{}, run.PhaseInit, run.PhasePlan)
	b.job.StateMode = wire.StateExternal
	b.job.Vendor.Workspace = "blue"
	r := b.run()
	want(t, r, wire.ResultOK, 0, "")
	b.wantLog(`Created and switched to workspace "blue"`)
	w := b.next(t, &store{}, run.PhaseApply)
	want(t, w.run(), wire.ResultOK, 0, "")
	if len(w.asked) != 0 {
		t.Errorf("asked the launcher %+v", w.asked)
	}
}

func TestATaskHasTheToolAndTheState(t *testing.T) {
	t.Parallel()
	s := &store{}
	b := setupTerraform(t, map[string]string{"main.tf": configuration}, s, run.PhaseInit)
	want(t, b.run(), wire.ResultOK, 0, "")
	tool, err := exec.LookPath("terraform")
	if err != nil {
		t.Fatal(err)
	}
	w := b.next(t, s, run.PhasePerform)
	w.job.Tool = tool
	w.job.Command = "terraform apply -auto-approve -no-color && terraform state list && command -v terraform"
	want(t, w.run(), wire.ResultOK, 0, "")
	w.wantLog("1 added", "terraform_data.one\n", "/scratch/bin/terraform\n")
	if path, carried := w.carry().Set["PATH"]; carried {
		t.Errorf("PATH carries over: %s", path)
	}
}

func TestAStopLetsTerraformUnlock(t *testing.T) {
	t.Parallel()
	s := &store{}
	b := setupTerraform(t, map[string]string{"main.tf": `
resource "terraform_data" "slow" {
  provisioner "local-exec" { command = "echo slow-began; sleep 30" }
}`}, s, run.PhaseInit, run.PhasePlan)
	want(t, b.run(), wire.ResultOK, 0, "")
	w := b.next(t, s, run.PhaseApply)
	w.job.GraceMs = 30_000
	r := w.meanwhile("slow-began\n", func() { _ = w.dir.Stop(false, "stopped by alice") })
	if r.Result != wire.ResultStopped || r.ExitCode != 1 || !strings.HasPrefix(r.Reason, "stopped by alice") {
		t.Errorf("result %+v", r)
	}
	w.wantLog("Interrupt received")
	if s.holder != "" || s.state == nil {
		t.Errorf("holder %q, state %q", s.holder, s.state)
	}
}

func TestAToolThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	b := setupTerraform(t, map[string]string{"main.tf": configuration}, &store{}, run.PhaseInit)
	b.job.Vendor = wire.Vendor{Name: "opentofu", Version: "1.8.0"}
	b.job.Environment = []wire.Variable{{Name: "PATH", Value: "/usr/bin:/bin"}}
	want(t, b.run(), wire.ResultFailed, 127, "tofu init: OpenTofu 1.8.0 is neither in the runner image nor brought by the worker")
}

func TestAPlanCannotWriteTheState(t *testing.T) {
	t.Parallel()
	s := &store{}
	b := setupTerraform(t, map[string]string{"main.tf": configuration}, s, run.PhaseInit)
	b.job.Phases[0].After = []string{"terraform apply -auto-approve -no-color"}
	want(t, b.run(), wire.ResultFailed, 1, "the after_init hook ended with exit code 1")
	b.wantLog("the state was not written: init and plan may not change the state")
	if s.state != nil {
		t.Errorf("the state is %s", s.state)
	}
}
