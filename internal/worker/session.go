package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// How a phase's output is read.
const (
	readSize = 64 << 10
	pipeSize = 1 << 20 // what a tool may be ahead of us
	// When the shell has ended, what it wrote is in the pipe already. Somebody who
	// escaped and still writes is listened to no longer than this.
	drainQuiet = 50 * time.Millisecond
	// idleAfter is how long a tool is silent until a reader waits no longer for the
	// beginning of what may be a secret.
	idleAfter  = 5 * time.Second
	drainBytes = 4 << 20
)

// session runs the shell of one phase.
type session struct {
	reaper  *reaper
	out     *output
	guard   *guard
	scratch string
	grace   time.Duration
}

// ended tells how a session went.
type ended struct {
	code int
	step int   // that was running; len(steps) if all were done
	halt *halt // what ended it from outside
	// killed is set when the grace was not enough.
	killed bool
	err    error // of writing the log
}

// errNoShell is for an image without sh.
func errNoShell(path string) error {
	return fault.New(fault.Invalid, "the runner image has no sh on its PATH (%s)", path).
		Named("no_shell").
		WithHint("use an image with a POSIX shell; hooks and commands run in it")
}

// run runs the steps in one shell and waits for its end.
func (s *session) run(ctx context.Context, steps []step, env []string, dir string, dump []string) (ended, error) {
	sh, err := lookPath("sh", env)
	if err != nil {
		return ended{}, err
	}
	clearScratch(s.scratch)
	script, err := writeScript(s.scratch, steps, dump)
	if err != nil {
		return ended{}, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return ended{}, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer func() { _ = null.Close() }()
	r, w, err := os.Pipe()
	if err != nil {
		return ended{}, fmt.Errorf("make the output's pipe: %w", err)
	}
	defer func() { _ = r.Close() }()
	_, _ = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, pipeSize) // only speed
	pid, status, err := s.reaper.start(sh, []string{"sh", script}, env, dir, []*os.File{null, w, w})
	_ = w.Close()
	if err != nil {
		return ended{}, fault.Wrap(err, fault.Invalid, "the phase's shell %s cannot be started: %v", sh, err)
	}
	p := &pump{src: r, dst: s.out.stream(), idleAfter: idleAfter, hear: s.guard.hear, broken: s.guard.broken, done: make(chan struct{})}
	s.guard.listen(true)
	defer s.guard.listen(false)
	go p.run()

	e := s.wait(ctx, pid, status, p)
	e.step = s.reached(len(steps))
	return e, nil
}

// wait waits for the shell and what it leaves, and carries out halts.
func (s *session) wait(ctx context.Context, pid int, status <-chan unix.WaitStatus, p *pump) ended {
	var e ended
	var deadline <-chan time.Time
	shell := status
	left := time.NewTicker(20 * time.Millisecond)
	defer left.Stop()
	left.Stop()
	for {
		select {
		case <-ctx.Done():
			s.halt(&e, pid, halt{result: wire.ResultStopped, reason: "the worker was ended", hard: true, last: true}, &deadline)
			ctx = context.WithoutCancel(ctx)
		case h := <-s.guard.halts:
			s.halt(&e, pid, h, &deadline)
		case <-deadline:
			e.killed = true
			s.reaper.killAll()
			deadline = nil
		case ws := <-shell:
			e.code, shell = code(ws), nil
			if e.halt != nil && deadline != nil {
				// The tool may outlive its shell and still be giving back its lock:
				// it has its grace too.
				left.Reset(20 * time.Millisecond)
				continue
			}
			return s.finish(e, pid, p)
		case <-left.C:
			if shell == nil && len(members(processes(), pid)) == 0 {
				return s.finish(e, pid, p)
			}
		}
		if shell == nil && deadline == nil {
			return s.finish(e, pid, p)
		}
	}
}

