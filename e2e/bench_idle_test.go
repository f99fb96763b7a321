//go:build bench

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const benchPolicy = `package spacelift

import rego.v1

deny contains "no" if input.request.run.type == "NEVER"
`

// TestBenchIdle measures what a launcher takes that has nothing to do: how long it
// needs to be ready, and after a run, memory and processor time.
func TestBenchIdle(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy.rego")
	if err := os.WriteFile(policy, []byte(benchPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	w, stack := benchWorld(t, "process", 0)
	for _, c := range []struct {
		name string
		env  []string
	}{
		{"without-policy", nil},
		{"with-policy", []string{"SPACELIFT_LAUNCHER_RUN_INITIALIZATION_POLICY=" + policy}},
	} {
		// The first start keeps the worker's program in the data directory.
		for _, start := range []string{"first start", "later start"} {
			begin := time.Now()
			p := w.launcher(c.name, c.env...)
			w.worker(c.name)
			fmt.Printf("launcher %s, %s: ready within %d ms:%s\n", c.name, start, time.Since(begin).Milliseconds(), parts(p.log.String(), begin))
			if start == "first start" {
				p.stop(15) // SIGTERM
				continue
			}
			fresh := resident(t, p.cmd.Process.Pid)
			w.warm(stack)
			time.Sleep(5 * time.Second) // nothing is waited for: this is the idleness that is measured
			before := processorTime(t, p.cmd.Process.Pid)
			time.Sleep(20 * time.Second)
			used := processorTime(t, p.cmd.Process.Pid) - before
			fmt.Printf("launcher %s: %s resident when ready; after two runs %s, and %.1f %% of a processor\n",
				c.name, fresh, resident(t, p.cmd.Process.Pid), used.Seconds()/20*100)
			p.stop(15)
		}
	}
	busy(t)
}

var logTime = regexp.MustCompile(`^time=(\S+) level=\S+ msg=("[^"]*"|\S+)`)

// parts tells how long after the start each line of a launcher's log came.
func parts(log string, begin time.Time) string {
	var out strings.Builder
	for _, line := range strings.Split(log, "\n") {
		if m := logTime.FindStringSubmatch(line); m != nil {
			if at, err := time.Parse(time.RFC3339, m[1]); err == nil {
				fmt.Fprintf(&out, " %s after %d ms;", m[2], at.Sub(begin).Milliseconds())
			}
		}
	}
	return out.String()
}

// resident is what a process has in memory, and which part of it is no file's.
func resident(t *testing.T, pid int) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, line := range strings.Split(string(data), "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			values[name] = strings.TrimSpace(value)
		}
	}
	return fmt.Sprintf("%s (%s of it anonymous)", values["VmRSS"], values["RssAnon"])
}
