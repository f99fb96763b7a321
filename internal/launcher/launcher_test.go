package launcher_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spaceport-iac/spaceport/internal/launcher"
	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/container/supervise"
	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/launcher/policy"
	"github.com/spaceport-iac/spaceport/internal/launcher/policy/evaluator"
	"github.com/spaceport-iac/spaceport/internal/launcher/setting"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
	"github.com/spaceport-iac/spaceport/internal/worker"
)

// This test binary is launcher, supervisor and worker, as the real one is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch args := os.Args[1:]; args[0] {
		case "supervise":
			os.Exit(supervise.Main(args[1:]))
		case policy.EvaluatorCommand:
			os.Exit(evaluator.Main())
		case "put-state":
			os.Exit(putState(args[1]))
		case "worker":
			if len(args) == 3 && args[1] == "env-dump" {
				os.Exit(worker.EnvDump(args[2]))
			}
			os.Exit(worker.Main(context.Background(), worker.Options{Dir: args[2]}))
		}
	}
	goleak.VerifyTestMain(m)
}

// putState writes a state as Terraform would.
func putState(state string) int {
	req, err := http.NewRequest(http.MethodPost, os.Getenv("TF_HTTP_ADDRESS"), strings.NewReader(state))
	if err != nil {
		return 2
	}
	req.SetBasicAuth(os.Getenv("TF_HTTP_USERNAME"), os.Getenv("TF_HTTP_PASSWORD"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 3
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 4
	}
	return 0
}

// world is a mothership and a repository.
type world struct {
	*launchertest.Mothership
	t    testing.TB
	repo string
	sha  string
	data string
	env  []string
	// secrets are token and key as variables; the mothership's own if nil.
	secrets []string
	// wrap, if set, changes the backend of launchers that are started from now on.
	wrap func(container.Backend) container.Backend
}

func setup(t testing.TB, files map[string]string) *world {
	t.Helper()
	w := &world{Mothership: launchertest.New(t), t: t, repo: t.TempDir(), data: t.TempDir()}
	for name, content := range files {
		path := filepath.Join(w.repo, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "-A"}, {"commit", "-q", "--allow-empty", "-m", "first"}, {"rev-parse", "HEAD"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = w.repo
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b", "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git %v: %v", args, err)
		}
		w.sha = strings.TrimSpace(string(out))
	}
	return w
}

// job is a task's job, without init.
func (w *world) job(command string) wire.Job {
	return wire.Job{
		Type: run.Task, SkipInit: true, Command: command, Repository: "file://" + w.repo, Branch: "main", Commit: wire.Commit{SHA: w.sha},
		Stack: wire.JobStack{ID: "01HSTACK000000000000000000", Slug: "stack"}, Store: wire.JobState{Mode: wire.StateExternal, Digest: "none", Statement: "none"},
	}
}

// running is a launcher that runs in this process.
type running struct {
	signals chan os.Signal
	cancel  context.CancelFunc
	done    chan error
	log     *logged
}

type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (w *world) start(data string) *running {
	w.t.Helper()
	binary, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	secrets := w.secrets
	if secrets == nil {
		secrets = []string{"SPACELIFT_TOKEN=" + w.Token.Encode(), "SPACELIFT_POOL_PRIVATE_KEY=" + w.KeyB64}
	}
	settings, _, err := setting.Parse(setting.Input{
		Args:    []string{"--data", data, "--backend", "process", "--allow-file-source", "--log-level", "debug"},
		Environ: append(slices.Clone(secrets), w.env...), ReadFile: os.ReadFile,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	r := &running{signals: make(chan os.Signal, 4), done: make(chan error, 1), log: &logged{}}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	var backend func(data, runs string) (container.Backend, error)
	if wrap := w.wrap; wrap != nil {
		backend = func(data, runs string) (container.Backend, error) {
			p, err := container.NewProcess(container.ProcessOptions{DataDir: data, RunsDir: runs, Supervisor: []string{binary, "supervise"}})
			if err != nil {
				return nil, err
			}
			return wrap(p), nil
		}
	}
	go func() {
		r.done <- launcher.Run(ctx, launcher.Options{
			Backend: backend, Settings: settings, Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Version: "test", Binary: binary, Signals: r.signals,
		})
	}()
	w.t.Cleanup(func() {
		cancel()
		select {
		case err := <-r.done:
			if err != nil && !errors.Is(err, context.Canceled) {
				w.t.Logf("the launcher ended with %v", err)
			}
		case <-time.After(patience):
			w.t.Error("the launcher did not end")
		}
		if w.t.Failed() {
			w.t.Log(r.log.String())
		}
	})
	return r
}

// patience is how long a test waits for what must come. It matters to tests that fail
// alone, so it is far more than a machine with much else to do needs.
const patience = 2 * time.Minute

// wait polls until ok, and prints the last state it saw if that never comes.
func (w *world) wait(what string, ok func() (bool, string)) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		var done bool
		var saw string
		w.With(func() { done, saw = ok() })
		if done {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: last seen: %s", what, saw)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// summary is what is known of a run, without its log: a poll that prints megabytes
// keeps the mothership from all else.
func summary(r *launchertest.Run) string {
	logs := map[int]int{}
	for version, text := range r.Text {
		logs[version] = len(text)
	}
	return fmt.Sprintf("state %s, container %q, outcomes %+v, gone %+v, stop %+v, beats %d, bytes of log %v", r.Job.State, r.Container, r.Outcomes, r.Gone, r.Stop, len(r.Beats), logs)
}

func (w *world) over(r *launchertest.Run) wire.Outcome {
	w.t.Helper()
	w.wait("the run is over", func() (bool, string) { return r.Over, summary(r) })
	var o wire.Outcome
	w.With(func() {
		if len(r.Outcomes) > 0 {
			o = r.Outcomes[len(r.Outcomes)-1]
		}
	})
	return o
}

func (w *world) text(r *launchertest.Run) string {
	var all strings.Builder
	w.With(func() {
		for v := range 20 {
			all.Write(r.Text[v])
		}
	})
	return all.String()
}

// waiting lists the run directories of containers that wait for a job: they have
// no record, since they are no attempt's.
func (w *world) waiting(data string) (ids []string) {
	w.t.Helper()
	all, err := filepath.Glob(filepath.Join(data, "slots", "*", "runs", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, dir := range all {
		if filepath.Ext(dir) != "" {
			continue // being removed
		}
		if _, err := os.Stat(filepath.Join(dir, "private", "record.json")); err != nil {
			ids = append(ids, filepath.Base(dir))
		}
	}
	return ids
}

// empty fails if the data directory keeps anything of a run; one container may
// wait for the next.
func (w *world) empty(data string) {
	w.t.Helper()
	w.wait("nothing is left", func() (bool, string) {
		left, _ := filepath.Glob(filepath.Join(data, "slots", "*", "runs", "*"))
		kept, _ := filepath.Glob(filepath.Join(data, "slots", "*", "journal", "*"))
		return len(left)+len(kept) == min(1, len(w.waiting(data))), fmt.Sprint(left, kept)
	})
}

func TestAJobThatComesWithItsAssignmentIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	w := setup(t, map[string]string{"hello": "world\n"})
	w.Prompt = true
	var claims atomic.Int64
	w.Before = func(r *http.Request) int {
		if strings.HasSuffix(r.URL.Path, "/accept") || strings.HasSuffix(r.URL.Path, "/job") {
			claims.Add(1)
		}
		return 0
	}
	w.start(w.data)
	w.ran(w.job("cat hello")) // its launcher looks at what an earlier one left before it takes anything
	before := claims.Load()
	w.ran(w.job("cat hello"))
	if n := claims.Load(); n != before {
		t.Errorf("the job was asked for %d times more", n-before)
	}
}

func TestATrivialTaskRunsFromItsRegistrationToItsOutcome(t *testing.T) {
	t.Parallel()
	w := setup(t, map[string]string{"hello": "world\n"})
	j := w.job("cat hello; echo $GREETING $SECRET")
	j.Environment = []wire.Variable{{Name: "wo_GREETING", Value: "good day"}, {Name: "ro_GREETING", Value: "no"}, {Name: "SECRET", Value: "canary-77", Secret: true}}
	r := w.Enqueue(&launchertest.Run{Job: j})
	l := w.start(w.data)
	o := w.over(r)
	text := w.text(r)
	if o.Result != wire.ResultOK || o.ExitCode != 0 || o.Phase != run.PhasePerform || o.Container == "" {
		t.Fatalf("got %+v\n%s", o, text)
	}
	if !strings.Contains(text, "world\ngood day *****\n") || strings.Contains(text, "canary") {
		t.Fatalf("the log is %q", text)
	}
	w.empty(w.data)
	l.signals <- syscall.SIGTERM
	w.wait("the launcher deregisters", func() (bool, string) {
		for _, x := range w.Workers() {
			return x.Gone, fmt.Sprintf("%+v", x)
		}
		return false, "no worker"
	})
}