// halt interrupts, or kills. The interrupt is one signal to the group, as Ctrl-C
// sends it: tools take a second one as leave to drop everything.
func (s *session) halt(e *ended, pid int, h halt, deadline *<-chan time.Time) {
	first := e.halt == nil
	if first {
		e.halt = &h
	}
	// The tool must not stand still because nobody takes its output.
	s.out.log.Relent()
	switch {
	case h.hard:
		s.out.say("killing what runs: " + h.reason)
	case first:
		s.out.say(fmt.Sprintf("interrupting what runs, and killing it in %s: %s", s.grace, h.reason))
	}
	if h.hard {
		e.killed = true
		s.reaper.killAll()
		*deadline = nil
		return
	}
	if first {
		interrupt(pid)
		*deadline = time.After(s.grace)
	}
}

// finish kills the rest of the session and reads what is left of the output. While
// the log waits for its launcher, halts still count.
func (s *session) finish(e ended, pid int, p *pump) ended {
	s.reaper.killSession(pid)
	p.finish()
	for {
		select {
		case <-p.done:
			e.err = p.err
			return e
		case h := <-s.guard.halts:
			if e.halt == nil {
				e.halt = &h
			}
			s.out.log.Relent()
		}
	}
}

// reached reads which step the shell came to.
func (s *session) reached(all int) int {
	data, err := os.ReadFile(filepath.Join(s.scratch, fileStep))
	text := strings.TrimSpace(string(data))
	if err == nil && (text == stepEnd || text == stepDump) {
		return all
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n >= all {
		return 0
	}
	return n
}

// idler is a destination that may be told that nothing has come for a while.
type idler interface {
	io.WriteCloser
	Idle() error
}

// pump copies a phase's output until all who write have ended.
type pump struct {
	src  *os.File
	mu   sync.Mutex // guards dst and err
	dst  idler
	hear func()
	// idleAfter is how long the output is silent before dst is told.
	idleAfter time.Duration
	idle      *time.Timer
	// broken gets the first error of dst.
	broken chan<- error
	done   chan struct{}
	err    error
}

func (p *pump) run() {
	defer close(p.done)
	p.idle = time.AfterFunc(p.idleAfter, p.silent)
	defer p.idle.Stop()
	buf := make([]byte, readSize)
	for {
		n, err := p.src.Read(buf)
		p.pass(buf[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.drain(buf)
			break
		}
		if err != nil {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.dst.Close(); p.err == nil {
		p.err = err
	}
}

// silent tells dst that nothing has come for a while. After Close it does nothing.
func (p *pump) silent() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.wrote(p.dst.Idle())
	}
}

// wrote keeps the first error of dst and tells of it.
func (p *pump) wrote(err error) {
	if p.err = err; err == nil {
		return
	}
	select {
	case p.broken <- err:
	default: // said already
	}
}

// drain takes what is in the pipe.
func (p *pump) drain(buf []byte) {
	for total := 0; total < drainBytes; {
		_ = p.src.SetReadDeadline(time.Now().Add(drainQuiet))
		n, err := p.src.Read(buf)
		p.pass(buf[:n])
		total += n
		if err != nil {
			return
		}
	}
}

// pass writes on. After an error it reads and forgets, so that the tool can go on
// to its end.
func (p *pump) pass(b []byte) {
	if len(b) == 0 {
		return
	}
	p.hear()
	p.mu.Lock()
	if p.err == nil {
		_, err := p.dst.Write(b)
		p.wrote(err)
	}
	p.mu.Unlock()
	p.idle.Reset(p.idleAfter)
	// Waiting for the log is no silence of the tool.
	p.hear()
}

// finish says that the shell has ended.
func (p *pump) finish() { _ = p.src.SetReadDeadline(time.Unix(1, 0)) }

// lookPath finds a program on the PATH of an environment.
func lookPath(name string, env []string) (string, error) {
	path := defaultPath
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for dir := range strings.SplitSeq(path, ":") {
		if full := filepath.Join(dir, name); filepath.IsAbs(full) && executable(full) {
			return full, nil
		}
	}
	if name == "sh" && executable("/bin/sh") {
		return "/bin/sh", nil
	}
	return "", errNoShell(path)
}

func executable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && unix.Access(path, unix.X_OK) == nil
}
