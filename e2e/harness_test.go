//go:build e2e || bench

package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a child of a test: the server or a launcher.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	log  *logFile
	done chan struct{}
}

// logFile keeps what a process printed, readable while it prints.
type logFile struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logFile) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func binary(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	return path
}

func start(t *testing.T, name string, env []string, argv ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, log: &logFile{}, done: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()}, env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the exit code is read from ProcessState
	}()
	t.Cleanup(func() {
		p.stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("--- log of %s\n%s", name, tail(p.log.String(), 6000))
		}
	})
	return p
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// stop signals the process and waits for its end, by force if it must.
func (p *process) stop(signal syscall.Signal) {
	_ = p.cmd.Process.Signal(signal) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) exitCode() int { <-p.done; return p.cmd.ProcessState.ExitCode() }

// eventually polls until f returns "", and fails with what it last said.
func eventually(t *testing.T, within time.Duration, what string, f func() string) {
	t.Helper()
	eventuallyEvery(t, 20*time.Millisecond, within, what, f)
}

// eventuallyEvery is eventually for what takes minutes, or is dear to look at.
func eventuallyEvery(t *testing.T, pause, within time.Duration, what string, f func() string) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		said := f()
		if said == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within %v; last seen: %s", what, within, said)
		}
		time.Sleep(pause) // a poll, not a wait for luck
	}
}

// world is one installation with its own data directory.
type world struct {
	t       *testing.T
	dir     string
	server  *process
	http    string // base URL
	health  string
	mqtt    string
	ports   [3]string // as given to the server, kept over restarts
	keyID   string
	secret  string
	jwt     string
	keyPath string // the pool's private key, PEM
	pool    string
	token   string
	backend string
	recov   string // recovery recipient

	processes []*process
}

func newWorld(t *testing.T, backend string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), backend: backend}
	w.ports = [3]string{freePort(t), freePort(t), freePort(t)}
	w.startServer()
	out := run(t, nil, binary(t, "spaceport"), "apikey", "create", "--name", "e2e", "--admin", "--data", w.data())
	var key struct{ ID, Secret string }
	if err := json.Unmarshal([]byte(out), &key); err != nil {
		t.Fatalf("apikey create printed %q: %v", out, err)
	}
	w.keyID, w.secret = key.ID, key.Secret
	w.login()
	return w
}

func (w *world) data() string { return filepath.Join(w.dir, "mothership") }

func (w *world) startServer(extra ...string) {
	w.t.Helper()
	argv := []string{
		binary(w.t, "spaceport"), "server", "--data", w.data(), "--http", "127.0.0.1:" + w.ports[0],
		"--mqtt", "127.0.0.1:" + w.ports[1], "--health", "127.0.0.1:" + w.ports[2], "--allow-file-source", "--log-level", logLevel(),
	}
	w.server = start(w.t, "server", extra, argv...)
	w.http, w.mqtt, w.health = "http://127.0.0.1:"+w.ports[0], "127.0.0.1:"+w.ports[1], "http://127.0.0.1:"+w.ports[2]
	eventually(w.t, 20*time.Second, "the server's readiness", func() string {
		answer, err := http.Get(w.health + "/readiness")
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return answer.Status
		}
		return ""
	})
}

func (w *world) login() {
	w.t.Helper()
	var got struct {
		APIKeyUser struct{ JWT string }
	}
	w.query(`mutation($id: ID!, $secret: String!) { apiKeyUser(id: $id, secret: $secret) { jwt } }`,
		map[string]any{"id": w.keyID, "secret": w.secret}, &got)
	w.jwt = got.APIKeyUser.JWT
	if w.jwt == "" {
		w.t.Fatal("apiKeyUser gave no token")
	}
}

type problem struct{ Code, Message string }

func (p *problem) Error() string { return p.Code + ": " + p.Message }

