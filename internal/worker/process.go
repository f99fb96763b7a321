package worker

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// harden makes this process the one that inherits orphans, and keeps the run's own
// processes, which have the same user, from reading its memory and environment.
func harden() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of orphans: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid tracing: %w", err)
	}
	return nil
}

// reaper starts and waits for all children of this process. Nothing else may wait
// for one: as PID 1 it collects children that it never started.
type reaper struct {
	mu      sync.Mutex
	started map[int]chan unix.WaitStatus
	none    bool // there was no child left at the last look
	sig     chan os.Signal
	done    chan struct{}
	wg      sync.WaitGroup
}

func newReaper() *reaper {
	r := &reaper{started: map[int]chan unix.WaitStatus{}, sig: make(chan os.Signal, 1), done: make(chan struct{})}
	signal.Notify(r.sig, unix.SIGCHLD)
	r.wg.Go(func() {
		for {
			select {
			case <-r.done:
				return
			case <-r.sig:
				r.collect()
			}
		}
	})
	return r
}

func (r *reaper) close() {
	signal.Stop(r.sig)
	close(r.done)
	r.wg.Wait()
}

// start runs a program in a session of its own. The channel gets its status.
func (r *reaper) start(path string, argv, env []string, dir string, files []*os.File) (int, <-chan unix.WaitStatus, error) {
	fds := make([]uintptr, len(files))
	for i, f := range files {
		fds[i] = f.Fd()
	}
	// Held over the fork, so that the child cannot be collected before it is known.
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Dir: dir, Env: env, Files: fds, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, nil, err
	}
	status := make(chan unix.WaitStatus, 1)
	r.started[pid] = status
	r.none = false
	return pid, status, nil
}

func (r *reaper) collect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			r.none = errors.Is(err, unix.ECHILD)
			return
		case pid <= 0:
			return
		}
		if status, ours := r.started[pid]; ours {
			status <- ws
			delete(r.started, pid)
		}
	}
}

// alone reports whether this process has no descendants at all.
func (r *reaper) alone() bool {
	r.collect()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.none
}

// code returns the exit code of a status as a shell would.
func code(ws unix.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// proc is a row of the process table.
type proc struct {
	pid, parent, group, session int
	zombie, asleep, still       bool
}

// processes reads the process table. It uses what every kernel's /proc has.
func processes() []proc {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(-1)
	var table []proc
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		data, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // ended meanwhile
		}
		if p, ok := parseStat(pid, string(data)); ok {
			table = append(table, p)
		}
	}
	return table
}

// parseStat reads "pid (name) state ppid pgrp session …". The name may hold
// anything, so the fields count from its last bracket.
func parseStat(pid int, stat string) (proc, bool) {
	_, rest, found := cutLast(stat, ')')
	fields := strings.Fields(rest)
	if !found || len(fields) < 4 {
		return proc{}, false
	}
	parent, err1 := strconv.Atoi(fields[1])
	group, err2 := strconv.Atoi(fields[2])
	session, err3 := strconv.Atoi(fields[3])
	p := proc{pid: pid, parent: parent, group: group, session: session}
	switch fields[0] {
	case "Z", "X":
		p.zombie = true
	case "S":
		p.asleep = true
	case "T", "t", "D": // stopped, or in the kernel: a parent waits there for vfork
		p.still = true
	}
	return p, errors.Join(err1, err2, err3) == nil
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// descendants returns the living descendants of a process.
func descendants(table []proc, of int) []int {
	children := map[int][]proc{}
	for _, p := range table {
		children[p.parent] = append(children[p.parent], p)
	}
	var living []int
	for queue := []int{of}; len(queue) > 0; queue = queue[1:] {
		for _, p := range children[queue[0]] {
			queue = append(queue, p.pid)
			if !p.zombie {
				living = append(living, p.pid)
			}
		}
	}
	return living
}

// members returns the living processes of a session.
func members(table []proc, session int) []int {
	var living []int
	for _, p := range table {
		if p.session == session && !p.zombie {
			living = append(living, p.pid)
		}
	}
	return living
}

// killAll kills every descendant, those that left their session included, until
// none is left: one that forks while we look is caught by the next look. What the
// kernel itself holds on to (an unreachable disk) is given up after a while.
func (r *reaper) killAll() {
	for range 200 {
		if r.alone() {
			return
		}
		for _, pid := range descendants(processes(), os.Getpid()) {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		pause(5 * time.Millisecond)
	}
}

// killSession kills what is left of a phase's session.
func (r *reaper) killSession(session int) {
	if r.alone() {
		return
	}
	for range 200 {
		left := members(processes(), session)
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		pause(5 * time.Millisecond)
		r.collect()
	}
}

// pause waits between two looks at the process table, which tells nobody when it
// changes.
func pause(d time.Duration) { <-time.After(d) }

// bootTime is time since the machine started, with the time that it was suspended.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
