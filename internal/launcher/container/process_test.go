package container

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/spaceport-iac/spaceport/internal/launcher/container/supervise"
)

// newProcess makes a backend and the spec of a container that runs a host
// program.
func newProcess(t testing.TB, program string, args ...string) (*Process, Spec) {
	t.Helper()
	bin, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	p, err := NewProcess(ProcessOptions{DataDir: data, RunsDir: filepath.Join(data, "runs")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p, newSpec(p, bin, args...)
}

func newSpec(p *Process, bin string, args ...string) Spec {
	id := ulid.MustNew(ulid.Now(), rand.Reader).String()
	return Spec{ULID: id, RunDir: p.runDir(id), Binary: bin, Args: args}
}

func within60s(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestAWorkerWhoseSupervisorIsKilledDiesToo(t *testing.T) {
	t.Parallel()
	ctx := within60s(t)
	p, spec := newProcess(t, "sleep", "3600")
	if err := p.Create(ctx, spec); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(ctx, spec.ULID); err != nil {
		t.Fatal(err)
	}
	note, err := supervise.Notes{Dir: spec.RunDir}.Process()
	if err != nil {
		t.Fatal(err)
	}
	if !note.Worker.Alive(note.Boot) {
		t.Fatal("the worker is not running")
	}
	if err := note.Supervisor.Signal(syscall.SIGKILL, note.Boot); err != nil {
		t.Fatal(err)
	}
	if e, err := p.Wait(ctx, spec.ULID); err != nil || !e.Lost || e.Code != -1 {
		t.Errorf("it ended as %+v, %v", e, err)
	}
	if err := note.Worker.Wait(ctx, note.Boot); err != nil {
		t.Errorf("the worker lives: %v", err)
	}
}

// launch is what TestMain runs as a launcher that is to be killed: it reads a
// spec from its input, creates the container, starts it when told to, and says
// how far it is.
func launch(data string, start bool) int {
	p, err := NewProcess(ProcessOptions{DataDir: data, RunsDir: filepath.Join(data, "runs")})
	if err != nil {
		panic(err)
	}
	var spec Spec
	if err := json.NewDecoder(os.Stdin).Decode(&spec); err != nil {
		panic(err)
	}
	if err := p.Create(context.Background(), spec); err != nil {
		panic(err)
	}
	if start {
		if err := p.Start(context.Background(), spec.ULID); err != nil {
			panic(err)
		}
	}
	_, _ = os.Stdout.WriteString("x")
	select {}
}

func TestAKilledLaunchersContainersAreAdopted(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]string{
		"after the start":                    "launch-start",
		"between the creation and the start": "launch-create",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := within60s(t)
			p, spec := newProcess(t, "sh", "-c", "while ! [ -e go ]; do sleep 0.01; done; exit 4")
			spec.WorkDir = p.data
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(self, mode, p.data)
			in, _ := cmd.StdinPipe()
			out, _ := cmd.StdoutPipe()
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if err := json.NewEncoder(in).Encode(spec); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()

			if ids, err := p.List(ctx); err != nil || len(ids) != 1 {
				t.Fatalf("it lists %q, %v", ids, err)
			}
			st, err := p.Inspect(ctx, spec.ULID)
			if err != nil || st.Started != (mode == "launch-start") || st.Running != st.Started {
				t.Fatalf("it sees %+v, %v", st, err)
			}
			if !st.Started {
				if err := p.Start(ctx, spec.ULID); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(p.data, "go"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if e, err := p.Wait(ctx, spec.ULID); err != nil || e.Code != 4 {
				t.Errorf("it ended as %+v, %v", e, err)
			}
		})
	}
}

func TestOfTwoLaunchersThatStartOneContainerOneSucceeds(t *testing.T) {
	t.Parallel()
	ctx := within60s(t)
	p, spec := newProcess(t, "sh", "-c", "echo ran >>"+filepath.Join(t.TempDir(), "count"))
	count := spec.Args[1][len("echo ran >>"):]
	if err := p.Create(ctx, spec); err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
	const many = 4
	errs := make(chan error, many)
	for range many {
		go func() {
			q, err := NewProcess(p.opts)
			if err == nil {
				err = q.Start(ctx, spec.ULID)
			}
			errs <- err
		}()
	}
	started := 0
	for range many {
		if <-errs == nil {
			started++
		}
	}
	if _, err := p.Wait(ctx, spec.ULID); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(count); err != nil || string(b) != "ran\n" || started != 1 {
		t.Errorf("%d starts succeeded; the worker wrote %q, %v", started, b, err)
	}
}

// BenchmarkProcessStart measures from the call of Start to its return, when the
// worker has been executed.
func BenchmarkProcessStart(b *testing.B) {
	for name, noMounts := range map[string]bool{"mounts": false, "plain": true} {
		b.Run(name, func(b *testing.B) {
			p, spec := newProcess(b, "true")
			p.mounts = p.mounts && !noMounts
			var create, start time.Duration
			for b.Loop() {
				s := newSpec(p, spec.Binary)
				t0 := time.Now()
				if err := p.Create(b.Context(), s); err != nil {
					b.Fatal(err)
				}
				t1 := time.Now()
				// As a launcher would do meanwhile: the supervisor prepares.
				time.Sleep(10 * time.Millisecond)
				t2 := time.Now()
				if err := p.Start(b.Context(), s.ULID); err != nil {
					b.Fatal(err)
				}
				start += time.Since(t2)
				create += t1.Sub(t0)
				if _, err := p.Wait(b.Context(), s.ULID); err != nil {
					b.Fatal(err)
				}
				if err := p.Remove(b.Context(), s.ULID); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(start.Microseconds())/float64(b.N), "µs/start")
			b.ReportMetric(float64(create.Microseconds())/float64(b.N), "µs/create")
		})
	}
}
