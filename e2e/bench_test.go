//go:build bench

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const benchmarking = true

// The benchmarks print a table for docs/benchmarks.md. They judge nothing: the
// machines are noisy, so ratios within one run are what counts.

const (
	samples  = 40
	workers4 = 4
)

type figures []time.Duration

func (f figures) at(share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(f))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

func (f figures) String() string {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
	return ms(f.at(0.5)) + " | " + ms(f.at(0.99))
}

func busy(t *testing.T) {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("load average now: %s\n", strings.Join(strings.Fields(string(load))[:3], " "))
}

func benchWorld(t *testing.T, backend string, launchers int) (w *world, stack string) {
	t.Helper()
	w = newWorld(t, backend)
	w.createPool("bench")
	for i := range launchers {
		name := "worker-" + strconv.Itoa(i)
		w.launcher(name)
		w.worker(name)
	}
	url, _ := repository(t, map[string]string{"main.tf": configuration})
	return w, w.stack("Bench", stackOptions{repository: url, mode: "managed"})
}

// warm lets the stack have a commit that it tracks, its source cached and its
// image checked.
func (w *world) warm(stack string) {
	w.t.Helper()
	id := w.trigger(stack)
	w.reach(stack, id, "UNCONFIRMED", time.Minute)
	if err := w.act("runDiscard", stack, id); err != nil {
		w.t.Fatal(err)
	}
	w.dispatch(w.t, stack)
}

// dispatch triggers one trivial task and returns how long it took until its
// process ran, until a client could read its first line, and until it ended.
func (w *world) dispatch(t *testing.T, stack string) (started, line, end time.Duration) {
	t.Helper()
	begin := time.Now()
	id := w.task(stack, "date +%s%N", true)
	for line == 0 {
		for _, text := range strings.Fields(w.stateLog(stack, id, "PERFORMING", w.performing(stack, id))) {
			if ns, err := strconv.ParseInt(text, 10, 64); err == nil && ns > begin.UnixNano() {
				line = time.Since(begin)
				started = time.Unix(0, ns).Sub(begin)
			}
		}
		time.Sleep(time.Millisecond) // the client must not take the server's processor
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("no line after 30 s: %+v\n%s", w.run(stack, id), w.logs(stack, id))
		}
	}
	for !w.run(stack, id).Finished {
		time.Sleep(time.Millisecond)
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("no end after 30 s: %+v", w.run(stack, id))
		}
	}
	return started, line, time.Since(begin)
}

// performing returns the state version of PERFORMING, waiting for it.
func (w *world) performing(stack, id string) int {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		for _, h := range w.run(stack, id).History {
			if h.State == "PERFORMING" {
				return h.StateVersion
			}
		}
		time.Sleep(time.Millisecond)
	}
	w.t.Fatalf("run %s never performed: %+v", id, w.run(stack, id))
	return 0
}

func TestBenchDispatch(t *testing.T) {
	for _, backend := range []string{"process", "docker"} {
		t.Run(backend, func(t *testing.T) { benchDispatch(t, backend) })
	}
}

func benchDispatch(t *testing.T, backend string) {
	w, stack := benchWorld(t, backend, 1)
	n := samples
	if backend == "docker" {
		n /= 2
	}
	var started, line, end, bare figures
	w.warm(stack)
	for range n {
		s, l, e := w.dispatch(t, stack)
		started, line, end = append(started, s), append(line, l), append(end, e)
		if backend == "docker" {
			begin := time.Now()
			if out, err := exec.Command("docker", "run", "--rm", "--entrypoint", "/bin/date", runnerImage(t)).CombinedOutput(); err != nil {
				t.Fatalf("docker run: %v\n%s", err, out)
			}
			bare = append(bare, time.Since(begin))
		}
	}
	busy(t)
	fmt.Printf("| backend | measure | p50 | p99 |\n|---|---|---|---|\n")
	fmt.Printf("| %s | trigger → process runs | %v |\n", backend, started)
	fmt.Printf("| %s | trigger → first line readable | %v |\n", backend, line)
	fmt.Printf("| %s | trigger → run ended | %v |\n", backend, end)
	if backend == "docker" {
		fmt.Printf("| docker | bare `docker run`, same image | %v |\n", bare)
		fmt.Printf("ratio of first line to bare docker run, p50: %.2f\n", float64(line.at(0.5))/float64(bare.at(0.5)))
	}
}

func TestBenchThroughput(t *testing.T) {
	w, first := benchWorld(t, "process", workers4)
	stacks := []string{first}
	url, _ := repository(t, map[string]string{"main.tf": configuration})
	for i := 1; i < workers4; i++ {
		stacks = append(stacks, w.stack("Bench "+strconv.Itoa(i), stackOptions{repository: url, mode: "managed"}))
	}
	for _, stack := range stacks {
		w.warm(stack)
	}
	const each = 100
	before := w.processorTimes()
	begin := time.Now()
	var group sync.WaitGroup
	for _, stack := range stacks {
		group.Go(func() {
			var last string
			for range each {
				last = w.task(stack, "echo trivial", true)
			}
			for !w.run(stack, last).Finished {
				time.Sleep(50 * time.Millisecond) // the clients must not take the server's processor
			}
		})
	}
	group.Wait()
	took := time.Since(begin)
	busy(t)
	fmt.Printf("%d trivial runs, %d stacks, %d workers: %.1f runs a second\n", each*len(stacks), len(stacks), workers4, float64(each*len(stacks))/took.Seconds())
	after := w.processorTimes()
	for _, part := range []string{"mothership", "launchers", "supervisors, workers and commands"} {
		fmt.Printf("processor time of a run, %s: %.1f ms\n", part, (after[part]-before[part]).Seconds()*1000/float64(each*len(stacks)))
	}
}

// processorTimes sums up what each kind of process has taken. It depends less on
// what else the machine does than any other figure here.
func (w *world) processorTimes() map[string]time.Duration {
	w.t.Helper()
	times := map[string]time.Duration{}
	for _, p := range append([]*process{w.server}, w.processes...) {
		own, children := processorTimes(w.t, p.cmd.Process.Pid)
		if strings.HasPrefix(p.name, "worker-") {
			times["launchers"] += own
			times["supervisors, workers and commands"] += children
		} else {
			times["mothership"] += own + children
		}
	}
	return times
}
