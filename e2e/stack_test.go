//go:build e2e || bench

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/testkit"
)

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func runnerImage(t *testing.T) string {
	t.Helper()
	return testkit.RunnerImage(t)
}

// repository makes a bare repository with these files on branch main, serves
// it over HTTP with git's own server program, and returns its URL.
func repository(t *testing.T, files map[string]string) (url string, push func(map[string]string)) {
	t.Helper()
	root := t.TempDir()
	bare, work := filepath.Join(root, "infra.git"), filepath.Join(root, "work")
	git := func(args ...string) {
		t.Helper()
		run(t, []string{
			"GIT_AUTHOR_NAME=ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=ada", "GIT_COMMITTER_EMAIL=ada@example.com",
		}, append([]string{"git", "-C", root}, args...)...)
	}
	git("init", "-q", "--bare", "-b", "main", bare)
	git("init", "-q", "-b", "main", work)
	push = func(files map[string]string) {
		t.Helper()
		for name, content := range files {
			path := filepath.Join(work, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		git("-C", work, "add", "-A")
		git("-C", work, "commit", "-q", "-m", "Change the configuration")
		git("-C", work, "push", "-q", bare, "main")
	}
	push(files)
	execPath := strings.TrimSpace(run(t, nil, "git", "--exec-path"))
	server := httptest.NewServer(&cgi.Handler{
		Path: filepath.Join(execPath, "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"},
	})
	t.Cleanup(server.Close)
	_ = http.MethodGet
	return server.URL + "/infra.git", push
}

// configuration is a small real Terraform configuration that needs no provider
// from outside.
const configuration = `
variable "greeting" {
  type    = string
  default = "hello"
}

resource "terraform_data" "greeting" {
  input = var.greeting
}

resource "terraform_data" "dependant" {
  triggers_replace = [terraform_data.greeting.output]

  provisioner "local-exec" {
    command = "echo applied by the worker in $PWD"
  }
}

output "greeting" {
  value = terraform_data.greeting.output
}

output "hidden" {
  value     = "canary-output-5d1f"
  sensitive = true
}
`

type stackOptions struct {
	repository string
	mode       string // managed | sealed
	autodeploy bool
	hooks      map[string][]string
	vendor     map[string]any
	root       string
}

// stack makes a stack attached to the world's pool and returns its slug.
func (w *world) stack(name string, o stackOptions) string {
	w.t.Helper()
	input := map[string]any{
		"name": name, "administrative": false, "branch": "main", "provider": "GIT", "repository": "infra", "namespace": "",
		"repositoryURL": o.repository, "workerPool": w.pool, "autodeploy": o.autodeploy, "space": "root",
	}
	if o.root != "" {
		input["projectRoot"] = o.root
	}
	if o.mode == "sealed" {
		input["stateMode"] = "SEALED"
	}
	for hook, commands := range o.hooks {
		input[hook] = commands
	}
	if o.vendor != nil {
		input["vendorConfig"] = o.vendor
	}
	var got struct{ StackCreate struct{ ID string } }
	w.query(`mutation($input: StackInput!, $manage: Boolean!) { stackCreate(input: $input, manageState: $manage) { id } }`,
		map[string]any{"input": input, "manage": true}, &got)
	return got.StackCreate.ID
}

func (w *world) setConfig(stack, kind, id, value string, secret bool) {
	w.t.Helper()
	w.query(`mutation($stack: ID!, $config: ConfigInput!) { stackConfigAdd(stack: $stack, config: $config) { id checksum } }`,
		map[string]any{"stack": stack, "config": map[string]any{"id": id, "type": kind, "value": value, "writeOnly": secret}}, nil)
}

type runView struct {
	ID       string
	State    string
	Finished bool
	Delta    *struct{ AddCount, ChangeCount, DeleteCount, Resources int }
	History  []struct {
		State        string
		StateVersion int
		Note         string
		HasLogs      bool
		Terminal     bool
	}
}

const runFields = `id state finished delta { addCount changeCount deleteCount resources } history { state stateVersion note hasLogs terminal }`

func (w *world) trigger(stack string) string {
	w.t.Helper()
	var got struct{ RunTrigger struct{ ID string } }
	w.query(`mutation($stack: ID!, $type: RunType) { runTrigger(stack: $stack, runType: $type) { id } }`,
		map[string]any{"stack": stack, "type": "TRACKED"}, &got)
	return got.RunTrigger.ID
}

func (w *world) task(stack, command string, skipInit bool) string {
	w.t.Helper()
	var got struct{ TaskCreate struct{ ID string } }
	w.query(`mutation($stack: ID!, $command: String!, $skip: Boolean) { taskCreate(stack: $stack, command: $command, skipInitialization: $skip) { id } }`,
		map[string]any{"stack": stack, "command": command, "skip": skipInit}, &got)
	return got.TaskCreate.ID
}

func (w *world) run(stack, id string) runView {
	w.t.Helper()
	var got struct{ Stack struct{ Run runView } }
	w.query(`query($stack: ID!, $run: ID!) { stack(id: $stack) { run(id: $run) { `+runFields+` } } }`,
		map[string]any{"stack": stack, "run": id}, &got)
	return got.Stack.Run
}

// reach waits until the run is in a state, and fails at once when it ends in another.
func (w *world) reach(stack, id, state string, within time.Duration) runView {
	w.t.Helper()
	var view runView
	eventually(w.t, within, "state "+state, func() string {
		view = w.run(stack, id)
		if view.State == state {
			return ""
		}
		if view.Finished {
			w.t.Fatalf("run %s ended %s instead of %s\n%+v\n%s", id, view.State, state, view.History, w.logs(stack, id))
		}
		return fmt.Sprintf("%s %+v", view.State, view.History)
	})
	return view
}

func (w *world) act(mutation, stack, run string) error {
	return w.try(`mutation($stack: ID!, $run: ID!) { `+mutation+`(stack: $stack, run: $run) { id state } }`,
		map[string]any{"stack": stack, "run": run}, nil)
}

// logs returns the whole log of a run, oldest state first.
func (w *world) logs(stack, id string) string {
	w.t.Helper()
	view := w.run(stack, id)
	var all strings.Builder
	for i := len(view.History) - 1; i >= 0; i-- {
		h := view.History[i]
		if !h.HasLogs {
			continue
		}
		fmt.Fprintf(&all, "=== %s %d\n%s", h.State, h.StateVersion, w.stateLog(stack, id, h.State, h.StateVersion))
	}
	return all.String()
}

func (w *world) stateLog(stack, id, state string, version int) string {
	w.t.Helper()
	text, _ := w.follow(stack, id, state, version, nil)
	return text
}

// follow reads a log on from a token, and gives the token for the next call.
func (w *world) follow(stack, id, state string, version int, token *string) (string, *string) {
	w.t.Helper()
	var all strings.Builder
	for {
		var got struct {
			Stack struct {
				Run struct {
					Logs struct {
						HasMore   bool
						NextToken *string
						Messages  []struct{ Message string }
					}
				}
			}
		}
		w.query(`query($stack: ID!, $run: ID!, $state: RunState!, $version: Int, $token: String) { stack(id: $stack) { run(id: $run) {
			logs(state: $state, stateVersion: $version, token: $token) { hasMore nextToken messages { message } } } } }`,
			map[string]any{"stack": stack, "run": id, "state": state, "version": version, "token": token}, &got)
		logs := got.Stack.Run.Logs
		for _, m := range logs.Messages {
			all.WriteString(m.Message)
		}
		if logs.NextToken != nil {
			token = logs.NextToken
		}
		if !logs.HasMore {
			return all.String(), token
		}
	}
}

func (w *world) outputs(stack string) map[string]string {
	w.t.Helper()
	var got struct {
		Stack struct {
			Outputs []struct {
				ID, Value string
				Sensitive bool
			}
		}
	}
	w.query(`query($stack: ID!) { stack(id: $stack) { outputs { id value sensitive } } }`, map[string]any{"stack": stack}, &got)
	out := map[string]string{}
	for _, o := range got.Stack.Outputs {
		out[o.ID] = o.Value
	}
	return out
}
