package worker

import (
	"os"
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
