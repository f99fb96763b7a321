package worker

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// tool is a stand-in that holds a lock: it gives it back on the first interrupt
// and complains about a second. It says "locked" and waits.
const tool = `
trap 'n=$((n+1)); echo interrupt $n; sleep 0.3; echo unlocked; exit 9' INT
echo locked
while :; do sleep 0.05; done
`

func TestAStopInterruptsTheToolOnce(t *testing.T) {
	t.Parallel()
	b := setupCustom(t, map[string]string{"apply": "sh tool.sh"}, run.PhaseApply)
	b.write("tool.sh", tool)
	b.job.Phases[0].After = []string{"echo the-after-hook"}
	b.job.AfterRun = []string{"echo state $TF_VAR_spacelift_final_run_state"}
	r := b.meanwhile("locked\n", func() { _ = b.dir.Stop(false, "stopped by alice") })
	want(t, r, wire.ResultStopped, 9, "stopped by alice")
	b.wantLog("locked\n", "[worker] interrupting what runs, and killing it in 5s: stopped by alice\n", "state STOPPED\n")
	b.wantLog("locked\n", "interrupt 1\n", "unlocked\n", "state STOPPED\n")
	b.wantNoLog("interrupt 2", "\nthe-after-hook")
}

func TestAStopBeforeTheBeginningIsObeyed(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.write("prepared", "")
	b.job.Command = "sleep 60"
	_ = b.dir.Stop(false, "changed my mind")
	r := b.run()
	if r.Result != wire.ResultStopped || r.Reason != "changed my mind" {
		t.Errorf("result %+v", r)
	}
}

func TestAToolThatOutlivesItsWrapperHasItsGrace(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := setup(t, nil)
	b.write("tool.sh", tool)
	b.job.Command = "exec " + quote(self) + " worker wrap sh tool.sh"
	r := b.meanwhile("locked\n", func() { _ = b.dir.Stop(false, "enough") })
	if r.Result != wire.ResultStopped {
		t.Errorf("result %s", r.Result)
	}
	b.wantLog("interrupt 1\n", "unlocked\n")
	b.wantNoLog("interrupt 2")
}

func TestAToolThatNobodyHearsCanBeStopped(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.job.UnackedLogBytes = 100_000
	b.job.Command = "trap 'echo unlocked; exit 9' INT; i=0; while :; do i=$((i+1)); echo line $i xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"
	b.job.GraceMs = 600_000
	r := b.meanwhile("line 300 ", func() { _ = b.dir.Stop(false, "enough") })
	want(t, r, wire.ResultStopped, 9, "enough")
}

func TestAKillNeedsNoGrace(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.write("tool.sh", tool)
	b.job.Command = "sh tool.sh"
	b.job.GraceMs = 600_000
	b.job.AfterRun = []string{"echo after-run-ran"}
	r := b.meanwhile("locked\n", func() { _ = b.dir.Stop(true, "enough") })
	want(t, r, wire.ResultStopped, 137, "enough")
	b.wantNoLog("interrupt", "\nafter-run-ran")
}

func TestAKillFollowsAnInterrupt(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.job.Command = "trap '' INT; echo ready; while :; do sleep 0.05; done"
	b.job.GraceMs = 600_000
	r := b.meanwhile("ready\n", func() {
		_ = b.dir.Stop(false, "please")
		_ = b.dir.Stop(true, "now")
	})
	if r.Result != wire.ResultStopped || r.ExitCode != 137 {
		t.Errorf("result %s, exit code %d", r.Result, r.ExitCode)
	}
}

func TestAfterTheGraceEverythingIsKilled(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.job.Command = "trap '' INT; echo ready; while :; do sleep 0.05; done"
	b.job.GraceMs = 100
	r := b.meanwhile("ready\n", func() { _ = b.dir.Stop(false, "please") })
	want(t, r, wire.ResultStopped, 137, "please; it did not end within its grace of 100ms and was killed")
}

func TestASignalToTheWorkerIsAStop(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.write("tool.sh", tool)
	b.job.Command = "sh tool.sh"
	r := b.meanwhile("locked\n", func() { _ = b.cmd.Process.Signal(unix.SIGTERM) })
	if r.Result != wire.ResultStopped || r.Reason != "the container was told to stop" {
		t.Errorf("result %s: %s", r.Result, r.Reason)
	}
	b.wantLog("interrupt 1\n", "unlocked\n")
}

