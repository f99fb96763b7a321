package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// TestMain lets the test binary be the worker, since a worker takes over its
// process: children, signals, environment.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "worker" {
		if os.Args[2] == "env-dump" {
			os.Exit(EnvDump(os.Args[3]))
		}
		if os.Args[2] == "wrap" {
			// A wrapper around a tool, that dies of an interrupt without waiting.
			c := exec.Command(os.Args[3], os.Args[4:]...)
			c.Stdout, c.Stderr = os.Stdout, os.Stderr
			_ = c.Run()
			os.Exit(0)
		}
		limit, _ := time.ParseDuration(os.Getenv("TEST_RELEASE_LIMIT"))
		os.Exit(Main(context.Background(), Options{Dir: os.Args[2], ReleaseLimit: limit}))
	}
	goleak.VerifyTestMain(m)
}

// box is a run's directory with a worker that runs in it, seen from the launcher.
type box struct {
	t   testing.TB
	dir *rundir.Dir
	job wire.WorkerJob
	cmd *exec.Cmd
	env []string
	// answer handles a request; nil answers everything with 200.
	answer func(r wire.Request, body []byte) (wire.Answer, []byte)

	stderr bytes.Buffer
	mu     sync.Mutex
	log    strings.Builder
	events []wire.Event
	asked  []wire.Request
}

const boxID = "01JZ0000000000000000000000"

// setup makes a directory with an empty repository and a job that a test changes.
func setup(t testing.TB, files map[string]string) *box {
	t.Helper()
	dir, err := rundir.Create(t.TempDir(), boxID, rundir.Options{UID: os.Getuid(), GID: os.Getgid()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Remove() })
	b := &box{t: t, dir: dir}
	b.write("", "")
	for name, content := range files {
		b.write(name, content)
	}
	b.job = wire.WorkerJob{
		V: 1, Run: "01JZ0000000000000000000001", Attempt: 1, Container: boxID,
		Class: run.Write, RunType: run.Task, Phases: []wire.WorkerPhase{{Phase: run.PhasePerform}},
		Command: "echo hello", Vendor: wire.Vendor{Name: "terraform"},
		WorkspaceRoot: dir.Workspace(), StateMode: wire.StateExternal, Final: true,
		GraceMs: 5000, TimeoutMs: 60_000, SilenceMs: 60_000, FenceMs: 60_000,
	}
	return b
}

// write puts a file into the repository; an empty name makes the repository alone.
func (b *box) write(name, content string) {
	b.t.Helper()
	path := filepath.Join(b.dir.Workspace(), wire.SourceDir, name)
	if name == "" {
		if err := os.MkdirAll(path, 0o755); err != nil {
			b.t.Fatal(err)
		}
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// start releases the job and starts the worker.
func (b *box) start() {
	b.t.Helper()
	if err := b.dir.Release(b.job); err != nil {
		b.t.Fatal(err)
	}
	b.startWaiting()
}

// startWaiting starts the worker without a job.
func (b *box) startWaiting() {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	b.cmd = exec.Command(self, "worker", b.dir.Path())
	b.cmd.Env = append(os.Environ(), b.env...)
	b.cmd.Stderr = &b.stderr
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
}

// wait plays the launcher until the worker has ended, and returns its result.
func (b *box) wait() *wire.RunResult {
	b.t.Helper()
	if err := b.serve(); err != nil {
		b.t.Fatalf("the worker ended with %v\n%s", err, b.stderr.String())
	}
	r, err := b.dir.ReadResult()
	if err != nil {
		b.t.Fatalf("%v\n%s", err, b.stderr.String())
	}
	if r.LogBytes != int64(b.log.Len()) {
		b.t.Errorf("the result says %d bytes of log, %d were read", r.LogBytes, b.log.Len())
	}
	return r
}

// run is start and wait.
func (b *box) run() *wire.RunResult {
	b.t.Helper()
	b.start()
	return b.wait()
}

// serve reads and answers until the worker has ended.
func (b *box) serve() error {
	ended := make(chan error, 1)
	go func() { ended <- b.cmd.Wait() }()
	log, events := b.dir.LogReader(rundir.LogPosition{}), b.dir.EventReader(rundir.EventPosition{})
	defer func() { _ = errors.Join(log.Close(), events.Close()) }()
	w := b.dir.WatchOut()
	defer w.Close()
	kill := time.AfterFunc(time.Minute, func() { _ = b.cmd.Process.Kill() })
	defer kill.Stop()
	for {
		select {
		case err := <-ended:
			b.look(log, events)
			return err
		case <-w.C:
			b.look(log, events)
		}
	}
}

func (b *box) look(log *rundir.LogReader, events *rundir.EventReader) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		p, err := log.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			b.t.Errorf("read the log: %v", err)
			break
		}
		b.log.Write(p)
	}
	for {
		e, err := events.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			b.t.Errorf("read the events: %v", err)
			break
		}
		b.events = append(b.events, e)
	}
	requests, err := b.dir.Requests()
	if err != nil {
		b.t.Errorf("read the requests: %v", err)
	}
	for _, r := range requests {
		b.reply(r)
	}
}

