package setting

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
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

// elsewhere are the names that other programs read too.
var elsewhere = []string{"DOCKER_HOST", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ADDITIONAL_ROOT_CAS"}

func TestEverySettingHasItsNameItsFlagAndItsLine(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, row := range Table() {
		if row.Env == "" || !strings.HasPrefix(row.Env, "SPACELIFT_") && !slices.Contains(elsewhere, row.Env) || seen[row.Env] {
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
		{nil, "SPACELIFT_WORKER_EXTRA_MOUNTS=/a:/b:z", `SPACELIFT_WORKER_EXTRA_MOUNTS: "/a:/b:z" is not of the form /host:/container`},
		{nil, "SPACELIFT_WORKER_RO_EXTRA_MOUNTS=a:/b", `SPACELIFT_WORKER_RO_EXTRA_MOUNTS: "a:/b" is not of the form`},
		{nil, "SPACELIFT_WORKER_WO_EXTRA_MOUNTS=/a:/mnt/workspace/source", `SPACELIFT_WORKER_WO_EXTRA_MOUNTS: "/a:/mnt/workspace/source" cannot be mounted: /mnt/workspace is the run's workspace`},
		{nil, "SPACELIFT_WORKER_EXTRA_MOUNTS=/a:/mnt", `"/a:/mnt" cannot be mounted: /mnt/workspace is the run's workspace`},
		{nil, "SPACELIFT_WORKER_EXTRA_MOUNTS=/a:/spaceport/in", `cannot be mounted: /spaceport belongs to the launcher`},
		{nil, "SPACELIFT_WORKER_EXTRA_MOUNTS=/a:/b/..", `cannot be mounted: it would replace the whole container`},
		{nil, "SPACELIFT_WORKER_EXTRA_MOUNTS=/a:/c,/b:/c/", `"/b:/c/" cannot be mounted: /a of SPACELIFT_WORKER_EXTRA_MOUNTS has that place`},
		{[]string{"--worker-extra-mounts", "/a:/c"}, "SPACELIFT_WORKER_RO_EXTRA_MOUNTS=/b:/c", `SPACELIFT_WORKER_RO_EXTRA_MOUNTS: "/b:/c" cannot be mounted: /a of SPACELIFT_WORKER_EXTRA_MOUNTS has that place`},
		{nil, "SPACELIFT_WORKER_NETWORK=container:x", `SPACELIFT_WORKER_NETWORK: "container:x" is not the name of a network`},
		{nil, "SPACELIFT_WORKER_RUNTIME=run sc", `SPACELIFT_WORKER_RUNTIME: "run sc" is not the name of a container runtime`},
		{nil, "SPACELIFT_DEFAULT_RUNNER_IMAGE=A B", `SPACELIFT_DEFAULT_RUNNER_IMAGE: "A B" is not the name of an image`},
		{nil, "SPACELIFT_DEFAULT_ANSIBLE_RUNNER_IMAGE=x:y:z", `SPACELIFT_DEFAULT_ANSIBLE_RUNNER_IMAGE: "x:y:z" is not the name of an image`},
		{nil, "SPACELIFT_DOCKER_CONFIG_DIR=docker", `SPACELIFT_DOCKER_CONFIG_DIR: "docker" is not an absolute path`},
		{nil, "SPACELIFT_IMAGE_RETENTION=14d", `SPACELIFT_IMAGE_RETENTION: "14d" is not a duration`},
		{nil, "SPACELIFT_WHITELIST_ENVS=A B", `SPACELIFT_WHITELIST_ENVS: "A B" is not the name of a variable`},
		{nil, "SPACELIFT_MASK_ENVS=A=B", `SPACELIFT_MASK_ENVS: "A=B" is not the name of a variable`},
		{nil, "SPACELIFT_METADATA_=x", `SPACELIFT_METADATA_: the tag's name is missing`},
		{nil, "SPACELIFT_METADATA_a b=x", `SPACELIFT_METADATA_a b: "a b" is not the name of a tag`},
		{nil, "SPACELIFT_METADATA_zone=a\nb", `SPACELIFT_METADATA_zone: the tag's value is not one line of text`},
		{nil, "SPACELIFT_METADATA_zone=" + strings.Repeat("x", 1025), `SPACELIFT_METADATA_zone: the tag's value has 1025 bytes and may have 1024`},
		{nil, "SPACELIFT_RECOVERY_RECIPIENTS=age1nope", "SPACELIFT_RECOVERY_RECIPIENTS: "},
		{nil, "SPACELIFT_WHITELIST_ENVS=ro_SPACELIFT_TOKEN", "SPACELIFT_TOKEN is never given to a run"},
		{nil, "SPACELIFT_TOKEN=", "SPACELIFT_TOKEN is not set, nor are SPACELIFT_TOKEN_FILE and SPACELIFT_TOKEN_COMMAND"},
		{nil, "SPACELIFT_TRUSTED_MARKS_DIR=marks", `SPACELIFT_TRUSTED_MARKS_DIR: "marks" is not an absolute path`},
		{nil, "SPACELIFT_DISK_FLOOR=10%", `SPACELIFT_DISK_FLOOR: "10%" is not a size such as 512MiB`},
		{nil, "SPACELIFT_EARLIER_POOL_PRIVATE_KEYS_FILES=/no/such", "SPACELIFT_EARLIER_POOL_PRIVATE_KEYS_FILES: the file /no/such cannot be read"},
		{nil, "HTTP_PROXY=ftp://proxy", "HTTP_PROXY: this is not the address of a proxy"},
		{nil, "https_proxy=http://", "https_proxy: this is not the address of a proxy"},
		{nil, "ADDITIONAL_ROOT_CAS=/no/such/file", "ADDITIONAL_ROOT_CAS: the file /no/such/file cannot be read"},
		{nil, "SPACELIFT_RUN_LOG_LIMIT=2GB", `SPACELIFT_RUN_LOG_LIMIT: "2GB" is not a size such as 512MiB or 2GiB`},
		{nil, "SPACELIFT_RUN_LOG_LIMIT=100KiB", `SPACELIFT_RUN_LOG_LIMIT: "100KiB" is not between 1MiB and 64GiB`},
		{nil, "SPACELIFT_RUN_LOG_BACKLOG=9000000000GiB", "is not between 1MiB and 64GiB"},
		{nil, "SPACELIFT_RUN_LOG_BACKLOG=-1GiB", "is not between 1MiB and 64GiB"},
	} {
		_, _, err := parse(t, c.args, c.env)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v %s: got %v, want %q", c.args, c.env, err, c.want)
		}
	}
}

func TestSizesHaveUnitsThatArePowersOf1024(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]int64{"": 2 << 30, "1048576": 1 << 20, "1024KiB": 1 << 20, "5MiB": 5 << 20, " 64 GiB ": 64 << 30} {
		s, _, err := parse(t, nil, "SPACELIFT_RUN_LOG_LIMIT="+value, "SPACELIFT_RUN_LOG_BACKLOG="+value)
		if err != nil || s.LogLimit != want || value != "" && s.LogBacklog != want {
			t.Errorf("%q: limit %d, backlog %d, want %d; %v", value, s.LogLimit, s.LogBacklog, want, err)
		}
	}
}

