package worker

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// BenchmarkTrivialTask is a worker's whole life around "echo hello".
func BenchmarkTrivialTask(b *testing.B) {
	var cpu time.Duration
	for b.Loop() {
		cpu += benchmarkRun(b, "echo hello", nil)
	}
	b.ReportMetric(cpu.Seconds()*1e3/float64(b.N), "cpu-ms/op")
}

// BenchmarkShellAlone is what the same task costs without us.
func BenchmarkShellAlone(b *testing.B) {
	for b.Loop() {
		if err := exec.Command("sh", "-c", "echo hello").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLog is the way of output from a tool to the launcher's side, with a
// hundred secrets to look for.
func BenchmarkLog(b *testing.B) {
	const size = 256 << 20
	masks := make([]string, 100)
	for i := range masks {
		masks[i] = fmt.Sprintf("secret-number-%d-of-many", i)
	}
	b.SetBytes(size)
	var cpu time.Duration
	defer func() { b.ReportMetric(float64(b.N)*size/1e6/cpu.Seconds(), "MB/cpu-s") }()
	for b.Loop() {
		cpu += benchmarkRun(b, fmt.Sprintf("yes 'a line of output as tools write it, of some length: 0123456789' | head -c %d", size), masks)
	}
}

func benchmarkRun(b *testing.B, command string, masks []string) (cpu time.Duration) {
	b.Helper()
	box := setup(b, nil)
	box.job.Command, box.job.Masks = command, masks
	box.start()
	ended := make(chan error, 1)
	go func() { ended <- box.cmd.Wait() }()
	r := box.dir.LogReader(rundir.LogPosition{})
	defer func() { _ = r.Close() }()
	w := box.dir.WatchOut()
	defer w.Close()
	for over := false; !over; {
		select {
		case err := <-ended:
			if err != nil {
				b.Fatal(err)
			}
			over = true
		case <-w.C:
		}
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
	}
	if res, err := box.dir.ReadResult(); err != nil || res.Result != wire.ResultOK || res.LogBytes != r.Position().Payload {
		b.Fatalf("%+v, %v", res, err)
	}
	// With its children's: the benchmark's tools cost little beside it.
	return box.cmd.ProcessState.UserTime() + box.cmd.ProcessState.SystemTime()
}
