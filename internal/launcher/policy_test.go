package launcher_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// govern gives the launchers that are started from now on a policy.
func (w *world) govern(text string) {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "policy.rego")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.env = append(w.env, "SPACELIFT_LAUNCHER_RUN_INITIALIZATION_POLICY="+path)
}

// decisions is what the decision logs below a data directory say.
func decisions(t *testing.T, data string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(data, "*", "*", "decisions", "*.jsonl"))
	if err != nil || len(names) == 0 {
		t.Fatalf("there is no decision log: %v", err)
	}
	var all strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

func (w *world) denied(r *launchertest.Run, want string) {
	w.t.Helper()
	o, text := w.over(r), w.text(r)
	if o.Result != wire.ResultRefused || !strings.Contains(o.Reason, want) || !strings.Contains(text, want) {
		w.t.Fatalf("got %+v\n%s", o, text)
	}
	w.empty(w.data)
}

func TestAPolicyDeniesBeforeTheSourceIsContacted(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	w.govern("package spacelift\ndeny[msg] { stack.slug == \"stack\"; startswith(input.command, \"curl\"); msg := sprintf(\"no %s here\", [input.command]) }")
	var contacted atomic.Int32
	source := http.NewServeMux()
	source.HandleFunc("/", func(rw http.ResponseWriter, _ *http.Request) { contacted.Add(1); rw.WriteHeader(http.StatusNotFound) })
	there := listen(t, source)
	j := w.job("curl evil")
	j.Repository = there + "/a/b.git"
	r := w.Enqueue(&launchertest.Run{Job: j})
	w.start(w.data)
	w.denied(r, "denied by the run initialization policy: no curl evil here")
	if n := contacted.Load(); n != 0 {
		t.Errorf("the source was contacted %d times", n)
	}
	// What is allowed comes as far as the source: the counter counts.
	j.Command = "echo fine"
	w.over(w.Enqueue(&launchertest.Run{Job: j}))
	if contacted.Load() == 0 {
		t.Error("the source was never contacted")
	}
}

func TestAPolicyDeniesWhatWasResolved(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	w.env = append(w.env, "SPACELIFT_WHITELIST_ENVS=wo_PASSED", "PASSED=canary-88")
	w.govern(`package spacelift
deny contains msg if {
	input.stage == "resolved"
	input.class == "write"
	some v in input.opens.variables
	v.source == "launcher"
	msg := sprintf("%s of the launcher at %s: %s", [v.name, input.run.commit.hash, input.static_run_environment.environment_variables[v.name]])
}`)
	j := w.job("echo ran; touch " + filepath.Join(w.data, "ran"))
	j.Commit.SHA = "" // pinned by the launcher, so known only when resolved
	j.Environment = []wire.Variable{{Name: "SECRET", Value: "canary-77", Secret: true, Source: "stack"}}
	r := w.Enqueue(&launchertest.Run{Job: j})
	w.start(w.data)
	w.denied(r, "PASSED of the launcher at "+w.sha+": *****")
	if _, err := os.Stat(filepath.Join(w.data, "ran")); err == nil {
		t.Error("it was run")
	}
	log := decisions(t, w.data)
	if strings.Count(log, `"outcome":"allow"`) != 1 || strings.Count(log, `"outcome":"deny"`) != 1 || strings.Contains(log, "canary") {
		t.Errorf("got %s", log)
	}
}

func TestAPolicyIsAskedAgainBeforeTheApply(t *testing.T) {
	t.Parallel()
	w, j := tracked(t)
	w.govern(`package spacelift
deny contains sprintf("no %s on fridays", [concat(",", input.now_phases)]) if { input.stage == "resolved"; input.class == "write"; input.hooks.before_apply[_] == "echo hooked" }`)
	r := w.Enqueue(&launchertest.Run{Job: j})
	w.start(w.data)
	w.denied(r, "no apply on fridays")
	if strings.Contains(w.text(r), "applying") {
		t.Error("it was applied")
	}
	w.With(func() {
		if fmt.Sprint(r.Phases) != "[init plan apply]" || r.Outcomes[0].Result != wire.ResultOK {
			t.Errorf("got %v %+v", r.Phases, r.Outcomes)
		}
	})
	log := decisions(t, w.data)
	if strings.Count(log, `"class":"read"`) < 2 || strings.Contains(log, "canary-77") || strings.Count(log, `"FROM_INIT":"*****"`) != 1 {
		t.Errorf("got %s", log)
	}
}

