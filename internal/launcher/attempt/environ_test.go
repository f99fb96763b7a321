package attempt

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/launcher/park"
	"github.com/spaceport-iac/spaceport/internal/launcher/setting"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func settings(t *testing.T, environ ...string) *setting.Settings {
	t.Helper()
	environ = append(environ, "SPACELIFT_TOKEN=token-canary", "SPACELIFT_POOL_PRIVATE_KEY=key-canary")
	s, _, err := setting.Parse(setting.Input{Environ: environ, ReadFile: os.ReadFile})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func value(e environment, name string) string {
	for _, v := range e.vars {
		if v.Name == name {
			return v.Value
		}
	}
	return "<unset>"
}

func TestWhereEachVariableComesFrom(t *testing.T) {
	t.Parallel()
	launcher := []string{
		"SPACELIFT_WHITELIST_ENVS=PASSED,ro_CRED,wo_CRED,ro_ONLY,MISSING,BOTH,ro_BOTH", "PASSED=p", "ro_CRED=read cred", "CRED=plain cred", "ONLY=o", "NOT_LISTED=n",
		"BOTH=b", "ro_BOTH=rb",
	}
	vars := []wire.Variable{
		{Name: "PLAIN", Value: "1"},
		{Name: "ro_KEY", Value: "r"},
		{Name: "wo_KEY", Value: "w"},
		{Name: "KEY", Value: "k"},
		{Name: "PASSED", Value: "the stack's"},
		{Name: "TF_VAR_spacelift_run_id", Value: "the stack may"},
	}
	carried := &park.Carry{
		Set:   map[string]string{"KEY": "changed", "PLAIN": "changed", "NEW": "new\nline", "CRED": "stolen", "SPACELIFT_X": "no", "TF_HTTP_ADDRESS": "no", "TF_VAR_spacelift_stack_id": "no"},
		Unset: []string{"PASSED", "ONLY", "TF_VAR_spacelift_account_name"},
	}
	for _, c := range []struct {
		name    string
		class   run.Class
		carried *park.Carry
		want    map[string]string
	}{
		{"a reading container", run.Read, nil, map[string]string{
			"PLAIN": "1", "KEY": "r", "PASSED": "the stack's", "CRED": "read cred", "ONLY": "o", "NOT_LISTED": "<unset>", "MISSING": "<unset>", "BOTH": "rb",
			"TF_VAR_spacelift_run_id": "the stack may", "TF_VAR_spacelift_stack_id": "slug", "ro_KEY": "<unset>",
		}},
		{"a writing container", run.Write, nil, map[string]string{"KEY": "w", "CRED": "plain cred", "ONLY": "<unset>", "BOTH": "b"}},
		{"a writing one after others", run.Write, carried, map[string]string{
			"PLAIN": "changed", "NEW": "new\nline", "KEY": "w", "CRED": "plain cred", "PASSED": "<unset>", "SPACELIFT_X": "<unset>", "TF_HTTP_ADDRESS": "<unset>",
			"TF_VAR_spacelift_stack_id": "slug", "TF_VAR_spacelift_account_name": "acc",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			j := &wire.Job{Class: c.class, Environment: vars, Stack: wire.JobStack{Slug: "slug"}, Account: "acc"}
			e := resolve(j, settings(t, launcher...), "/mnt/workspace", c.carried)
			for name, want := range c.want {
				if got := value(e, name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestWhatIsMasked(t *testing.T) {
	t.Parallel()
	s := settings(t, "SPACELIFT_MASK_ENVS=MASKED,FROM_JOB", "MASKED=masked value", "wo_MASKED=the other value", "SPACELIFT_WHITELIST_ENVS=OTHER", "OTHER=x")
	j := &wire.Job{
		Class:       run.Read,
		Environment: []wire.Variable{{Name: "wo_S", Value: "the other class's", Secret: true}, {Name: "FROM_JOB", Value: "job value"}, {Name: "OPEN", Value: "open"}},
		Files:       []wire.File{{Content: []byte("file content"), Secret: true}, {Content: []byte("open file")}},
	}
	e := resolve(j, s, "/w", &park.Carry{Masks: []string{"learned"}})
	for _, want := range []string{"masked value", "the other value", "the other class's", "job value", "file content", "learned"} {
		if !slices.Contains(e.secrets, want) {
			t.Errorf("%q is not masked", want)
		}
	}
	for _, open := range []string{"open", "open file", "x"} {
		if slices.Contains(e.secrets, open) {
			t.Errorf("%q is masked", open)
		}
	}
	if value(e, "MASKED") != "<unset>" {
		t.Error("masking passes it on")
	}
}

func TestSecretsTooShortToBeMaskedAreNamed(t *testing.T) {
	t.Parallel()
	s := settings(t, "SPACELIFT_MASK_ENVS=PIN,LONG,UNSET,PLAIN", "PIN=123", "LONG=long enough")
	j := &wire.Job{
		Environment: []wire.Variable{
			{Name: "wo_S", Value: "xy", Secret: true},
			{Name: "PLAIN", Value: "no"},
			{Name: "OPEN", Value: "no"},
			{Name: "FINE", Value: "four", Secret: true},
			{Name: "EMPTY", Secret: true},
		},
		Files: []wire.File{{Path: "source/pin", Content: []byte(" 1\n"), Secret: true}, {Path: "open", Content: []byte("1")}},
	}
	if got := strings.Join(unmasked(j, s), " "); got != "PIN PLAIN source/pin wo_S" {
		t.Errorf("got %s", got)
	}
}

func TestLabelsAreAListInHCLThatNothingInThemCanBreak(t *testing.T) {
	t.Parallel()
	j := &wire.Job{Stack: wire.JobStack{Labels: []string{"a", `b"${evil}`}}}
	got := computed(j, "/w")["TF_VAR_spacelift_stack_labels_list"]
	if got != `["a","b\"$${evil}"]` {
		t.Fatalf("got %s", got)
	}
}

func TestTheCoreNamesWhatAnApplyMayNotChange(t *testing.T) {
	t.Parallel()
	job := func() *wire.Job {
		return &wire.Job{
			Run: "r", Type: run.Tracked, Commit: wire.Commit{SHA: "s"}, ProjectRoot: "p", Hooks: map[string][]string{"before_plan": {"a", "b"}},
			Environment: []wire.Variable{{Name: "A", Value: "the value"}, {Name: "SPACELIFT_RUN", Value: "x"}}, Phases: []string{"init", "plan", "apply"},
		}
	}
	base := jobCore(job(), "s", "img").Digest()
	same := job()
	same.Environment = []wire.Variable{{Name: "SPACELIFT_OTHER"}, {Name: "A", Value: "rotated"}}
	same.State, same.Session, same.Attempt = run.PreparingApply, 9, 9
	if jobCore(same, "s", "img").Digest() != base {
		t.Fatal("a rotated value changes the core")
	}
	for name, change := range map[string]func(j *wire.Job){
		"hook":         func(j *wire.Job) { j.Hooks["before_plan"] = []string{"a", "c"} },
		"hook order":   func(j *wire.Job) { j.Hooks["before_plan"] = []string{"b", "a"} },
		"hook moved":   func(j *wire.Job) { j.Hooks = map[string][]string{"after_plan": {"a", "b"}} },
		"variable":     func(j *wire.Job) { j.Environment = append(j.Environment, wire.Variable{Name: "B"}) },
		"project root": func(j *wire.Job) { j.ProjectRoot = "q" },
		"command":      func(j *wire.Job) { j.Command = "x" },
		"tool":         func(j *wire.Job) { j.Vendor.Version = "2" },
		"phases":       func(j *wire.Job) { j.Phases = j.Phases[:2] },
	} {
		j := job()
		change(j)
		if jobCore(j, "s", "img").Digest() == base {
			t.Errorf("another %s makes the same core", name)
		}
	}
	if jobCore(job(), "t", "img").Digest() == base || jobCore(job(), "s", "other").Digest() == base {
		t.Error("another commit or image makes the same core")
	}
	if strings.Contains(string(jobCore(job(), "s", "img").Marshal()), "the value") {
		t.Error("a value stands in the core")
	}
}

func TestAStackOverridesTheProxyInBothSpellings(t *testing.T) {
	t.Parallel()
	s := settings(t, "HTTPS_PROXY=http://u:c4n4ry%2D1@proxy:3128", "NO_PROXY=a.example.com")
	e := resolve(&wire.Job{Class: run.Read}, s, "/w", nil)
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		if got := value(e, name); got != "http://u:c4n4ry%2D1@proxy:3128" {
			t.Errorf("%s is %q", name, got)
		}
	}
	for _, v := range e.vars {
		if v.Source == sourceProxy {
			t.Errorf("%s comes from %q", v.Name, v.Source)
		}
	}
	if !slices.Contains(e.secrets, "c4n4ry-1") || !slices.Contains(e.secrets, "c4n4ry%2D1") {
		t.Errorf("the proxy's password is not masked: %q", e.secrets)
	}
	e = resolve(&wire.Job{Class: run.Read, Environment: []wire.Variable{{Name: "https_proxy", Value: "http://own:1"}, {Name: "NO_PROXY", Value: ""}}}, s, "/w", nil)
	for name, want := range map[string]string{"https_proxy": "http://own:1", "HTTPS_PROXY": "<unset>", "NO_PROXY": "", "no_proxy": "<unset>"} {
		if got := value(e, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