func (b *box) reply(r wire.Request) {
	b.t.Helper()
	b.asked = append(b.asked, r)
	var body []byte
	if r.Body {
		f, err := b.dir.RequestBody(r.ID)
		if err != nil {
			b.t.Errorf("read a request's body: %v", err)
			return
		}
		body, _ = io.ReadAll(f)
		_ = f.Close()
	}
	a, with := wire.Answer{Status: 200}, []byte(nil)
	if b.answer != nil {
		a, with = b.answer(r, body)
	}
	a.ID = r.ID
	var from io.Reader
	if with != nil {
		from = bytes.NewReader(with)
	}
	if err := b.dir.Answer(a, from); err != nil {
		b.t.Errorf("answer a request: %v", err)
	}
}

// until waits for a text in the log while the worker runs beside wait.
func (b *box) until(text string) {
	b.t.Helper()
	w := b.dir.WatchOut()
	defer w.Close()
	deadline := time.After(time.Minute)
	for {
		b.mu.Lock()
		log := b.log.String()
		b.mu.Unlock()
		if strings.Contains(log, text) {
			return
		}
		select {
		case <-deadline:
			b.t.Errorf("the log never had %q; it has:\n%s", text, log)
			return
		case <-w.C:
		}
	}
}

// meanwhile runs the worker, waits for a text in its log, does something, and
// returns the result.
func (b *box) meanwhile(text string, do func()) *wire.RunResult {
	b.t.Helper()
	b.start()
	var wg sync.WaitGroup
	wg.Go(func() {
		b.until(text)
		do()
	})
	defer wg.Wait()
	return b.wait()
}

// beatUntil lets the lease go on, beside wait, until the log has a text.
func (b *box) beatUntil(text string) {
	go func() {
		w := b.dir.WatchOut()
		defer w.Close()
		for beat := int64(1); ; beat++ {
			b.mu.Lock()
			seen := strings.Contains(b.log.String(), text)
			b.mu.Unlock()
			if seen || b.dir.Lease(beat) != nil {
				return
			}
			<-w.C
		}
	}()
}

func (b *box) wantLog(texts ...string) {
	b.t.Helper()
	rest := b.log.String()
	for _, text := range texts {
		i := strings.Index(rest, text)
		if i < 0 {
			b.t.Errorf("the log has no %q, at least not in this order:\n%s", text, b.log.String())
			return
		}
		rest = rest[i+len(text):]
	}
}

func (b *box) wantNoLog(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		if strings.Contains(b.log.String(), text) {
			b.t.Errorf("the log has %q:\n%s", text, b.log.String())
		}
	}
}

func (b *box) carry() *wire.Carry {
	b.t.Helper()
	c, err := b.dir.ReadCarry()
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func want(t *testing.T, r *wire.RunResult, result wire.Result, code int, reason string) {
	t.Helper()
	if r.Result != result || r.ExitCode != code || !strings.Contains(r.Reason, reason) {
		data, _ := json.Marshal(r)
		t.Errorf("result %s, want %s, exit code %d, reason with %q", data, result, code, reason)
	}
}

// workflow is a custom workflow of commands that need no tool.
func workflow(change map[string]string) string {
	commands := map[string]string{
		"init": "echo init", "workspaceSelect": "false", "workspaceNew": "echo new {{.WorkspaceName}}",
		"plan": "echo plan {{.PlanFileName}}", "showState": "echo {}",
		"showPlan": `echo '{"format_version":"1.2"}'`, "getOutputs": "echo '{}'",
		"apply": "echo apply", "destroy": "echo destroy",
	}
	for k, v := range change {
		if v == "" {
			delete(commands, k)
			continue
		}
		commands[k] = v
	}
	data, _ := json.Marshal(commands) // JSON is YAML
	return string(data)
}

// custom sets up a job of a custom vendor with some phases.
func setupCustom(t *testing.T, change map[string]string, phases ...run.Phase) *box {
	t.Helper()
	b := setup(t, map[string]string{workflowFile: workflow(change)})
	b.job.Vendor.Name = "custom"
	b.job.RunType = run.Tracked
	b.job.Phases = nil
	for _, p := range phases {
		b.job.Phases = append(b.job.Phases, wire.WorkerPhase{Phase: p})
		b.job.Class = p.Class()
	}
	return b
}

// openInside opens the worker's side of a box without a worker.
func openInside(b *box) (*rundir.Inside, error) { return rundir.OpenInside(b.dir.Path()) }
