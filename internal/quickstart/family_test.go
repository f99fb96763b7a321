package quickstart

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spaceport-iac/spaceport/internal/durable"
)

// TestMain is also a program that starts a child in a family and then hangs, for
// the test that kills it.
func TestMain(m *testing.M) {
	if dir := os.Getenv("QUICKSTART_TEST_PARENT"); dir != "" {
		f := newFamily(nil, func(error) {})
		c, err := f.start(shell(dir, "child", "exec sleep 600"))
		if err != nil {
			panic(err)
		}
		if err := durable.WriteFile(filepath.Join(dir, "pid"), []byte(strconv.Itoa(c.cmd.Process.Pid))); err != nil {
			panic(err)
		}
		select {}
	}
	goleak.VerifyTestMain(m)
}

func shell(dir, name, script string) childSpec {
	return childSpec{
		name: name, binary: "/bin/sh", args: []string{"-c", "exec 2>&1; " + script},
		log: filepath.Join(dir, name+".log"), env: inherited(os.Environ()), signals: 1, grace: 20 * time.Second,
	}
}

// eventually polls until f returns "", and fails with what it said last.
func eventually(t *testing.T, what string, f func() string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for last := f(); last != ""; last = f() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen; last seen: %s", what, last)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestChildThatEndsByItselfIsReportedWithItsLastLineAndLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	failed := make(chan error, 1)
	f := newFamily(nil, func(err error) { failed <- err })
	defer f.close()
	if _, err := f.start(shell(dir, "server", "echo starting; echo port is taken; exit 3")); err != nil {
		t.Fatal(err)
	}
	err := <-failed
	wantFault(t, err, "server ended by itself (exit status 3): port is taken")
	wantFault(t, err, filepath.Join(dir, "server.log"))
}

func TestFamilyStopsTheNewestFirstAndWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := newFamily(nil, func(err error) { t.Errorf("an expected end was reported: %v", err) })
	order := filepath.Join(dir, "order")
	for _, name := range []string{"server", "launcher"} {
		spec := shell(dir, name, "trap 'echo "+name+" >>"+order+"; exit 0' TERM; echo up; while :; do sleep 0.01; done")
		if name == "launcher" {
			spec.binary = "/usr/bin/env"
			spec.args = append([]string{"sh"}, spec.args...)
		}
		if _, err := f.start(spec); err != nil {
			t.Fatal(err)
		}
		eventually(t, name+" being up", func() string {
			b, _ := os.ReadFile(spec.log)
			if strings.Contains(string(b), "up") {
				return ""
			}
			return "log " + string(b)
		})
	}
	f.close()
	if got, _ := os.ReadFile(order); string(got) != "launcher\nserver\n" {
		t.Errorf("ended in order %q, want the launcher before the server", got)
	}
}

func TestChildThatDoesNotListenIsKilledInAHurry(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hurry := make(chan struct{})
	f := newFamily(hurry, func(error) {})
	spec := shell(dir, "deaf", "trap '' TERM; echo up; while :; do sleep 0.01; done")
	spec.grace = time.Hour
	c, err := f.start(spec)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child being up", func() string {
		b, _ := os.ReadFile(spec.log)
		return strings.TrimPrefix("not yet"+string(b), "not yetup\n")
	})
	close(hurry)
	f.close()
	if status := c.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("the child ended as %v, want it killed", c.cmd.ProcessState)
	}
}

func TestKilledQuickstartLeavesNoChild(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "QUICKSTART_TEST_PARENT="+dir)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	eventually(t, "the child's start", func() string {
		b, err := os.ReadFile(filepath.Join(dir, "pid"))
		if err != nil {
			return err.Error()
		}
		pid, err = strconv.Atoi(string(b))
		if err != nil {
			return err.Error()
		}
		return ""
	})
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // "signal: killed", as intended
	eventually(t, "the end of child "+strconv.Itoa(pid), func() string {
		// A zombie that its new parent has not waited for yet is dead too.
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return ""
		}
		return string(stat)
	})
}

func TestChildrenInheritNoSettingsOfThePersonsShell(t *testing.T) {
	t.Parallel()
	got := inherited([]string{"PATH=/bin", "SPACELIFT_TOKEN=x", "TF_LOG=trace", "AWS_SECRET_ACCESS_KEY=x", "DOCKER_HOST=unix:///s"}, "A=b")
	if want := "PATH=/bin DOCKER_HOST=unix:///s A=b"; strings.Join(got, " ") != want {
		t.Errorf("environment is %v, want %s", got, want)
	}
}
