package setting

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

var update = flag.Bool("update", false, "write docs/launcher-settings.md anew")

func parse(t *testing.T, args []string, environ ...string) (*Settings, []string, error) {
	t.Helper()
	environ = append([]string{"SPACELIFT_TOKEN=t", "SPACELIFT_POOL_PRIVATE_KEY=k"}, environ...)
	return Parse(Input{Args: args, Environ: environ, ReadFile: os.ReadFile})
}

func TestEverySettingHasItsNameItsFlagAndItsLine(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, row := range Table() {
		if row.Env == "" || !strings.HasPrefix(row.Env, "SPACELIFT_") || seen[row.Env] {
			t.Errorf("row %+v has no environment name of its own", row.Env)
		}
		seen[row.Env] = true
		if row.Secret != (row.Flag == "") {
			t.Errorf("%s: a flag is what a secret must not have and all others must", row.Env)
		}
		if row.Flag != "" && seen[row.Flag] {
			t.Errorf("--%s stands twice", row.Flag)
		}
		seen[row.Flag] = row.Flag != ""
		if !strings.HasSuffix(row.Help, ".") {
			t.Errorf("%s: its help is no sentence", row.Env)
		}
		if (row.read == nil) != row.Next {
			t.Errorf("%s: is read, or comes next, not both or neither", row.Env)
		}
		if !row.Next && !strings.Contains(Usage(), row.Env) {
			t.Errorf("%s is missing in --help", row.Env)
		}
	}
}

func TestTheDocumentationIsThatOfTheTable(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "..", "docs", "launcher-settings.md")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(Docs()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != Docs() {
		t.Fatal("docs/launcher-settings.md is not what the table says: run this test with -update")
	}
}

func TestFlagsWinOverTheEnvironment(t *testing.T) {
	t.Parallel()
	s, warnings, err := parse(t, []string{"--data", "/a", "--backend=process", "--allow-file-source", "--run-timeout", "2m"},
		"SPACELIFT_DATA_DIR=/b", "SPACELIFT_LAUNCHER_RUN_TIMEOUT=3m", "SPACELIFT_METADATA_instance_id=i-1")
	if err != nil {
		t.Fatal(err)
	}
	if s.DataDir != "/a" || s.Backend != "process" || !s.AllowFileSource || s.RunTimeout != 2*time.Minute || s.LogsTimeout != 7*time.Minute {
		t.Fatalf("got %+v", s)
	}
	if s.Metadata["instance_id"] != "i-1" || len(warnings) != 0 {
		t.Fatalf("metadata %v, warnings %v", s.Metadata, warnings)
	}
}

func TestABadValueStopsTheStartAndIsNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		env  string
		want string
	}{
		{[]string{"--bakend", "docker"}, "", "there is no flag --bakend: did you mean --backend"},
		{[]string{"--backend"}, "", "--backend needs a value"},
		{[]string{"docker"}, "", `unexpected argument "docker"`},
		{nil, "SPACELIFT_BACKEND=podman", `SPACELIFT_BACKEND: "podman" is neither docker nor process`},
		{nil, "SPACELIFT_LAUNCHER_RUN_TIMEOUT=70", `SPACELIFT_LAUNCHER_RUN_TIMEOUT: "70" is not a duration`},
		{nil, "SPACELIFT_WORKER_EXTRA_MOUNTS=/a", `SPACELIFT_WORKER_EXTRA_MOUNTS: "/a" is not of the form /host:/container`},
		{nil, "SPACELIFT_RECOVERY_RECIPIENTS=age1nope", "SPACELIFT_RECOVERY_RECIPIENTS: "},
		{nil, "SPACELIFT_WHITELIST_ENVS=ro_SPACELIFT_TOKEN", "SPACELIFT_TOKEN is never given to a run"},
		{nil, "SPACELIFT_LAUNCHER_RUN_INITIALIZATION_POLICY=/p.rego", "this version cannot evaluate a run initialization policy"},
		{nil, "SPACELIFT_TOKEN=", "SPACELIFT_TOKEN is not set"},
	} {
		_, _, err := parse(t, c.args, c.env)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v %s: got %v, want %q", c.args, c.env, err, c.want)
		}
	}
}

func TestNamesThatMeanNothingAreWarnedAbout(t *testing.T) {
	t.Parallel()
	_, warnings, err := parse(t, nil, "SPACELIFT_MASK_ENV=x", "SPACELIFT_DOCKER_CONFIG_DIR=/d", "SPACELIFT_PRIVATEVCS_MAPPING_NAMES=v", "PATH=/bin")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"SPACELIFT_DOCKER_CONFIG_DIR has no effect in this version",
		"SPACELIFT_MASK_ENV is not a setting of this launcher; did you mean SPACELIFT_MASK_ENVS",
		"SPACELIFT_PRIVATEVCS_MAPPING_NAMES is not a setting of this launcher",
	}
	if !slices.Equal(warnings, want) {
		t.Fatalf("got %q", warnings)
	}
}

func TestSecretsPrintAsStars(t *testing.T) {
	t.Parallel()
	s, _, err := parse(t, nil, "SPACELIFT_TOKEN=canary", "SPACELIFT_POOL_PRIVATE_KEY=canary")
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := s.Environ(EnvKey); ok || v != "" {
		t.Fatal("the key is handed out as an environment variable")
	}
	if got := s.Token.String() + s.Key.GoString() + s.Token.LogValue().String(); strings.Contains(got, "canary") {
		t.Fatalf("got %s", got)
	}
}
