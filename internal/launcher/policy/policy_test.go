package policy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/policy"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func open(t *testing.T, text string, change ...func(*policy.Options)) (*policy.Policy, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "p.rego")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o := policy.Options{
		Path: path, Evaluator: []string{self, policy.EvaluatorCommand}, Now: time.Now, Log: slog.New(slog.DiscardHandler), Time: time.Minute,
	}
	for _, f := range change {
		f(&o)
	}
	p, err := policy.Open(t.Context(), o)
	if err != nil {
		return nil, fmt.Errorf("%w", err)
	}
	return p, nil
}

func must(t *testing.T, text string, change ...func(*policy.Options)) *policy.Policy {
	t.Helper()
	p, err := open(t, text, change...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPoliciesDecide(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text, version string
		deny                []string
		sample              bool
	}{
		{"an empty deny allows", "package spacelift", "v1", nil, false},
		{"v0, the documented form", "package spacelift\ndeny[\"no\"] { true }", "v0", []string{"no"}, false},
		{"v0 without a body", "package spacelift\ndeny[\"no\"]", "v0", []string{"no"}, false},
		{"v0 with a message", "package spacelift\ndeny[m] { m := sprintf(\"run %s\", [input.run.type]) }", "v0", []string{"run TRACKED"}, false},
		{"v0 with words of v1", "package spacelift\nimport future.keywords\ndeny contains \"no\" if input.class == \"read\"", "v1", []string{"no"}, false},
		{"v1", "package spacelift\ndeny contains \"no\" if true", "v1", []string{"no"}, false},
		{"v1 by import", "package spacelift\nimport rego.v1\ndeny contains \"no\" if input.stage == \"resolved\"", "v1", []string{"no"}, false},
		{"sample", "package spacelift\nsample { true }", "v0", nil, true},
		{"sample with default", "package spacelift\ndefault sample := false\nsample if input.run.type == \"TASK\"", "v1", nil, false},
		{"aliases", "package spacelift\ndeny contains msg if { run.type == \"TRACKED\"; stack.slug == \"network\"; commit.author == \"alice\"; runtime_config.project_root == \"live\"; msg := \"all\" }", "v1", []string{"all"}, false},
		{"an alias may be the policy's own", "package spacelift\nstack := \"mine\"\ndeny contains stack if true", "v1", []string{"mine"}, false},
		{"both shapes", "package spacelift\ndeny contains \"a\" if input.static_run_environment.stack_slug == input.stack.slug\ndeny contains \"b\" if input.static_run_environment.commit_sha == input.run.commit.hash", "v1", []string{"a", "b"}, false},
		{"sanitized", "package spacelift\ndeny contains sanitized(\"x\") if true", "v1", []string{"921a4881"}, false},
		{"exec", "package spacelift\ndeny contains r.stdout if { r := exec([\"sh\", \"-c\", \"echo $0; exit 3\", \"a;b\"]); r.status == 3 }", "v1", []string{"a;b"}, false},
		{"exec has nothing of the launcher's environment", "package spacelift\ndeny contains r.stdout if r := exec([\"sh\", \"-c\", \"env | cut -d= -f1 | grep -v -e PWD -e SHLVL -e ^_ | sort | tr '\\n' ' '\"])", "v1", []string{"HOME LANG PATH"}, false},
		{"what is no text denies too", "package spacelift\ndeny contains {\"a\": 1} if true", "v1", []string{`{"a":1}`}, false},
		{"lines of a job stay one line", "package spacelift\ndeny contains \"a\\n[evil] \\u001b[2Jb\\u202ec\" if true", "v1", []string{"a [evil] [2Jb c"}, false},
		{"a secret's value is not there", "package spacelift\ndeny contains v if v := input.static_run_environment.environment_variables.AWS_SECRET_ACCESS_KEY", "v1", []string{"*****"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := must(t, c.text)
			d, err := p.Evaluate(t.Context(), policy.Sample())
			if err != nil {
				t.Fatal(err)
			}
			if p.Version() != c.version || !slices.Equal(d.Deny, c.deny) || d.Sample != c.sample {
				t.Errorf("got %s %q %v", p.Version(), d.Deny, d.Sample)
			}
		})
	}
}

func TestAWrongFileIsNamedWithLineAndRule(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"no Rego", "hello world", "p.rego, line 1: "},
		{"empty", "", "p.rego is empty"},
		{"another package", "package other\ndeny contains \"x\" if true", "line 1: the package is other, so its rules would never be asked"},
		{"a syntax error of v1", "package spacelift\ndeny contains \"x\" if {\n  input.run.\n}", "p.rego, line 4: unexpected"},
		{"a syntax error of v0", "package spacelift\ndeny[\"x\"] {\n  true\n}\nsample { input. }", "p.rego, line 5: unexpected"},
		{"a missing bracket in v0", "package spacelift\ndeny[\"x\"] { true }\nimport input.run\nsample { true", "(read as Rego v0)"},
		{"an undefined function", "package spacelift\n\ndeny contains \"x\" if nosuch(1)", "line 3, rule deny: undefined function nosuch"},
		{"an unsafe variable", "package spacelift\ndeny contains x if true", "line 2, rule deny: var x is unsafe"},
		{"deny is true or false", "package spacelift\ndeny if true", "line 2, rule deny: deny must be a set of messages"},
		{"deny is a map by mistake", "package spacelift\nimport rego.v1\ndeny[msg] if msg := \"x\"", "line 3, rule deny: deny must be a set of messages"},
		{"deny is a function", "package spacelift\ndeny(x) if x", "line 2, rule deny: deny must be a set"},
		{"deny has a default", "package spacelift\ndefault deny := false", "line 2, rule deny: deny must be a set"},
		{"sample is a set", "package spacelift\nsample contains \"x\" if true", "line 2, rule sample: sample must be true or false"},
		{"the network", "package spacelift\ndeny contains \"x\" if http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1\"})", "http.send is not available to a run initialization policy"},
		{"names of hosts", "package spacelift\ndeny contains \"x\" if net.lookup_ip_addr(\"x\")", "net.lookup_ip_addr is not available"},
		{"the launcher", "package spacelift\ndeny contains \"x\" if opa.runtime()", "opa.runtime is not available"},
		{"the clock", "package spacelift\ndeny contains \"x\" if time.now_ns() > 0", "time.now_ns is not available"},
		{"other modules", "package spacelift\ndeny[\"x\"] { rego.parse_module(\"a\", \"b\") }", "rego.parse_module is not available"},
		{"traces", "package spacelift\ndeny[\"x\"] { trace(\"a\") }", "trace is not available"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := open(t, c.text)
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := open(t, "", func(o *policy.Options) { o.Path += ".missing" }); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "cannot be read: no such file") {
		t.Errorf("got %v", err)
	}
}

