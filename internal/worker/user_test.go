package worker

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// A launcher that is root gives runs to another user, who may do less.
func TestARunOfAnotherUserWorksAndCannotLookIntoItsWorker(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root may run as somebody else")
	}
	const user = 1983
	parent := t.TempDir()
	for dir := parent; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	binary := copyOfTest(t, parent)

	b := setupCustom(t, map[string]string{
		"init": "id -u; touch $HOME/x && echo home works; " +
			"cat /proc/$PPID/environ >/dev/null 2>&1 && echo environ is readable; " +
			"ls /proc/$PPID/fd >/dev/null 2>&1 && echo files are readable; " +
			"touch ../../in/x 2>/dev/null && echo in is writable; " +
			"ls ../../private >/dev/null 2>&1 && echo private is readable; true",
	}, run.PhaseInit, run.PhasePlan)
	dir, err := rundir.Create(parent, boxID, rundir.Options{UID: user, GID: user})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Remove() })
	source := filepath.Join(dir.Workspace(), wire.SourceDir)
	if err := os.CopyFS(source, os.DirFS(filepath.Join(b.dir.Workspace(), wire.SourceDir))); err != nil {
		t.Fatal(err)
	}
	if err := filepath.Walk(source, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, user, user)
	}); err != nil {
		t.Fatal(err)
	}
	b.dir = dir
	b.job.WorkspaceRoot = dir.Workspace()
	b.job.Final = false
	b.job.StateMode = wire.StateManaged
	b.job.Phases[0].Before = []string{"export CARRIED=yes"}
	if err := dir.Release(b.job); err != nil {
		t.Fatal(err)
	}
	b.cmd = exec.Command(binary, "worker", dir.Path())
	b.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/"}
	b.cmd.Stderr = &b.stderr
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	want(t, b.wait(), wire.ResultOK, 0, "")
	b.wantLog("\n1983\n", "home works\n")
	b.wantNoLog("\nenviron is", "\nfiles are", "\nin is", "\nprivate is")
	if b.carry().Set["CARRIED"] != "yes" {
		t.Errorf("carried %q", b.carry().Set)
	}
}

// copyOfTest puts this binary where another user can run it.
func copyOfTest(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	path := filepath.Join(dir, "worker.test")
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if closeErr := to.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}
