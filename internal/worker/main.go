package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Exit codes of the worker. What became of the run stands in out/result.json; the
// code tells only whether it is there.
const (
	ExitOK     = 0 // the result is written
	ExitBroken = 1 // it could not be
	ExitIdle   = 3 // no job ever came
)

// Options are what the worker needs beside the job. Only Dir must be set.
type Options struct {
	// Dir holds in/ and out/ as this process sees them.
	Dir string
	// Environ is the process's own environment; os.Environ() if nil.
	Environ []string
	// Dump is the command that writes its environment to the file named by one
	// more argument, see [EnvDump]. Our own binary with "worker env-dump" if nil.
	Dump []string
	// ReleaseLimit is how long to wait for a job without any sign of the launcher;
	// 0 means 60 s.
	ReleaseLimit time.Duration
	// ReadGrace is the longest grace of a reading container; 0 means 30 s.
	ReadGrace time.Duration
	// Now and Boot are the clocks: monotonic, and with suspended time.
	Now  func() time.Time
	Boot func() time.Duration
	// Stderr gets what cannot be said in the log; os.Stderr if nil.
	Stderr io.Writer
}

func (o Options) check() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("the worker needs the run's directory")
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.Dump == nil {
		self, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("find our own binary: %w", err)
		}
		o.Dump = []string{self, "worker", "env-dump"}
	}
	if o.ReleaseLimit <= 0 {
		o.ReleaseLimit = time.Minute
	}
	if o.ReadGrace <= 0 {
		o.ReadGrace = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Boot == nil {
		o.Boot = bootTime
	}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	return o, nil
}

// Main is the worker's whole life. It takes over the process: its children, its
// signals and its environment. It returns an exit code.
func Main(ctx context.Context, o Options) int {
	o, err := o.check()
	if err == nil {
		err = harden()
	}
	var inside *rundir.Inside
	if err == nil {
		inside, err = rundir.OpenInside(o.Dir)
	}
	if err != nil {
		if o.Stderr == nil {
			o.Stderr = os.Stderr
		}
		_, _ = fmt.Fprintln(o.Stderr, "worker:", err)
		return ExitBroken
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	defer signal.Stop(signals)

	job, err := await(ctx, inside, o, signals)
	switch {
	case errors.Is(err, errNoJob):
		_, _ = fmt.Fprintln(o.Stderr, "worker:", err)
		return ExitIdle
	case err != nil:
		return broken(inside, o, err)
	}
	// What the launcher or the image gave this process is not the run's to see.
	os.Clearenv()
	w, err := newWork(inside, job, o, signals)
	if err != nil {
		return broken(inside, o, err)
	}
	if err := w.run(ctx); err != nil {
		_, _ = fmt.Fprintln(o.Stderr, "worker:", err)
		return ExitBroken
	}
	return ExitOK
}

// broken writes a result for a run that never began.
func broken(inside *rundir.Inside, o Options, cause error) int {
	_, _ = fmt.Fprintln(o.Stderr, "worker:", cause)
	if err := inside.WriteResult(wire.RunResult{Result: wire.ResultFailed, Reason: sentence(cause)}); err != nil {
		return ExitBroken
	}
	return ExitOK
}

var errNoJob = errors.New("no job came, and the launcher gave no sign of life")

// await waits for the job. A launcher that is there changes in/alive now and then;
// without that a container in stand-by would outlive the launcher for ever.
func await(ctx context.Context, inside *rundir.Inside, o Options, signals <-chan os.Signal) (*wire.WorkerJob, error) {
	job, err := inside.Job()
	if !rundir.Missing(err) {
		return job, err
	}
	w := rundir.Watch(inside.In())
	defer w.Close()
	alive, seen := inside.Alive(), o.Boot()
	for {
		select {
		case <-ctx.Done():
			return nil, errNoJob
		case <-signals:
			return nil, errNoJob
		case <-w.C:
		}
		job, err := inside.Job()
		if !rundir.Missing(err) {
			return job, err
		}
		if n := inside.Alive(); n != alive {
			alive, seen = n, o.Boot()
		}
		if o.Boot()-seen > o.ReleaseLimit {
			return nil, errNoJob
		}
	}
}

// sentence returns what people should read of an error.
func sentence(err error) string {
	if f := fault.As(err); f != nil {
		return f.Error()
	}
	return err.Error()
}
