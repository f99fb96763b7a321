// The worker of the conformance suite: it does one thing and ends.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		os.Exit(99)
	}
	args := os.Args[2:]
	switch os.Args[1] {
	case "exit": // CODE
		code, _ := strconv.Atoi(args[0])
		fmt.Println("ending with", code)
		os.Exit(code)
	case "await": // OUT: says ready, ends with 5 on SIGINT
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGINT)
		put(args[0]+"/ready", "")
		<-signals
		os.Exit(5)
	case "litter": // OUT MARKER stay|leave: a process in another session
		grandchild(args[1])
		put(args[0]+"/ready", "")
		if args[2] == "stay" {
			time.Sleep(time.Hour)
		}
	case "between": // MARKER: starts the sleeper and ends, so that it's an orphan
		sleeper := exec.Command(self(), "sleep", args[0])
		sleeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		sleeper.Stdout, sleeper.Stderr = os.Stdout, os.Stderr
		must(sleeper.Start())
	case "hog": // touches more and more memory
		var held [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			held = append(held, b)
			if len(held) > 4096 {
				os.Exit(96) // no limit
			}
		}
	case "bomb": // OUT MARKER: starts processes until it may not, and says why
		for range 300 {
			sleeper := exec.Command(self(), "sleep", args[1])
			sleeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := sleeper.Start(); err != nil {
				put(args[0]+"/ready", err.Error())
				break
			}
		}
		time.Sleep(time.Hour)
	case "sleep":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		time.Sleep(time.Hour)
	case "write": // FILE: 0 if it could be written, 30 if the place is read-only
		err := os.WriteFile(args[0], []byte("written\n"), 0o644)
		if err != nil {
			fmt.Println(err)
			if strings.Contains(err.Error(), syscall.EROFS.Error()) {
				os.Exit(30)
			}
			os.Exit(31)
		}
	case "tell": // OUT: what it was given
		var b strings.Builder
		fmt.Fprintf(&b, "env %q\n", os.Environ())
		n, err := os.Stdin.Read(make([]byte, 1))
		fmt.Fprintf(&b, "stdin %d %v\n", n, err)
		wd, _ := os.Getwd()
		fmt.Fprintf(&b, "dir %s\n", wd)
		// The runtime opens a poller and its CPU quota for itself; whatever else
		// is open came with us.
		for fd := 3; fd < 64; fd++ {
			if to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "/sys/fs/cgroup/") {
				fmt.Fprintf(&b, "fd %d %s\n", fd, to)
			}
		}
		put(args[0]+"/told", b.String())
	default:
		os.Exit(98)
	}
}

func grandchild(marker string) {
	between := exec.Command(self(), "between", marker)
	between.Stdout, between.Stderr = os.Stdout, os.Stderr
	must(between.Run())
}

// self is a path by which this binary can be executed again.
func self() string {
	p, err := os.Executable()
	must(err)
	return p
}

func put(path, text string) {
	must(os.WriteFile(path+".tmp", []byte(text), 0o644))
	must(os.Rename(path+".tmp", path))
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(97)
	}
}
