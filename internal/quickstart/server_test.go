package quickstart

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

func TestTakenPortIsReplacedAndNamed(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	wanted := addresses{http: busy.Addr().String(), mqtt: "127.0.0.1:0", health: "127.0.0.1:0"}
	got, taken, err := chooseAddresses(t.Context(), wanted)
	if err != nil {
		t.Fatal(err)
	}
	if len(taken) != 1 || taken[0] != busy.Addr().String() {
		t.Errorf("taken are %v, want %s", taken, busy.Addr())
	}
	if got.http == wanted.http || got.http == got.mqtt || got.mqtt == got.health || strings.HasSuffix(got.http, ":0") {
		t.Errorf("got %+v, want three free addresses", got)
	}
}

func TestFirstStartWantsTheDocumentedPorts(t *testing.T) {
	t.Parallel()
	if got := wantedAddresses(layout{t.TempDir()}); got != defaultAddresses {
		t.Errorf("wants %+v, want %+v", got, defaultAddresses)
	}
}

func TestPoolTokenThatNamesOtherAddressesIsReplaced(t *testing.T) {
	t.Parallel()
	api := story()
	api.pool = &Pool{ID: "pool", Name: poolName, Token: "not a token of this key and address"}
	s, _ := newSession(t, api)
	if _, _, err := s.getPool(t.Context()); err != nil {
		t.Fatal(err)
	}
	if api.resets != 1 || s.pool.Token != "another token" {
		t.Errorf("%d resets and token %q, want one reset", api.resets, s.pool.Token)
	}
	b, err := os.ReadFile(s.dir.token())
	if err != nil || string(b) != "another token\n" {
		t.Errorf("kept token is %q, %v", b, err)
	}
}

func TestBackendAutoFallsBackToProcessesAndSaysWhy(t *testing.T) {
	t.Parallel()
	no := fault.New(fault.Unavailable, "nobody answers at the socket")
	for _, c := range []struct {
		name, asked, want string
		err               error
		fails, says       bool
	}{
		{"auto with an engine", BackendAuto, BackendDocker, nil, false, false},
		{"auto without an engine", BackendAuto, BackendProcess, no, false, true},
		{"docker without an engine", BackendDocker, "", no, true, false},
		{"process with an engine", BackendProcess, BackendProcess, nil, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, rec := newSession(t, story())
			s.opts.Backend, s.engine = c.asked, fakeEngine{c.err}
			_, _, err := s.chooseBackend(t.Context())
			if c.fails {
				wantFault(t, err, "nobody answers")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s.backend != c.want || (s.image != "") != (c.want == BackendDocker) {
				t.Errorf("backend %q with image %q, want %q", s.backend, s.image, c.want)
			}
			if said := strings.Contains(rec.texts("backend"), "nobody answers at the socket"); said != c.says {
				t.Errorf("said %q", rec.texts("backend"))
			}
		})
	}
}

func TestHostWithoutTerraformGetsACustomWorkflowAndIsTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		installed string
		want      tool
	}{{"terraform", terraform}, {"tofu", tofu}, {"", custom}} {
		s, rec := newSession(t, story())
		s.opts.Backend = BackendProcess
		s.opts.LookPath = func(name string) (string, error) {
			if name != c.installed {
				return "", exec.ErrNotFound
			}
			return "/bin/" + name, nil
		}
		if _, _, err := s.chooseBackend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.tool != c.want {
			t.Errorf("with %q installed the tool is %q, want %q", c.installed, s.tool, c.want)
		}
		if said := strings.Contains(rec.texts("backend"), "custom workflow"); said != (c.want == custom) {
			t.Errorf("with %q installed it said %q", c.installed, rec.texts("backend"))
		}
	}
}

func TestLaunchersGetSecretsByEnvironmentAndAreUndrained(t *testing.T) {
	t.Parallel()
	api := story()
	api.workers[1].Drained = true
	s, rec := newSession(t, api)
	if len(api.undrained) != 1 || api.undrained[0] != workerTwo || !strings.Contains(rec.texts("workers"), "launcher-2") {
		t.Errorf("undrained %v and said %q, want the drain of an earlier start taken back", api.undrained, rec.texts("workers"))
	}
	s.keyPEM, s.recovery, s.backend = []byte("key"), "age1x", BackendProcess
	env := strings.Join(s.launcherEnv("launcher-1"), "\n")
	for _, want := range []string{"SPACELIFT_TOKEN=token", "SPACELIFT_POOL_PRIVATE_KEY=a2V5", "SPACELIFT_RECOVERY_RECIPIENTS=age1x", "SPACELIFT_METADATA_launcher=launcher-1", "SPACELIFT_WORKSPACE_ROOT="} {
		if !strings.Contains(env, want) {
			t.Errorf("environment lacks %s:\n%s", want, env)
		}
	}
}