func TestTheTotalTimeIsLimited(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.job.Command = "while :; do echo tick; sleep 0.05; done"
	b.job.TimeoutMs = 300
	b.job.AfterRun = []string{"echo after-run-ran"}
	r := b.run()
	if r.Result != wire.ResultTimeout || !strings.Contains(r.Reason, "longer than its limit of 300ms (the last output came ") {
		t.Errorf("result %s: %s", r.Result, r.Reason)
	}
	b.wantNoLog("\nafter-run-ran")
}

func TestSilenceIsLimited(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.job.Command = "echo a question; sleep 60"
	b.job.SilenceMs = 200
	r := b.run()
	if r.Result != wire.ResultTimeout || !strings.Contains(r.Reason, "no output for 200ms") {
		t.Errorf("result %s: %s", r.Result, r.Reason)
	}
}

func TestTheFenceEndsWhatRuns(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.write("tool.sh", tool)
	b.job.Command = "sh tool.sh"
	b.job.FenceMs = 1000
	b.job.AfterRun = []string{"echo after-run-ran"}
	b.start()
	b.beatUntil("locked\n")
	r := b.wait()
	if r.Result != wire.ResultFenced || !strings.Contains(r.Reason, "for 1s") {
		t.Errorf("result %s: %s", r.Result, r.Reason)
	}
	b.wantLog("interrupt 1\n", "unlocked\n")
	b.wantNoLog("\nafter-run-ran")
}

func TestABackgroundProcessDoesNotHoldUpTheRun(t *testing.T) {
	t.Parallel()
	b := setupCustom(t, map[string]string{
		"init": "sleep 600 & echo $! >child; setsid sleep 600 & echo started",
		"plan": "kill -0 $(cat child) 2>/dev/null && echo it-still-lives; true",
	}, run.PhaseInit, run.PhasePlan)
	began := time.Now()
	want(t, b.run(), wire.ResultOK, 0, "")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	b.wantLog("started\n")
	b.wantNoLog("\nit-still-lives")
}

func TestADaemonLivesUntilTheContainerEnds(t *testing.T) {
	t.Parallel()
	b := setupCustom(t, map[string]string{"plan": "kill -0 $(cat daemon) && echo the daemon lives"}, run.PhaseInit, run.PhasePlan)
	b.job.Phases[0].Before = []string{"setsid sh -c 'echo $$ >daemon; exec sleep 600' >/dev/null 2>&1 &\nwhile ! [ -s daemon ]; do sleep 0.01; done"}
	want(t, b.run(), wire.ResultOK, 0, "")
	b.wantLog("the daemon lives\n")
	data, _ := os.ReadFile(b.dir.Workspace() + "/source/daemon")
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, 0); err == nil {
		t.Errorf("the daemon %d outlived its container", pid)
	}
}

func TestMuchOutputIsComplete(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.job.Command = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"
	want(t, b.run(), wire.ResultOK, 0, "")
	_, lines, _ := strings.Cut(b.log.String(), "done\n")
	got := strings.Split(strings.TrimSuffix(lines, "\n"), "\n")
	if len(got) != 20000 || got[19999] != "line 19999" {
		t.Errorf("%d lines, the last is %q", len(got), got[len(got)-1])
	}
}

func TestTheToolWaitsUntilItsLogIsTaken(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.job.UnackedLogBytes = 100_000
	b.job.SilenceMs = 400 // passes while the tool cannot be heard
	b.job.Command = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo written"
	r := b.meanwhile("xxxx", func() {
		<-time.After(time.Second)
		_ = b.dir.Ack(10_000_000)
	})
	want(t, r, wire.ResultOK, 0, "")
	if b.log.Len() < 3_000_000 {
		t.Errorf("%d bytes of log", b.log.Len())
	}
}

func TestAWorkerWithoutALauncherGoesAway(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.env = []string{"TEST_RELEASE_LIMIT=100ms"}
	b.startWaiting()
	if err := b.serve(); err == nil || b.cmd.ProcessState.ExitCode() != ExitIdle {
		t.Errorf("ended with %v", err)
	}
}

func TestAJobMayComeLater(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.env = []string{"TEST_RELEASE_LIMIT=30s"}
	b.startWaiting()
	if err := b.dir.Release(b.job); err != nil {
		t.Fatal(err)
	}
	want(t, b.wait(), wire.ResultOK, 0, "")
}

func TestAJobFileThatIsNoJobIsSaid(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	if err := os.WriteFile(b.dir.In()+"/job.json", []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.startWaiting()
	want(t, b.wait(), wire.ResultFailed, 0, "the job file cannot be read")
}
