package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one process of this host, told from every other by the time of its
// start in clock ticks since boot.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// BootID is new with each boot of this machine.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// identify returns the process that has this number now.
func identify(pid int) (Process, error) {
	st, err := readStat(pid)
	return Process{PID: pid, Start: st.start}, err
}

// stat is what we use of /proc/PID/stat.
type stat struct {
	state  byte
	parent int
	start  uint64
}

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(b)
}

// parseStat reads the fields behind the command's name, which is in parentheses
// and may hold parentheses and spaces itself.
func parseStat(b []byte) (stat, error) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return stat{}, errors.New("a process's stat has no name")
	}
	f := strings.Fields(string(b[i+1:]))
	if len(f) < 20 {
		return stat{}, errors.New("a process's stat is short")
	}
	parent, err := strconv.Atoi(f[1])
	if err != nil {
		return stat{}, fmt.Errorf("a process's parent: %w", err)
	}
	start, err := strconv.ParseUint(f[19], 10, 64) // field 22 of the file
	if err != nil {
		return stat{}, fmt.Errorf("a process's start: %w", err)
	}
	return stat{state: f[0][0], parent: parent, start: start}, nil
}

// Alive reports whether it still runs. boot is the boot it was seen in.
func (p Process) Alive(boot string) bool {
	if now, err := BootID(); err != nil || now != boot || p.PID <= 0 {
		return false
	}
	st, err := readStat(p.PID)
	return err == nil && st.start == p.Start && st.state != 'Z' && st.state != 'X'
}

// open returns a descriptor that stands for this very process, so that what is
// done with it cannot hit one that got the number later.
func (p Process) open(boot string) (int, error) {
	if p.PID <= 0 {
		return -1, os.ErrProcessDone
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, os.ErrProcessDone
	}
	if err != nil {
		return -1, fmt.Errorf("open process %d: %w", p.PID, err)
	}
	if !p.Alive(boot) {
		_ = unix.Close(fd)
		return -1, os.ErrProcessDone
	}
	return fd, nil
}

// Signal sends a signal; os.ErrProcessDone if the process has ended.
func (p Process) Signal(sig syscall.Signal, boot string) error {
	fd, err := p.open(boot)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	} else if err != nil {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return nil
}

// Wait returns nil when the process has ended. It may be any process, not only
// a child.
func (p Process) Wait(ctx context.Context, boot string) error {
	fd, err := p.open(boot)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return err
	}
	// Non-blocking, it is watched by the runtime's poller: no thread waits.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("watch process %d: %w", p.PID, err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch process %d: %w", p.PID, err)
	}
	err = conn.Read(func(fd uintptr) bool {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, 0)
		return err == nil && n > 0
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Reap takes an ended child's status off the process table; of a process that
// isn't our child it does nothing.
func (p Process) Reap() {
	if st, err := readStat(p.PID); err != nil || st.start != p.Start || st.parent != os.Getpid() {
		return
	}
	var ws syscall.WaitStatus
	_, _ = syscall.Wait4(p.PID, &ws, syscall.WNOHANG, nil)
}

// children maps each process of this host to those it started or adopted.
func children() (map[int][]Process, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	of := map[int][]Process{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if st, err := readStat(pid); err == nil && st.state != 'Z' && st.state != 'X' {
			of[st.parent] = append(of[st.parent], Process{PID: pid, Start: st.start})
		}
	}
	return of, nil
}

// descendants lists the living processes below pid.
func descendants(pid int) ([]Process, error) {
	of, err := children()
	if err != nil {
		return nil, err
	}
	all := of[pid]
	for i := 0; i < len(all); i++ {
		all = append(all, of[all[i].PID]...)
	}
	return all, nil
}