// try asks the API and returns its first error as a problem.
func (w *world) try(query string, variables map[string]any, into any) error {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, w.http+"/graphql", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if w.jwt != "" {
		request.Header.Set("Authorization", "Bearer "+w.jwt)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	var got struct {
		Data   json.RawMessage
		Errors []struct {
			Message    string
			Extensions struct{ Code string }
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		return fmt.Errorf("%s: %s: %w", answer.Status, text, err)
	}
	if len(got.Errors) > 0 {
		return &problem{Code: got.Errors[0].Extensions.Code, Message: got.Errors[0].Message}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(got.Data, into)
}

func (w *world) query(query string, variables map[string]any, into any) {
	w.t.Helper()
	if err := w.try(query, variables, into); err != nil {
		w.t.Fatalf("%s\n%v: %v", query, variables, err)
	}
}

// logLevel is the most verbose, so that what must not be logged is found; the
// benchmarks measure without it.
func logLevel() string {
	if benchmarking {
		return "warn"
	}
	return "debug"
}

// openssl makes the key and the request just as the documentation says.
func (w *world) openssl() (csr string) {
	w.t.Helper()
	w.keyPath = filepath.Join(w.dir, "spacelift.key")
	csr = filepath.Join(w.dir, "spacelift.csr")
	run(w.t, nil, "openssl", "req", "-new", "-newkey", "rsa:4096", "-nodes", "-keyout", w.keyPath, "-out", csr, "-subj", "/CN=workers")
	return csr
}

// createPool makes a pool with the command line and finds its id by the API.
func (w *world) createPool(name string) {
	w.t.Helper()
	csr := w.openssl()
	w.token = strings.TrimSpace(run(w.t, []string{
		"SPACELIFT_API_KEY_ENDPOINT=" + w.http, "SPACELIFT_API_KEY_ID=" + w.keyID, "SPACELIFT_API_KEY_SECRET=" + w.secret,
	}, binary(w.t, "spaceport"), "pool", "create", "--name", name, "--csr", csr))
	var got struct {
		WorkerPools []struct{ ID, Name, Config string }
	}
	w.query(`{ workerPools { id name config } }`, nil, &got)
	for _, p := range got.WorkerPools {
		if p.Name == name {
			w.pool = p.ID
			if p.Config != w.token {
				w.t.Fatalf("the pool's config is %q, but its creation printed %q", p.Config, w.token)
			}
		}
	}
	if w.pool == "" {
		w.t.Fatalf("pool %s is not among %v", name, got.WorkerPools)
	}
	recovery := run(w.t, nil, "age-keygen", "-o", filepath.Join(w.dir, "recovery.key"))
	_ = recovery // age-keygen prints the public key to stderr
	w.recov = strings.TrimSpace(run(w.t, nil, "age-keygen", "-y", filepath.Join(w.dir, "recovery.key")))
}

// launcher starts one with its own data directory.
func (w *world) launcher(name string, env ...string) *process {
	w.t.Helper()
	key, err := os.ReadFile(w.keyPath)
	if err != nil {
		w.t.Fatal(err)
	}
	all := append([]string{
		"SPACELIFT_TOKEN=" + w.token,
		"SPACELIFT_POOL_PRIVATE_KEY=" + base64.StdEncoding.EncodeToString(key),
		"SPACELIFT_METADATA_name=" + name,
		"SPACELIFT_RECOVERY_RECIPIENTS=" + w.recov,
		"SPACELIFT_ALLOW_FILE_SOURCE=true",
		"SPACELIFT_LOG_LEVEL=" + logLevel(),
	}, env...)
	if w.backend == "docker" {
		all = append(all, "SPACELIFT_DEFAULT_RUNNER_IMAGE="+runnerImage(w.t))
	}
	p := start(w.t, name, all, binary(w.t, "spacelift-launcher"), "--data", w.launcherData(name), "--backend", w.backend)
	w.processes = append(w.processes, p)
	return p
}

func (w *world) launcherData(name string) string { return filepath.Join(w.dir, name) }

type worker struct {
	ID       string
	Busy     bool
	Drained  bool
	Metadata string
}

func (w *world) workers() []worker {
	w.t.Helper()
	var got struct{ WorkerPool struct{ Workers []worker } }
	w.query(`query($id: ID!) { workerPool(id: $id) { workers { id busy drained metadata } } }`, map[string]any{"id": w.pool}, &got)
	return got.WorkerPool.Workers
}

// worker waits until the launcher of this name is registered and gives its id.
func (w *world) worker(name string) (id string) {
	w.t.Helper()
	eventually(w.t, 30*time.Second, name+" registered", func() string {
		for _, one := range w.workers() {
			var tags map[string]string
			if err := json.Unmarshal([]byte(one.Metadata), &tags); err != nil {
				w.t.Fatalf("metadata %q: %v", one.Metadata, err)
			}
			if tags["name"] == name {
				id = one.ID
				return ""
			}
		}
		return fmt.Sprint(w.workers())
	})
	return id
}

func (w *world) drain(id string, drain bool) {
	w.t.Helper()
	w.query(`mutation($pool: ID!, $id: ID!, $drain: Boolean!) { workerDrainSet(workerPool: $pool, id: $id, drain: $drain) { id busy drained } }`,
		map[string]any{"pool": w.pool, "id": id, "drain": drain}, nil)
}

// run executes a command and returns its standard output.
func run(t *testing.T, env []string, argv ...string) string {
	t.Helper()
	out, err := tryRun(env, argv...)
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(argv, " "), err)
	}
	return out
}

func tryRun(env []string, argv ...string) (string, error) {
	command := exec.Command(argv[0], argv[1:]...)
	command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()}, env...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return string(out), fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
