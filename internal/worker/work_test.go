package worker

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func TestATaskRunsAndItsOutputIsLogged(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.job.Command = "echo one; echo two >&2; exit 0"
	want(t, b.run(), wire.ResultOK, 0, "")
	b.wantLog("$ echo one; echo two >&2; exit 0\n", "one\n", "two\n")
	var types []string
	for _, e := range b.events {
		types = append(types, e.Type)
	}
	if got := strings.Join(types, " "); got != "read phase_started phase_finished" {
		t.Errorf("events: %s", got)
	}
	if _, err := os.Stat(filepath.Join(b.dir.Out(), "scratch")); !os.IsNotExist(err) {
		t.Error("the scratch directory is still there")
	}
}

func TestATaskThatFailsTellsItsExitCode(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.job.Command = "exit 7"
	want(t, b.run(), wire.ResultFailed, 7, "the task's command ended with exit code 7")
}

func TestStandardInputIsEmpty(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.job.Command = "cat; read x || echo nothing to read"
	want(t, b.run(), wire.ResultOK, 0, "")
	b.wantLog("nothing to read\n")
}

func TestHooksSurroundThePhaseInOneShell(t *testing.T) {
	t.Parallel()
	b := setupCustom(t, map[string]string{"init": "echo init sees $EXPORTED and ${PLAIN:-nothing}"}, run.PhaseInit)
	b.job.Phases[0].Before = []string{"export EXPORTED=yes", "PLAIN=local; cd /"}
	b.job.Phases[0].After = []string{"echo after in $(pwd)"}
	want(t, b.run(), wire.ResultOK, 0, "")
	b.wantLog("$ export EXPORTED=yes\n", "$ PLAIN=local; cd /\n", "$ echo init sees", "init sees yes and local\n", "$ echo after in", "after in /\n")
}

func TestAFailureInAHookIsNotHidden(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hooks  []string
		code   int
		reason string
	}{
		"a hook that fails":                       {[]string{"false"}, 1, "the before_init hook ended with exit code 1"},
		"the second of two":                       {[]string{"true", "exit 3"}, 3, "the before_init hook 2 ended with exit code 3"},
		"behind a semicolon":                      {[]string{"false; echo hidden"}, 1, "exit code 1"},
		"on a line in the middle":                 {[]string{"echo a\nfalse\necho hidden"}, 1, "exit code 1"},
		"the last status after set +e":            {[]string{"set +e\nfalse"}, 1, "exit code 1"},
		"an exit with zero":                       {[]string{"exit 0"}, 0, "ended the phase's shell, so what follows it did not run"},
		"a quote that is never closed":            {[]string{`echo "open`}, 2, "the before_init hook ended with exit code 2"},
		"a bracket that is never closed":          {[]string{"{ echo a"}, 2, "exit code 2"},
		"a command that isn't there":              {[]string{"no-such-command-here"}, 127, "exit code 127"},
		"a hook that kills its shell":             {[]string{"kill -9 $$"}, 137, "exit code 137 (SIGKILL)"},
		"set -e is there again after a hook's +e": {[]string{"set +e", "false; true"}, 1, "the before_init hook 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupCustom(t, map[string]string{"init": "echo the-phase-itself"}, run.PhaseInit)
			b.job.Phases[0].Before = c.hooks
			b.job.Phases[0].After = []string{"echo the-after-hook"}
			want(t, b.run(), wire.ResultFailed, c.code, c.reason)
			b.wantNoLog("\nthe-phase-itself", "\nthe-after-hook", "\nhidden")
		})
	}
}

func TestAHookMayAllowFailures(t *testing.T) {
	t.Parallel()
	b := setupCustom(t, nil, run.PhaseInit)
	b.job.Phases[0].Before = []string{"set +e\nfalse\necho went on", "if false; then echo no; fi", "false || true", "cat <<X\nheredoc\nX"}
	want(t, b.run(), wire.ResultOK, 0, "")
	b.wantLog("> false\n", "went on\n", "heredoc\n", "\ninit\n")
}

func TestAfterHooksAreSkippedWhenThePhaseFails(t *testing.T) {
	t.Parallel()
	b := setupCustom(t, map[string]string{"init": "exit 4"}, run.PhaseInit, run.PhasePlan)
	b.job.Phases[0].After = []string{"echo the-after-hook"}
	b.job.AfterRun = []string{"echo state $TF_VAR_spacelift_final_run_state"}
	r := b.run()
	want(t, r, wire.ResultFailed, 4, "init of .spacelift/workflow.yml ended with exit code 4")
	if r.Phase != run.PhaseInit {
		t.Errorf("phase %s", r.Phase)
	}
	b.wantNoLog("\nthe-after-hook", "\nplan ")
	b.wantLog("state FAILED\n")
}

