package command

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/mattn/go-isatty"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/quickstart"
)

type quickstartCommand struct {
	Yes     bool   `help:"Confirm the plan without asking."`
	Once    bool   `help:"End once the run has FINISHED, instead of staying up until Ctrl-C."`
	Backend string `default:"auto" enum:"auto,docker,process" help:"Where runs go: docker, process (no isolation), or auto: docker if an engine answers."`
	Data    string `default:"quickstart-data" placeholder:"DIR" help:"The one directory that everything is kept in."`
	JSON    bool   `name:"json" help:"Print progress as JSON, one object a line."`
}

// Run shows the whole on this machine.
func (c quickstartCommand) Run(ctx context.Context, p Process) error {
	self, err := os.Executable()
	if err != nil {
		return fault.Wrap(err, fault.Internal, "this program's own path cannot be found")
	}
	ctx, hurry, release := endings(ctx)
	defer release()
	var reporter quickstart.Reporter = quickstart.JSONReporter{W: p.Stdout}
	if !c.JSON {
		reporter = quickstart.NewTextReporter(p.Stdout, isTerminal(p.Stdout))
	}
	return quickstart.Run(ctx, quickstart.Options{
		Dir: c.Data, Backend: c.Backend, Yes: c.Yes, Once: c.Once,
		Server: self, Launcher: filepath.Join(filepath.Dir(self), "spacelift-launcher"), Environ: p.Environ,
		Report: reporter, Ask: askOn(p.Stdin), Hurry: hurry, LookPath: exec.LookPath,
	})
}

// endings adds a closed terminal to what ends ctx, and closes hurry at the
// second request to end.
func endings(parent context.Context) (ctx context.Context, hurry <-chan struct{}, release func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	closed, stop := make(chan struct{}), make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for asked := 0; ; {
			select {
			case <-stop:
				return
			case <-signals:
				cancel()
				if asked++; asked == 2 {
					close(closed)
				}
			}
		}
	})
	return ctx, closed, func() {
		signal.Stop(signals)
		close(stop)
		watch.Wait()
		cancel()
	}
}

// askOn reads the answer to a question, which the reporter has shown already,
// from a stream. Only y and yes mean yes.
func askOn(in io.Reader) func(context.Context, string) (bool, error) {
	return func(ctx context.Context, _ string) (bool, error) {
		type line struct {
			text string
			err  error
		}
		lines := make(chan line, 1)
		// A read from a terminal cannot be called off; the goroutine ends with
		// the line or with the process.
		go func() {
			text, err := bufio.NewReader(in).ReadString('\n')
			lines <- line{text, err}
		}()
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case l := <-lines:
			answer := strings.ToLower(strings.TrimSpace(l.text))
			if answer == "" && errors.Is(l.err, io.EOF) {
				return false, fault.New(fault.Invalid, "nobody is there to confirm: standard input has ended").
					WithHint("start it again with --yes, or confirm the waiting run by the API")
			}
			return answer == "y" || answer == "yes", nil
		}
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
