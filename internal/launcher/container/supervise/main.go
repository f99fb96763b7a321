package supervise

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Main is the process backend's supervisor, a subcommand of the worker's
// binary that only this package calls. Its one argument is a run directory. It must run in the process's first goroutine; the result is the
// exit code.
//
// It starts the worker, adopts every process that the worker leaves behind,
// writes the exit status down, ends whatever remains and then itself: while it
// lives something of the container may live, and after it nothing does.
// SIGTERM makes it kill the worker; other signals do nothing.
func Main(args []string) int {
	// The worker is killed with the thread that started it (see startWorker),
	// so this thread must last as long as the process.
	runtime.LockOSThread()
	// Nothing that is open here reaches the worker: neither our two pipes nor
	// what the launcher was itself started with.
	if err := unix.CloseRange(releaseFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		for fd := releaseFD; fd < 1024; fd++ { // before Linux 5.11
			syscall.CloseOnExec(fd)
		}
	}
	// Caught, not ignored: what is ignored stays so in the worker.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)

	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "spacelift-launcher: supervise is for the launcher to call")
		return 2
	}
	s := supervision{notes: Notes{Dir: args[0]}, signals: signals}
	answer := os.NewFile(answerFD, "answer")
	prepared := s.prepare()
	if errors.Is(prepared, errOvertaken) {
		_, _ = answer.WriteString(AnswerStarted)
		return 1
	}
	var b [1]byte
	if n, _ := os.NewFile(releaseFD, "release").Read(b[:]); n == 0 {
		return 0 // the launcher is gone, or changed its mind
	}
	if prepared == nil {
		prepared = s.startWorker()
	}
	if prepared != nil {
		_ = s.notes.write(exitFile, ExitNote{Code: 127, Err: prepared.Error(), Finished: time.Now()})
		_, _ = answer.WriteString(prepared.Error())
		return 1
	}
	_, _ = answer.WriteString(AnswerOK)
	_ = answer.Close()
	return s.watch()
}

// errOvertaken: another supervisor has started the worker.
var errOvertaken = errors.New("started by another supervisor")

type supervision struct {
	notes   Notes
	signals <-chan os.Signal
	plan    Plan
	note    ProcessNote
	lock    *os.File
}

// prepare does all that can be done before the release.
func (s *supervision) prepare() error {
	if err := s.acquire(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of orphans: %w", err)
	}
	var err error
	if s.plan, err = s.notes.Plan(); err != nil {
		return err
	}
	if s.note.Boot, err = BootID(); err != nil {
		return err
	}
	if s.note.Supervisor, err = identify(os.Getpid()); err != nil {
		return err
	}
	if s.plan.Mounts {
		return enterRoot(s.notes.Path("root"), s.plan.Spec.Mounts)
	}
	return nil
}

// acquire takes the lock that makes this the only supervisor. One that waits for
// its release gives it up when its launcher dies; one that was released keeps
// it, and its note says so.
func (s *supervision) acquire() error {
	f, err := os.OpenFile(s.notes.Path(lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if started, serr := s.notes.Started(); serr != nil {
			return serr
		} else if started {
			return errOvertaken
		}
		if err == nil {
			s.lock = f // closed by the end of the process alone
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return fmt.Errorf("lock the run directory: %w", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// startWorker executes the worker and notes who it is.
func (s *supervision) startWorker() error {
	// First the note without a worker: from here on there may be one.
	if err := s.notes.write(processFile, s.note); err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	spec := s.plan.Spec
	p, err := os.StartProcess(spec.Binary, append([]string{spec.Binary}, spec.Args...), &os.ProcAttr{
		Dir:   cmp.Or(spec.WorkDir, "/"),
		Env:   emptyEnvironment(),
		Files: []*os.File{null, os.Stdout, os.Stderr},
		// If somebody kills the supervisor, the worker goes with it rather
		// than running on unwatched.
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return err
	}
	// A child is a zombie until watch reaps it, so the number is still its own.
	if s.note.Worker, err = identify(p.Pid); err == nil {
		err = s.notes.write(processFile, s.note)
	}
	if err != nil {
		_ = p.Kill()
		_, _ = p.Wait()
		return err
	}
	return p.Release()
}

// watch reaps until no child is left.
func (s *supervision) watch() int {
	go func() { // ends with the process
		for sig := range s.signals {
			if sig == syscall.SIGTERM {
				_ = s.note.Worker.Signal(syscall.SIGKILL, s.note.Boot)
			}
		}
	}()
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1 // no child, and the worker not seen: can't be
		case pid == s.note.Worker.PID:
			// Written before the rest is ended, so that it isn't lost whatever
			// happens to this process; readers wait for the process's end.
			code := 0
			if err := s.notes.write(exitFile, noteOf(ws, time.Now())); err != nil {
				fmt.Fprintln(os.Stderr, "supervise: the exit status was not written:", err)
				code = 1
			}
			s.endRest()
			return code
		}
	}
}

func noteOf(ws syscall.WaitStatus, now time.Time) ExitNote {
	if ws.Signaled() {
		return ExitNote{Code: 128 + int(ws.Signal()), Signal: unix.SignalName(ws.Signal()), Finished: now}
	}
	return ExitNote{Code: ws.ExitStatus(), Finished: now}
}

// endRest kills what the worker left behind. All of it is below this process,
// whatever sessions and groups it made, since this is its reaper; so having no
// child any more proves that nothing is left.
func (s *supervision) endRest() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.ECHILD):
			return
		case pid > 0 || errors.Is(err, syscall.EINTR):
			continue
		}
		// Stop them all first: what forks faster than it is killed would
		// otherwise win.
		var stopped int
		for {
			all, err := descendants(os.Getpid())
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				fmt.Fprintln(os.Stderr, "supervise: list processes:", err)
			}
			for _, p := range all {
				_ = p.Signal(syscall.SIGSTOP, s.note.Boot)
			}
			if len(all) <= stopped {
				for _, p := range all {
					_ = p.Signal(syscall.SIGKILL, s.note.Boot)
				}
				break
			}
			stopped = len(all)
		}
		time.Sleep(time.Millisecond)
	}
}