func TestAPolicyIsAskedBeforeAParkedWorkspaceIsOpened(t *testing.T) {
	t.Parallel()
	w, j := parked(t)
	w.govern("package spacelift\ndeny contains \"not on this worker\" if { input.opens.workspace; input.fetches == null }")
	var opened atomic.Int32
	w.Before = func(r *http.Request) int {
		if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/objects/parked/") {
			opened.Add(1)
		}
		return 0
	}
	r := w.Enqueue(&launchertest.Run{Job: j, Class: run.Write, Ref: wire.AttemptRef{Run: j.Run, Attempt: 2}, Version: 8})
	w.start(w.data)
	w.denied(r, "not on this worker")
	if n := opened.Load(); n != 0 {
		t.Errorf("the workspace was downloaded %d times", n)
	}
}

func TestAPolicyThatAllowsLetsTheRunThrough(t *testing.T) {
	t.Parallel()
	w, j := tracked(t)
	w.govern("package spacelift\ndeny[\"never\"] { input.run.type == \"DESTROY\" }")
	r := w.Enqueue(&launchertest.Run{Job: j})
	w.start(w.data)
	applied(t, w, r, w.over(r))
	if text := w.text(r); !strings.Contains(text, "The run initialization policy allows this run") {
		t.Errorf("got %s", text)
	}
	if log := decisions(t, w.data); strings.Count(log, `"outcome":"allow"`) != 4 {
		t.Errorf("got %s", log)
	}
}

func TestAPolicyThatFillsTheMemoryDeniesAndTheLauncherLives(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	w.govern("package spacelift\ndeny contains \"x\" if { input.command != \"echo fine\"; count([s | some i in numbers.range(1, 1000000); s := sprintf(\"%0500d\", [i])]) == 1 }")
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo ran")})
	w.start(w.data)
	w.denied(r, "gave no answer, so the run is denied: the policy ")
	next := w.Enqueue(&launchertest.Run{Job: w.job("echo fine")})
	if o := w.over(next); o.Result != wire.ResultOK {
		t.Errorf("got %+v", o)
	}
}

// A policy that loops is ended at its time limit and denies, and the launcher takes the
// next run.
func TestAPolicyThatLoopsWithoutEndDeniesAndTheLauncherLives(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	w.govern("package spacelift\ndeny contains \"x\" if { input.command != \"echo fine\"; some i in numbers.range(1, 100000); some j in numbers.range(1, 100000); i * j < 0 }")
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo ran")})
	w.start(w.data)
	w.denied(r, "gave no answer, so the run is denied: the policy ")
	if text := w.text(r); !strings.Contains(text, " takes longer than ") || strings.Contains(text, "\nran\n") {
		t.Errorf("got %s", text)
	}
	if log := decisions(t, w.data); !strings.Contains(log, `"outcome":"error"`) || !strings.Contains(log, " takes longer than ") {
		t.Errorf("got %s", log)
	}
	w.ran(w.job("echo fine"))
}

func TestAWrongPolicyStopsTheStart(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	w.govern("package spacelift\n\ndeny contains \"x\" if time.now_ns() > 0")
	l := w.start(w.data)
	err := <-l.done
	l.done <- nil
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "SPACELIFT_LAUNCHER_RUN_INITIALIZATION_POLICY: the policy ") ||
		!strings.Contains(err.Error(), "policy.rego, line 3, rule deny: undefined function time.now_ns") {
		t.Errorf("got %v", err)
	}
	if len(w.Workers()) != 0 {
		t.Error("it registered all the same")
	}
}

// listen serves h until the test is over, and returns its address.
func listen(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