func TestNamesThatMeanNothingAreWarnedAbout(t *testing.T) {
	t.Parallel()
	_, warnings, err := parse(t, nil, "SPACELIFT_MASK_ENV=x", "SPACELIFT_SENSITIVE_OUTPUT_UPLOAD_ENABLED=true", "SPACELIFT_PRIVATEVCS_MAPPING_NAMES=v", "PATH=/bin")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"SPACELIFT_SENSITIVE_OUTPUT_UPLOAD_ENABLED has no effect in this version",
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

func TestAMountIsOfOneClassOrBothAndMayBeReadOnly(t *testing.T) {
	t.Parallel()
	s, _, err := parse(t, nil, "SPACELIFT_WORKER_EXTRA_MOUNTS=/a:/x/a, /b/:/x/b:ro,", "SPACELIFT_WORKER_RO_EXTRA_MOUNTS=/c:/x/c:rw", "SPACELIFT_WORKER_WO_EXTRA_MOUNTS=/d:/x/c:ro")
	if err != nil {
		t.Fatal(err)
	}
	want := []Mount{
		{Source: "/a", Target: "/x/a", Setting: "SPACELIFT_WORKER_EXTRA_MOUNTS"},
		{Source: "/b", Target: "/x/b", ReadOnly: true, Setting: "SPACELIFT_WORKER_EXTRA_MOUNTS"},
		{Source: "/c", Target: "/x/c", In: ReadOnly, Setting: "SPACELIFT_WORKER_RO_EXTRA_MOUNTS"},
		{Source: "/d", Target: "/x/c", In: WriteOnly, ReadOnly: true, Setting: "SPACELIFT_WORKER_WO_EXTRA_MOUNTS"},
	}
	if !slices.Equal(s.Mounts, want) {
		t.Fatalf("got %+v", s.Mounts)
	}
}

func TestSettingsOfAnEngineAreWarnedAboutWithoutOne(t *testing.T) {
	t.Parallel()
	_, warnings, err := parse(t, []string{"--backend", "process"}, "SPACELIFT_WORKER_NETWORK=n", "SPACELIFT_WORKER_RUNTIME=r", "SPACELIFT_DOCKER_CONFIG_DIR=/d")
	if err != nil || len(warnings) != 3 {
		t.Fatalf("got %q, %v", warnings, err)
	}
}

// Names that the public documentation of launchers has: each is a setting here, if
// only one that says that it has no effect yet.
var documented = []string{
	"SPACELIFT_TOKEN", "SPACELIFT_POOL_PRIVATE_KEY", "SPACELIFT_DOCKER_CONFIG_DIR", "SPACELIFT_MASK_ENVS", "SPACELIFT_WHITELIST_ENVS",
	"SPACELIFT_WORKER_NETWORK", "SPACELIFT_WORKER_RUNTIME", "SPACELIFT_WORKER_EXTRA_MOUNTS", "SPACELIFT_WORKER_RO_EXTRA_MOUNTS",
	"SPACELIFT_WORKER_WO_EXTRA_MOUNTS", "SPACELIFT_LAUNCHER_LOGS_TIMEOUT", "SPACELIFT_LAUNCHER_RUN_TIMEOUT",
	"SPACELIFT_LAUNCHER_RUN_INITIALIZATION_POLICY", "SPACELIFT_SENSITIVE_OUTPUT_UPLOAD_ENABLED", "SPACELIFT_DEBUG",
	"SPACELIFT_RUN_LOGS_ON_STANDARD_OUTPUT_ENABLED", "SPACELIFT_DEFAULT_RUNNER_IMAGE", "SPACELIFT_DEFAULT_ANSIBLE_RUNNER_IMAGE", "DOCKER_HOST",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ADDITIONAL_ROOT_CAS",
}

func TestEveryDocumentedNameIsInTheTable(t *testing.T) {
	t.Parallel()
	for _, name := range documented {
		if !slices.ContainsFunc(Table(), func(r Row) bool { return r.Env == name }) {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestEverySettingIsReadByItsNameAndItsFlag(t *testing.T) {
	t.Parallel()
	hosts := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(hosts, []byte("h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJvEJmFSwL0nTlBdTcVxKvLWBFhVMGnpHlHZGeFKEEwB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, newAuthority(t), 0o600); err != nil {
		t.Fatal(err)
	}
	// What differs from the default.
	values := map[string]string{
		"SPACELIFT_DATA_DIR": "/elsewhere", "SPACELIFT_BACKEND": "process", "SPACELIFT_WORKSPACE_ROOT": "/w", "SPACELIFT_ALLOW_FILE_SOURCE": "true",
		"SPACELIFT_RECOVERY_RECIPIENTS": "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
		"SPACELIFT_SSH_KNOWN_HOSTS":     hosts, "SPACELIFT_WHITELIST_ENVS": "A", "SPACELIFT_MASK_ENVS": "A", "SPACELIFT_WORKER_NETWORK": "n", "SPACELIFT_WORKER_RUNTIME": "r",
		"SPACELIFT_WORKER_EXTRA_MOUNTS": "/a:/b", "SPACELIFT_WORKER_RO_EXTRA_MOUNTS": "/a:/b", "SPACELIFT_WORKER_WO_EXTRA_MOUNTS": "/a:/b",
		"SPACELIFT_LAUNCHER_LOGS_TIMEOUT": "1m", "SPACELIFT_LAUNCHER_RUN_TIMEOUT": "1m", "SPACELIFT_DEFAULT_RUNNER_IMAGE": "i", "SPACELIFT_DEFAULT_ANSIBLE_RUNNER_IMAGE": "i",
		"SPACELIFT_DOCKER_CONFIG_DIR": "/d", "SPACELIFT_IMAGE_RETENTION": "0", "DOCKER_HOST": "unix:///d", "SPACELIFT_DEBUG": "true", "SPACELIFT_LOG_LEVEL": "debug",
		"SPACELIFT_EARLIER_POOL_PRIVATE_KEYS_FILES": authority, "SPACELIFT_TRUSTED_MARKS_DIR": "/m", "SPACELIFT_DISK_FLOOR": "0",
		"NO_PROXY": "example.com", "ADDITIONAL_ROOT_CAS": authority,
		"SPACELIFT_STANDBY_ENABLED": "false", "SPACELIFT_RUN_LOG_LIMIT": "3MiB", "SPACELIFT_RUN_LOG_BACKLOG": "3MiB",
	}
	settled := func(args []string, environ ...string) Settings {
		t.Helper()
		s, _, err := parse(t, args, environ...)
		if err != nil {
			t.Fatal(err)
		}
		s.environ = nil
		return *s
	}
	plain := settled(nil)
	for _, row := range Table() {
		if row.Secret || row.Next || row.Env == EnvPolicy || strings.HasPrefix(row.Env, EnvToken+"_") || strings.HasPrefix(row.Env, EnvKey+"_") {
			continue
		}
		value, ok := values[row.Env]
		if !ok {
			t.Errorf("%s: give this test a value that differs from the default", row.Env)
			continue
		}
		byName, byFlag := settled(nil, row.Env+"="+value), settled([]string{"--" + row.Flag + "=" + value})
		if reflect.DeepEqual(byName, plain) || !reflect.DeepEqual(byName, byFlag) {
			t.Errorf("%s=%s and --%s=%s gave\n%+v\n%+v", row.Env, value, row.Flag, value, byName, byFlag)
		}
	}
}

func TestAVariableThatIsToBePassedAndIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	_, warnings, err := parse(t, nil, "SPACELIFT_WHITELIST_ENVS=HERE,ro_HERE,ro_OWN,GONE,wo_GONE", "HERE=1", "ro_OWN=1")
	want := []string{
		"SPACELIFT_WHITELIST_ENVS names GONE, which the launcher's environment does not have",
		"SPACELIFT_WHITELIST_ENVS names wo_GONE, which the launcher's environment does not have",
	}
	if err != nil || !slices.Equal(warnings, want) {
		t.Fatalf("got %q, %v", warnings, err)
	}
}