func TestTheEnvironmentIsCarried(t *testing.T) {
	t.Parallel()
	b := setupCustom(t, map[string]string{
		"plan": `printf '<%s>' "$MULTI" "$CHANGED" "${GONE-unset}" "$SPACELIFT_ME" "$TF_VAR_spacelift_run_id" "$PATHED"`,
	}, run.PhaseInit, run.PhasePlan)
	b.job.Environment = []wire.Variable{
		{Name: "CHANGED", Value: "old"},
		{Name: "GONE", Value: "here"},
		{Name: "KEPT", Value: "k"},
		{Name: "SPACELIFT_ME", Value: "delivered"},
		{Name: "TF_VAR_spacelift_run_id", Value: "id"},
		{Name: "REMOVED_BEFORE", Value: "x"},
	}
	b.job.Unset = []string{"REMOVED_BEFORE"}
	b.job.Final = false
	b.job.Phases[0].Before = []string{
		"MULTI=\"one\ntwo'\"; export MULTI", "export CHANGED=new; unset GONE; export SPACELIFT_ME=mine TF_VAR_spacelift_run_id=mine TF_HTTP_X=1",
		"export PATHED=\"$PATH\"",
	}
	want(t, b.run(), wire.ResultOK, 0, "")
	b.wantLog("<one\ntwo'><new><unset><delivered><id></")
	c := b.carry()
	if c.Set["MULTI"] != "one\ntwo'" || c.Set["CHANGED"] != "new" {
		t.Errorf("carried %q", c.Set)
	}
	for name := range c.Set {
		if !slices.Contains([]string{"MULTI", "CHANGED", "PATHED"}, name) {
			t.Errorf("%s=%q carries over", name, c.Set[name])
		}
	}
	if !slices.Equal(c.Unset, []string{"GONE"}) {
		t.Errorf("unset: %q", c.Unset)
	}
}

func TestTheWorkersOwnEnvironmentIsNotTheRuns(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.env = []string{"CANARY_OF_THE_LAUNCHER=seen"}
	b.job.Command = "env; tr '\\0' '\\n' </proc/$PPID/environ || echo refused"
	_ = b.run()
	b.wantNoLog("CANARY_OF_THE_LAUNCHER")
}

func TestMasksAreLearnedFromTheOutput(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.job.Masks = []string{"delivered-secret"}
	b.job.Command = "echo delivered-secret; X=first-word; echo \"::add-mask $X second\"; echo $X; printf '::add-m'; printf 'ask third-word\\n'; echo third-word; echo ':: no'"
	want(t, b.run(), wire.ResultOK, 0, "")
	b.wantLog("\n*****\n::add-mask ***** *****\n*****\n::add-mask *****\n*****\n:: no\n")
	var learned []string
	for _, e := range b.events {
		if e.Type == wire.EventMask {
			learned = append(learned, e.Value)
		}
	}
	if !slices.Equal(learned, []string{"first-word", "second", "third-word"}) {
		t.Errorf("learned %q", learned)
	}
	for _, m := range []string{"delivered-secret", "first-word", "third-word"} {
		if !slices.Contains(b.carry().Masks, m) {
			t.Errorf("the mask %s is not carried", m)
		}
	}
}

func TestAReasonIsMasked(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.job.Masks = []string{"secret-root"}
	b.job.ProjectRoot = "secret-root"
	r := b.run()
	want(t, r, wire.ResultFailed, 0, `the project root "*****" is not a directory`)
}

func TestAProjectRootOutsideIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.job.ProjectRoot = "../.."
	want(t, b.run(), wire.ResultFailed, 0, "leads out of the repository")
}

func TestAnImageWithoutShellIsNamed(t *testing.T) {
	t.Parallel()
	if _, err := lookPath("bash-that-is-not", []string{"PATH=/nowhere"}); err == nil || !strings.Contains(err.Error(), "has no sh on its PATH") {
		t.Errorf("got %v", err)
	}
}

func TestAPhaseCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	b := setupCustom(t, nil, run.PhaseApply)
	b.job.Environment = []wire.Variable{{Name: "SPACELIFT_SKIP_APPLYING", Value: "true"}}
	want(t, b.run(), wire.ResultOK, 0, "")
	b.wantLog("skipped, since SPACELIFT_SKIP_APPLYING is set")
	b.wantNoLog("\napply\n")
}

func TestATestDestroysWhatAFailedApplyMade(t *testing.T) {
	t.Parallel()
	b := setupCustom(t, map[string]string{"apply": "exit 6"}, run.PhaseApply, run.PhaseDestroy)
	b.job.RunType = run.Testing
	r := b.run()
	want(t, r, wire.ResultFailed, 6, "apply of")
	b.wantLog("\ndestroy\n")
}

func TestAfterRunWaitsForTheRunsEnd(t *testing.T) {
	t.Parallel()
	change := `echo '{"format_version":"1.2","output_changes":{"a":{"actions":["create"],"after":"x"}}}'`
	for name, c := range map[string]struct {
		plan  string
		typ   run.Type
		final bool
		runs  bool
	}{
		"a plan with changes goes on":     {change, run.Tracked, true, false},
		"a plan without changes ends it":  {`echo '{"format_version":"1.2"}'`, run.Tracked, true, true},
		"a proposed run ends in any case": {change, run.Proposed, true, true},
		"not the last container":          {`echo '{"format_version":"1.2"}'`, run.Testing, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupCustom(t, map[string]string{"showPlan": c.plan}, run.PhasePlan)
			b.job.RunType, b.job.Final = c.typ, c.final
			b.job.AfterRun = []string{"echo at the end: $TF_VAR_spacelift_final_run_state"}
			want(t, b.run(), wire.ResultOK, 0, "")
			if got := strings.Contains(b.log.String(), "at the end: FINISHED"); got != c.runs {
				t.Errorf("after_run ran: %v\n%s", got, b.log.String())
			}
		})
	}
}

func TestAnErroredStateIsCollected(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.job.Command = "echo '{}' >errored.tfstate; exit 1"
	want(t, b.run(), wire.ResultFailed, 1, "")
	b.wantLog("left errored.tfstate")
	names, err := b.dir.Errored()
	if err != nil || !slices.Equal(names, []string{"perform.errored.tfstate"}) {
		t.Errorf("collected %q, %v", names, err)
	}
}