func TestRepositoryIsMadeOnceAndAPersonsCommitsStay(t *testing.T) {
	t.Parallel()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal("these tests need git: install it")
	}
	s, _ := newSession(t, story())
	s.opts.LookPath, s.opts.Environ = exec.LookPath, os.Environ()
	if err := os.MkdirAll(s.dir.root, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.makeRepository(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := s.git(t.Context(), git, s.dir.repo(), "ls-files")
	if err != nil {
		t.Fatal(err)
	}
	if want := ".spacelift/stand-in.sh\n.spacelift/workflow.yml\nREADME.md\nmain.tf"; files != want {
		t.Errorf("the repository has\n%s\nwant\n%s", files, want)
	}
	if err := os.WriteFile(filepath.Join(s.dir.repo(), "more.tf"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"add", "."}, {"commit", "--quiet", "--message", "more"}} {
		if _, err := s.git(t.Context(), git, s.dir.repo(), args...); err != nil {
			t.Fatal(err)
		}
	}
	said, _, err := s.makeRepository(t.Context())
	if err != nil || !strings.Contains(said, "going on with") {
		t.Errorf("second start said %q, %v", said, err)
	}
	if _, err := os.Stat(filepath.Join(s.dir.repo(), "more.tf")); err != nil {
		t.Error("the person's file is gone")
	}
}

// Ctrl-C kills git wherever it stands, and its lock stays.
func TestRepositoryThatAnInterruptedStartLeftHalfMadeIsMadeAnew(t *testing.T) {
	t.Parallel()
	s, _ := newSession(t, story())
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal("these tests need git: install it")
	}
	broken := filepath.Join(t.TempDir(), "git")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\n"+git+" \"$@\" || exit 1\n[ \"$1\" != init ] || { touch .git/config.lock; kill -9 $$; }\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.opts.LookPath = func(string) (string, error) { return broken, nil }
	s.opts.Environ = os.Environ()
	if _, _, err := s.makeRepository(t.Context()); err == nil {
		t.Fatal("a git that was killed passes for one that has done its work")
	}
	s.opts.LookPath = exec.LookPath
	if said, _, err := s.makeRepository(t.Context()); err != nil {
		t.Errorf("the next start fails for good: %v", err)
	} else if strings.Contains(said, "going on") {
		t.Errorf("it says %q of half a repository", said)
	}
}

func TestRepositoryWithoutTheBranchIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	s, _ := newSession(t, story())
	s.opts.LookPath, s.opts.Environ = exec.LookPath, os.Environ()
	if _, _, err := s.makeRepository(t.Context()); err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(s.dir.repo(), "main.tf")
	if err := os.WriteFile(main, []byte("# mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.git(t.Context(), "git", s.dir.repo(), "branch", "--move", "trunk"); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.makeRepository(t.Context())
	wantFault(t, err, "is no git repository with a branch main")
	if b, err := os.ReadFile(main); err != nil || string(b) != "# mine\n" {
		t.Errorf("main.tf is %q, %v now, want the person's", b, err)
	}
}

func TestStackSaysSealedStateAndTheToolAtHand(t *testing.T) {
	t.Parallel()
	for tool, want := range map[tool]string{terraform: "TERRAFORM_FOSS", tofu: "OPENTOFU", custom: "CUSTOM"} {
		input := StackSpec{Name: "s", Tool: tool}.input()
		if input.StateMode != "SEALED" {
			t.Errorf("state mode is %s, want SEALED", input.StateMode)
		}
		found := ""
		for _, vendor := range input.VendorConfig {
			found = vendor.(map[string]any)["workflowTool"].(string)
		}
		if found != want {
			t.Errorf("tool %s gives %s, want %s", tool, found, want)
		}
	}
}

func TestFailureNamesTheStepAndTheLogs(t *testing.T) {
	t.Parallel()
	s, rec := newSession(t, story())
	err := s.fail("plan", errors.New("read: connection refused"))
	wantFault(t, err, "step plan: read: connection refused: the logs are in "+s.dir.path("logs"))
	if said := rec.texts("plan"); said != err.Error()+"\n" {
		t.Errorf("said %q, want the same as the error %q", said, err)
	}
}

func TestTokenOfAnEarlierStartIsKeptWhereItsAddressesAreFree(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]string{
		"http://127.0.0.1:1983": "127.0.0.1:1983", "tls://127.0.0.1:1984": "127.0.0.1:1984", "127.0.0.1:1984": "127.0.0.1:1984",
	} {
		if got := hostOf(endpoint); got != want || !isLoopback(got) {
			t.Errorf("hostOf(%q) is %q, want the loopback address %q", endpoint, got, want)
		}
	}
	for _, far := range []string{"example.com:443", "127.0.0.1:0", "127.0.0.1", ""} {
		if isLoopback(far) {
			t.Errorf("%q passes for a loopback address", far)
		}
	}
}
