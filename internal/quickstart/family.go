package quickstart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// childSpec is a process to start.
type childSpec struct {
	name   string // also of its log
	binary string
	args   []string
	// env is the whole environment. Secrets go here, never into args.
	env []string
	log string
	// signals is how often to ask it to end, grace apart, before it is killed.
	// A launcher ends its run's container at the second.
	signals int
	grace   time.Duration
	// onTrial: its end is nobody's failure before rely is called.
	onTrial bool
}

// child is a process of a family.
type child struct {
	spec    childSpec
	cmd     *exec.Cmd
	logFrom int64         // where this start's part of the log begins
	done    chan struct{} // closed when it has ended
	err     error         // how; read it after done
	relied  bool          // its end is a failure; under the family's mutex
}

// family owns child processes. Nothing of it outlives this process: on close
// they are asked to end and then killed, and if we are killed ourselves the
// kernel kills them.
//
// For the latter each child has a parent-death signal. Linux sends it when the
// *thread* that made the child ends, not the process, so one goroutine, tied to
// its thread for the family's whole life, makes them all.
type family struct {
	make   chan func()
	hurry  <-chan struct{} // closed: kill without asking
	failed func(error)     // called once a child ends that nobody asked to

	mu       sync.Mutex
	children []*child
	closing  bool
	watchers sync.WaitGroup
}

// newFamily returns an empty family. failed is told when a child ends by itself.
func newFamily(hurry <-chan struct{}, failed func(error)) *family {
	f := &family{make: make(chan func()), hurry: hurry, failed: failed}
	f.watchers.Add(1)
	go func() {
		defer f.watchers.Done()
		// Never unlocked: the thread ends with the goroutine, after all children.
		runtime.LockOSThread()
		for start := range f.make {
			start()
		}
	}()
	return f
}

// start makes a child.
func (f *family) start(spec childSpec) (*child, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing {
		return nil, errors.New("processes are being stopped")
	}
	log, err := os.OpenFile(spec.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", spec.name, err)
	}
	defer log.Close()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", spec.name, err)
	}
	c := &child{spec: spec, logFrom: from, done: make(chan struct{}), relied: !spec.onTrial}
	// Without a context on purpose: close ends children in order, by asking first.
	c.cmd = exec.Command(spec.binary, spec.args...) //nolint:noctx // see above
	c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr = spec.env, log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{
		// A group of its own: Ctrl-C on the terminal reaches us alone, and we
		// stop the children in order.
		Setpgid:   true,
		Pdeathsig: syscall.SIGKILL,
	}
	started := make(chan error)
	f.make <- func() { started <- c.cmd.Start() }
	if err := <-started; err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "%s cannot be started (%s)", spec.binary, cause(err))
	}
	f.children = append(f.children, c)
	f.watchers.Add(1)
	go f.watch(c)
	return c, nil
}

func (f *family) watch(c *child) {
	defer f.watchers.Done()
	c.err = c.cmd.Wait()
	f.mu.Lock()
	close(c.done)
	expected := f.closing || !c.relied
	f.mu.Unlock()
	if !expected {
		f.failed(c.endedFault())
	}
}

// rely ends a child's trial: its end is a failure from now on, and if it has ended
// already, failed is called.
func (f *family) rely(c *child) {
	f.mu.Lock()
	c.relied = true
	ended := c.ended() && !f.closing
	f.mu.Unlock()
	if ended {
		f.failed(c.endedFault())
	}
}

func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// endedFault says that the child is gone, with the last it wrote and where.
func (c *child) endedFault() error {
	how := "with exit code 0"
	if c.err != nil {
		how = "(" + c.err.Error() + ")"
	}
	if last := c.lastLine(); last != "" {
		return fault.New(fault.Unavailable, "%s ended by itself %s: %s", c.spec.name, how, last).
			WithHint("its log is %s", c.spec.log)
	}
	return fault.New(fault.Unavailable, "%s ended by itself %s", c.spec.name, how).
		WithHint("its log is %s", c.spec.log)
}

// lastLine returns the last line that this start wrote to the log, cut to a
// readable length.
func (c *child) lastLine() string {
	const most = 300
	f, err := os.Open(c.spec.log)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	from := max(c.logFrom, info.Size()-8<<10)
	b, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	last := printable(lines[len(lines)-1])
	if r := []rune(last); len(r) > most {
		last = string(r[:most]) + "…"
	}
	return last
}

// close stops the children, the newest first, and waits until all are gone.
// Launchers were started after the server, so they end while it still answers.
func (f *family) close() {
	f.mu.Lock()
	f.closing = true
	children := f.children
	f.mu.Unlock()
	// Children of one kind end side by side; a kind is over before the next.
	for i := len(children); i > 0; {
		j := i
		for j > 0 && children[j-1].spec.binary == children[i-1].spec.binary {
			j--
		}
		var group sync.WaitGroup
		for _, c := range children[j:i] {
			group.Go(func() { f.end(c) })
		}
		group.Wait()
		i = j
	}
	close(f.make)
	f.watchers.Wait()
}

func (f *family) end(c *child) {
	for range max(c.spec.signals, 1) {
		// An error means that it has ended already.
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		if f.gone(c, c.spec.grace) {
			return
		}
	}
	_ = c.cmd.Process.Kill()
	<-c.done
}

// gone waits for the child's end, for at most d and not at all once we are in a
// hurry.
func (f *family) gone(c *child, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	select {
	case <-c.done:
		return true
	case <-f.hurry:
		return false
	case <-ctx.Done():
		return false
	}
}

// inherited picks from our own environment what a child needs to work at all.
// Nothing else goes on, so that a SPACELIFT_ or TF_ variable of the person's
// shell doesn't change what the quickstart shows.
func inherited(environ []string, extra ...string) []string {
	var env []string
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		switch name {
		case "PATH", "HOME", "TMPDIR", "LANG", "TZ", "USER",
			"DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_API_VERSION",
			"SSL_CERT_FILE", "SSL_CERT_DIR",
			"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy":
			env = append(env, pair)
		}
	}
	return append(env, extra...)
}