func TestAPolicyThatDeniesNothingIsWarnedOf(t *testing.T) {
	t.Parallel()
	p := must(t, "package spacelift\nallow if true\ndenny contains \"x\" if true")
	if w := strings.Join(p.Warnings(), "\n"); !strings.Contains(w, "no rule deny") || !strings.Contains(w, "allow decides nothing") {
		t.Errorf("got %s", w)
	}
}

// Each of these would hang or fill the launcher if it were evaluated in it, or let
// the run through if a failure meant "no message".
func TestAPolicyWithoutAnAnswerDenies(t *testing.T) {
	t.Parallel()
	short := func(o *policy.Options) { o.Time = 500 * time.Millisecond }
	for _, c := range []struct {
		name, text, code string
		change           func(*policy.Options)
	}{
		{"loops", "package spacelift\ndeny contains \"x\" if { some i in numbers.range(1, 100000); some j in numbers.range(1, 100000); i * j < 0 }", "policy_time", short},
		{"waits for a command", "package spacelift\ndeny contains \"x\" if exec([\"sleep\", \"3600\"]).status == 1", "policy_time", short},
		{"waits for what a command has left", "package spacelift\ndeny contains \"x\" if exec([\"sh\", \"-c\", \"sleep 3600 & wait\"]).status == 1", "policy_time", short},
		{"allocates", "package spacelift\ndeny contains \"x\" if count([s | some i in numbers.range(1, 1000000); s := sprintf(\"%0500d\", [i])]) == 1", "policy_memory", nil},
		{"divides by zero", "package spacelift\ndeny contains \"x\" if 1 / (input.attempt - 1) == 1", "policy_evaluation", nil},
		{"contradicts itself", "package spacelift\nsample := true\nsample := false if input.run.type == \"TRACKED\"", "policy_evaluation", nil},
		{"samples a text", "package spacelift\nsample := input.run.type", "policy_answer", nil},
		{"runs what is not there", "package spacelift\ndeny contains \"x\" if exec([\"/nonexistent/verify\"]).status == 1", "policy_evaluation", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := must(t, c.text)
			if c.change != nil {
				p = must(t, c.text, c.change)
			}
			_, err := p.Ask(t.Context(), sample(t), func(s string) string { return s })
			f := fault.As(err)
			if f == nil || f.Code != "forbidden.policy_failed" || !strings.Contains(f.Message, "gave no answer, so the run is denied") {
				t.Fatalf("got %v", err)
			}
			if _, err = p.Evaluate(t.Context(), policy.Sample()); fault.As(err) == nil || fault.As(err).Code != fault.Code("invalid."+c.code) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func sample(t *testing.T) *policy.Input {
	t.Helper()
	var in policy.Input
	if err := json.Unmarshal(policy.Sample(), &in); err != nil {
		t.Fatal(err)
	}
	return &in
}

func TestDecisionsAndSamplesAreKeptWithoutSecrets(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "decisions")
	var samples bytes.Buffer
	p := must(t, "package spacelift\ndeny contains msg if { msg := concat(\" \", input.hooks.before_init); print(\"will run\", msg) }\nsample if true", func(o *policy.Options) {
		o.Decisions, o.Samples = dir, &samples
	})
	in := sample(t)
	in.Hooks["before_init"] = []string{"curl -H canary-77"}
	_, err := p.Ask(t.Context(), in, func(s string) string { return strings.ReplaceAll(s, "canary-77", "*****") })
	if f := fault.As(err); f == nil || f.Code != "forbidden.policy" || !strings.Contains(f.Message, "curl -H canary-77") {
		t.Fatalf("the policy must see what will be run: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(dir, in.Run.ID+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(data), samples.String()} {
		if strings.Contains(text, "canary-77") || !strings.Contains(text, "curl -H *****") || strings.Count(text, "\n") != 1 {
			t.Errorf("got %s", text)
		}
	}
	var r policy.Record
	if err := json.Unmarshal(data, &r); err != nil || r.Outcome != policy.Denied || r.Policy != p.Digest() || r.Run != in.Run.ID || r.Input == nil {
		t.Errorf("got %v %+v", err, r)
	}
	if len(r.Print) != 1 || !strings.Contains(r.Print[0], "will run curl -H *****") || !slices.Equal(r.Deny, []string{"curl -H *****"}) {
		t.Errorf("got %q, printed %q", r.Deny, r.Print)
	}
	if !strings.Contains(samples.String(), "Sample 0/INITIALIZATION/"+in.Run.ID+"/deny") {
		t.Errorf("got %s", samples.String())
	}
	if st, err := os.Stat(filepath.Join(dir, in.Run.ID+".jsonl")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("got %v %v", st, err)
	}
}

func TestTheInputHasNoSecrets(t *testing.T) {
	t.Parallel()
	const canary = "canary-77"
	j := &wire.Job{
		Repository: "https://user:" + canary + "@git.example.com/a/b.git", Class: run.Write, Credential: &wire.SourceCredential{Host: "git.example.com", Token: canary, SSHKey: canary},
		Files:   []wire.File{{Path: "f", Content: []byte(canary), Secret: true}},
		Parked:  &wire.Parked{URL: "https://objects/?signature=" + canary},
		LogURLs: []wire.LogURL{{URL: canary}},
	}
	in := policy.NewInput(j, policy.Facts{Environment: []wire.Variable{
		{Name: "A", Value: canary, Secret: true, Source: "stack"},
		{Name: "B", Value: canary, Source: "launcher"},
		{Name: "C", Value: canary, Source: "runtime"},
		{Name: "D", Value: "open", Source: "stack"},
		{Name: "E", Value: j.Repository, Source: "computed"},
	}})
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), canary) || in.Opens.Files[0].SHA256 != "" {
		t.Errorf("got %s", data)
	}
	if in.Static.Environment["D"] != "open" || in.Stack.Repository != "https://git.example.com/a/b.git" || in.Static.RepositoryPath != "a/b" || !in.Opens.Workspace || in.Fetches != nil {
		t.Errorf("got %+v", in)
	}
}
