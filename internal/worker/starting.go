package worker

import (
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// unborn are processes that a shell has made and that are not yet what they will
// be: between fork and exec a signal falls to the shell's own handler, which knows
// that it is in the child and drops it. The tool that comes out of it would never
// hear of the interrupt and be killed at the end of its grace, with its lock held.
type unborn map[int]string // pid to its parent's command line

// lateLimit is how long such a process is waited for. A subshell never becomes
// anything else, and is a shell that got its signal.
const lateLimit = 200 * time.Millisecond

const (
	// momentLimit is how long a moment is looked for at which the shell waits. One
	// that works by itself has none.
	momentLimit = 100 * time.Millisecond
	// stopLimit is how long a group is waited for to stand still. It does at once but
	// on a machine that is very busy.
	stopLimit = 200 * time.Millisecond
)

// interrupt sends the group of a phase's shell an interrupt, such that all hear it
// who are there or about to be. A shell with a trap that is on its way from one
// command to the next notes the signal and starts the next all the same; so a
// moment is chosen at which it waits. The group is stopped for as long as it is
// looked at, for what is forked between a look and the signal would be missed.
func interrupt(shell int) {
	var table []proc
	for end := time.Now().Add(momentLimit); ; pause(time.Millisecond) {
		table = processes()
		late := time.Now().After(end)
		if !late && !slices.ContainsFunc(table, func(p proc) bool { return p.pid == shell && p.asleep }) {
			continue
		}
		waitsFor := children(table, shell)
		_ = unix.Kill(-shell, unix.SIGSTOP)
		table = stopped(shell)
		if late || slices.Equal(waitsFor, children(table, shell)) {
			break
		}
		_ = unix.Kill(-shell, unix.SIGCONT)
	}
	late := starting(table, shell)
	_ = unix.Kill(-shell, unix.SIGINT)
	_ = unix.Kill(-shell, unix.SIGCONT)
	late.interrupt()
}

// stopped waits until every process of a group that was told to stop stands still.
func stopped(group int) []proc {
	for end := time.Now().Add(stopLimit); ; pause(time.Millisecond) {
		table := processes()
		moves := func(p proc) bool { return p.group == group && !p.zombie && !p.still }
		if !slices.ContainsFunc(table, moves) || time.Now().After(end) {
			return table
		}
	}
}

// children returns the living children of a process, in order.
func children(table []proc, parent int) []int {
	var living []int
	for _, p := range table {
		if p.parent == parent && !p.zombie {
			living = append(living, p.pid)
		}
	}
	slices.Sort(living)
	return living
}

// starting returns the unborn processes of a session.
func starting(table []proc, session int) unborn {
	var late unborn
	for _, p := range table {
		if p.session != session || p.zombie || p.pid == session {
			continue
		}
		own, parents := commandLine(p.pid), commandLine(p.parent)
		if own != "" && own == parents {
			if late == nil {
				late = unborn{}
			}
			late[p.pid] = own
		}
	}
	return late
}

// interrupt sends those that have become something else the signal that they
// missed, each once.
func (u unborn) interrupt() {
	for waited := time.Duration(0); len(u) > 0 && waited < lateLimit; waited += 5 * time.Millisecond {
		for pid, was := range u {
			switch now := commandLine(pid); now {
			case was:
				continue
			case "": // ended
			default:
				_ = unix.Kill(pid, unix.SIGINT)
			}
			delete(u, pid)
		}
		if len(u) > 0 {
			pause(5 * time.Millisecond)
		}
	}
}

func commandLine(pid int) string {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return ""
	}
	return string(data)
}
