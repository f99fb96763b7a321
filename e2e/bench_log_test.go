//go:build bench

package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestBenchLog measures the way of a run's log from the tool to the mothership's
// object store with a hundred secrets to look for: how much a second, what the
// launcher takes for it, and how long a line takes to a reader.
func TestBenchLog(t *testing.T) {
	w, stack := benchWorld(t, "process", 1)
	for i := range 100 {
		w.setConfig(stack, "ENVIRONMENT_VARIABLE", "SECRET_"+strconv.Itoa(i), fmt.Sprintf("s3cr3t/%d+%x of the bench", i, i*7919*7919), true)
	}
	w.warm(stack)
	const parts, part = 64, 16 << 20
	id := w.task(stack, fmt.Sprintf("echo BEGAN $(date +%%s%%N); for i in $(seq %d); do "+
		"yes 'module.network.aws_subnet.private[17]: Still creating... [id=subnet-0a1b2c3d, 20s elapsed]' | head -c %d; done; echo; echo ENDED $(date +%%s%%N)", parts, part), true)
	launcher := w.find("worker-0").cmd.Process.Pid
	before := processorTime(t, launcher)
	view := w.reach(stack, id, "FINISHED", 20*time.Minute)
	end := time.Now()
	used := processorTime(t, launcher) - before
	version := w.performing(stack, id)
	head := w.logStart(stack, id, version)
	began := stamp(t, head, "BEGAN")
	took := end.Sub(began)
	busy(t)
	fmt.Printf("1 GiB of log, 100 secrets: %.0f MB/s until the run has ended; launcher: %.1f s of processor, %s at most (%s)\n",
		parts*part/1e6/took.Seconds(), used.Seconds(), peak(t, launcher), view.State)

	var lag figures
	id = w.task(stack, "for i in $(seq 300); do echo AT $(date +%s%N); sleep 0.02; done; echo DONE", true)
	version = w.performing(stack, id)
	var token *string
	for done := false; !done; {
		var text string
		text, token = w.follow(stack, id, "PERFORMING", version, token)
		now := time.Now()
		for _, line := range strings.Split(text, "\n") {
			if at, ok := strings.CutPrefix(line, "AT "); ok {
				if ns, err := strconv.ParseInt(at, 10, 64); err == nil {
					lag = append(lag, now.Sub(time.Unix(0, ns)))
				}
			}
		}
		done = strings.Contains(text, "\nDONE") || w.run(stack, id).Finished
		time.Sleep(20 * time.Millisecond) // the client must not take the server's processor
	}
	fmt.Printf("| a line, printed → read by a client that follows | %v | of %d lines\n", lag, len(lag))
}

// logStart reads the first messages of a log.
func (w *world) logStart(stack, id string, version int) string {
	var got struct {
		Stack struct {
			Run struct {
				Logs struct{ Messages []struct{ Message string } }
			}
		}
	}
	w.query(`query($stack: ID!, $run: ID!, $version: Int) { stack(id: $stack) { run(id: $run) {
		logs(state: PERFORMING, stateVersion: $version) { messages { message } } } } }`,
		map[string]any{"stack": stack, "run": id, "version": version}, &got)
	var all strings.Builder
	for _, m := range got.Stack.Run.Logs.Messages {
		all.WriteString(m.Message)
	}
	return all.String()
}

// stamp finds a time in nanoseconds behind a word.
func stamp(t *testing.T, text, word string) time.Time {
	t.Helper()
	_, rest, ok := strings.Cut(text, "\n"+word+" ") // not in the command that the log repeats
	fields := strings.Fields(rest)
	if !ok || len(fields) == 0 {
		t.Fatalf("no %s in %.300q", word, text)
	}
	ns, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(0, ns)
}

// processorTime is what a process has had of the processors, without its children.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	own, _ := processorTimes(t, pid)
	return own
}

// processorTimes is that, and what its children have had that have ended.
func processorTimes(t *testing.T, pid int) (own, children time.Duration) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	var ticks [4]time.Duration // utime, stime, cutime, cstime
	for i, f := range strings.Fields(rest)[11:15] {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks[i] = time.Duration(n) * time.Second / 100
	}
	return ticks[0] + ticks[1], ticks[2] + ticks[3]
}

// peak is the most memory that a process has had at once.
func peak(t *testing.T, pid int) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Join(strings.Fields(line), " ")
}
