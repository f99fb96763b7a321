package setting

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

func TestTokenAndKeyComeFromOnePlaceEach(t *testing.T) {
	t.Parallel()
	file, empty := filepath.Join(t.TempDir(), "secret"), filepath.Join(t.TempDir(), "empty")
	for name, content := range map[string]string{file: "from-file\n", empty: " \n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		env  []string
		want string // token and key, or the sentence
	}{
		{nil, []string{"SPACELIFT_TOKEN=t", "SPACELIFT_POOL_PRIVATE_KEY=k"}, "t k"},
		{nil, []string{"SPACELIFT_TOKEN_FILE=" + file, "SPACELIFT_POOL_PRIVATE_KEY_FILE=" + file}, "from-file from-file"},
		{[]string{"--token-file", file, "--pool-private-key-command=echo from command"}, nil, "from-file from command"},
		{nil, []string{"SPACELIFT_TOKEN_COMMAND=printf '%s' a$((1+1))", "SPACELIFT_POOL_PRIVATE_KEY=k"}, "a2 k"},
		{nil, []string{"SPACELIFT_TOKEN=t", "SPACELIFT_TOKEN_FILE=" + file}, "SPACELIFT_TOKEN_FILE: SPACELIFT_TOKEN is set too: set one of them"},
		{[]string{"--pool-private-key-file", file}, []string{"SPACELIFT_TOKEN=t", "SPACELIFT_POOL_PRIVATE_KEY_COMMAND=echo k"}, "SPACELIFT_POOL_PRIVATE_KEY_COMMAND: SPACELIFT_POOL_PRIVATE_KEY_FILE is set too: set one of them"},
		{nil, []string{"SPACELIFT_TOKEN=t"}, "SPACELIFT_POOL_PRIVATE_KEY is not set, nor are"},
		{nil, []string{"SPACELIFT_TOKEN_FILE=/no/such"}, "SPACELIFT_TOKEN_FILE: the file /no/such cannot be read"},
		{nil, []string{"SPACELIFT_TOKEN_FILE=" + empty}, "SPACELIFT_TOKEN_FILE: the file " + empty + " is empty"},
		{nil, []string{"SPACELIFT_TOKEN_COMMAND=echo c4n4ry; echo c4n4ry >&2; exit 3"}, "SPACELIFT_TOKEN_COMMAND: the command failed (exit status 3)"},
		{nil, []string{"SPACELIFT_TOKEN_COMMAND=true"}, "SPACELIFT_TOKEN_COMMAND: the command printed nothing"},
	} {
		s, _, err := Parse(Input{Args: c.args, Environ: c.env, ReadFile: os.ReadFile})
		if err != nil {
			if !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "c4n4ry") {
				t.Errorf("%v %v: %v", c.args, c.env, err)
			}
			continue
		}
		if got := strings.TrimSpace(string(s.Token)) + " " + strings.TrimSpace(string(s.Key)); got != c.want {
			t.Errorf("%v %v: got %q, want %q", c.args, c.env, got, c.want)
		}
	}
}

func TestNoSecretOfTheLauncherIsGivenToACommandOrARun(t *testing.T) {
	for _, name := range Secrets() {
		t.Setenv(name, "c4n4ry")
	}
	out, err := RunCommand("env; echo end")
	if err != nil || strings.Contains(string(out), "c4n4ry") || !strings.Contains(string(out), "PATH=") {
		t.Errorf("got %v\n%s", err, out)
	}
	s, _, err := parse(t, nil, EnvEarlier+"=c4n4ry")
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := s.Environ(EnvEarlier); ok || v != "" || len(s.Earlier) != 1 {
		t.Errorf("earlier keys are handed out as %q", v)
	}
	if _, _, err := parse(t, nil, "SPACELIFT_WHITELIST_ENVS="+EnvEarlier); err == nil {
		t.Error("earlier keys can be given to a run")
	}
}
