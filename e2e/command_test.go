//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// used is how a program ended.
type used struct {
	code     int
	out, err string
}

// use runs one of the built programs to its end, with this environment and no
// other.
func use(t *testing.T, env []string, name string, args ...string) used {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, err strings.Builder
	c := exec.CommandContext(ctx, binary(t, name), args...)
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	c.Stdout, c.Stderr = &out, &err
	failed := c.Run()
	var exit *exec.ExitError
	if failed != nil && !errors.As(failed, &exit) {
		t.Fatalf("%s %v: %v", name, args, failed)
	}
	return used{c.ProcessState.ExitCode(), out.String(), err.String()}
}

// commands are all there are; every one has its help.
var commands = map[string]string{
	"":              "server",
	"server":        "--data",
	"apikey":        "create",
	"apikey create": "--name",
	"pool":          "create",
	"pool create":   "--csr",
	"state":         "export",
	"state export":  "--data",
	"vcs":           "set",
	"vcs set":       "--token-file",
	"vcs list":      "Usage",
	"vcs delete":    "<name>",
	"quickstart":    "--once",
	"version":       "release",
}

func TestEveryCommandHasItsHelpAndNamesAWrongFlag(t *testing.T) {
	t.Parallel()
	for words, says := range commands {
		help := use(t, nil, "spaceport", append(strings.Fields(words), "--help")...)
		if help.code != 0 || help.err != "" || !strings.Contains(help.out, says) || !strings.Contains(help.out, "Usage: "+strings.TrimSpace("spaceport "+words)) {
			t.Errorf("help of %q: %+v", words, help)
		}
		wrong := use(t, nil, "spaceport", append(strings.Fields(words), "--nosuch")...)
		want := fmt.Sprintf("spaceport: unknown flag --nosuch: %s --help says what there is\n", strings.TrimSpace("spaceport "+words))
		if wrong.code != 2 || wrong.out != "" || wrong.err != want {
			t.Errorf("a wrong flag of %q: %+v, want %q", words, wrong, want)
		}
	}
	for _, program := range []string{"spaceport", "spacelift-launcher"} {
		for _, words := range []string{"help", "--help", "-h", "version", "--version"} {
			if got := use(t, nil, program, words); got.code != 0 || got.out == "" || got.err != "" {
				t.Errorf("%s %s: %+v", program, words, got)
			}
		}
	}
	for _, words := range []string{"policy --help", "policy test --help"} {
		if got := use(t, nil, "spacelift-launcher", strings.Fields(words)...); got.code != 0 || !strings.HasPrefix(got.out, "usage: spacelift-launcher policy test") || got.err != "" {
			t.Errorf("%s: %+v", words, got)
		}
	}
}

// foreignAPI answers by its path, as servers and proxies do that are none of ours.
func foreignAPI(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, known := map[string]string{
			"/page": "<html>hello</html>", "/empty": "", "/object": "{}", "/null": "null", "/list": "[]", "/text": `{"data":"text"}`,
			"/silent": `{"errors":[{}]}`, "/lines": `{"errors":[{"message":"one\nline\u001b[31m","extensions":{"code":"invalid"}}]}`, "/nobody": `{"data":{"apiKeyUser":null}}`,
		}[strings.TrimSuffix(r.URL.Path, "/graphql")]
		switch {
		case r.URL.Path == "/moved/graphql":
			http.Redirect(w, r, "/page/graphql", http.StatusFound)
		case !known:
			http.Error(w, "bad gateway", http.StatusBadGateway)
		default:
			_, _ = w.Write([]byte(body)) // the client may have gone
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// Every mistake is one line on standard error that says what and where, and an
// exit code of its kind. No secret is in it.
func TestEveryMistakeIsOneSentenceWithItsExitCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "process")
	foreign := foreignAPI(t)
	dir := t.TempDir()
	csr, key := filepath.Join(dir, "pool.csr"), filepath.Join(dir, "pool.key")
	run(t, nil, "openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", csr, "-subj", "/CN=x")
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	token, empty := file("token", "c4n4ry-token"), file("empty", "")
	as := func(endpoint, id, secret string) []string {
		return []string{"SPACELIFT_API_KEY_ENDPOINT=" + endpoint, "SPACELIFT_API_KEY_ID=" + id, "SPACELIFT_API_KEY_SECRET=" + secret}
	}
	good := as(w.http, w.keyID, w.secret)
	const strange = " answered 200 and no GraphQL that can be understood: check that the endpoint"

	type mistake struct {
		env  []string
		args []string
		code int
		says string
	}
	mistakes := map[string]mistake{
		"no command":          {nil, nil, 2, `expected one of "server", "apikey"`},
		"an unknown command":  {nil, []string{"nosuch"}, 2, "unexpected argument nosuch: spaceport --help says"},
		"half a command":      {nil, []string{"pool"}, 2, `expected "create": spaceport pool --help says`},
		"an extra argument":   {nil, []string{"version", "extra"}, 2, "unexpected argument extra: spaceport version --help says"},
		"a flag missing":      {nil, []string{"pool", "create", "--name", "x"}, 2, "missing flags: --csr=FILE: spaceport pool create --help says"},
		"a flag's value":      {nil, []string{"apikey", "create", "--name"}, 2, "--name needs a value: spaceport apikey create --help says"},
		"an argument missing": {nil, []string{"state", "export"}, 2, `expected "<id>": spaceport state export --help says`},
		"a wrong backend":     {nil, []string{"quickstart", "--backend", "vm"}, 2, `--backend must be one of "auto","docker","process" but got "vm"`},

		"a setting of the server":  {[]string{"SPACEPORT_LOG_LEVEL=loud"}, []string{"server", "--data", dir}, 2, `SPACEPORT_LOG_LEVEL: "loud" is no level`},
		"an address of the server": {nil, []string{"server", "--data", dir, "--http", "nonsense"}, 2, `SPACEPORT_HTTP: "nonsense" is no address`},
		"a port of the server":     {nil, []string{"server", "--data", dir, "--http", "127.0.0.1:99999"}, 2, `SPACEPORT_HTTP: "127.0.0.1:99999" is no address`},
		"a port that is taken":     {nil, []string{"server", "--data", t.TempDir(), "--http", strings.TrimPrefix(w.http, "http://"), "--mqtt", "127.0.0.1:0", "--health", "127.0.0.1:0"}, 1, "cannot be listened on"},
		"a directory of no server": {nil, []string{"state", "export", "ID", "--data", t.TempDir()}, 1, "is no server's data directory"},
		"a directory in the way":   {nil, []string{"apikey", "create", "--name", "x", "--admin", "--data", "/proc/none"}, 1, "the data directory /proc/none cannot be made"},
		"a state that is none":     {nil, []string{"state", "export", "ID", "--data", w.data()}, 1, `there is no state "ID"`},
		"a key that is two things": {nil, []string{"apikey", "create", "--name", "x", "--admin", "--role", "reader", "--data", dir}, 2, "--admin and --role exclude each other"},
		"a role that is none":      {nil, []string{"apikey", "create", "--name", "x", "--role", "king", "--data", t.TempDir()}, 1, `"king" is not a role`},

		"a request that is not there": {good, []string{"pool", "create", "--name", "x", "--csr", dir + "/none"}, 1, "cannot be read"},
		"a key as a request":          {good, []string{"pool", "create", "--name", "x", "--csr", key}, 1, "is a private key and no signing request; it has not been sent anywhere"},
		"a space that is none":        {good, []string{"pool", "create", "--name", "x", "--csr", csr, "--space", "nosuch"}, 1, `there is no space "nosuch"`},
		"a name that is none":         {good, []string{"vcs", "set", "Bad Name", "--host", "git.example.com", "--token-file", token}, 1, `"Bad Name" cannot be the name`},
		"no host":                     {good, []string{"vcs", "set", "new", "--token-file", token}, 2, "a new one needs --host"},
		"an empty token":              {good, []string{"vcs", "set", "new", "--host", "git.example.com", "--token-file", empty}, 2, "is empty"},
		"an empty standard input":     {good, []string{"vcs", "set", "new", "--host", "git.example.com", "--token-file", "-"}, 2, "standard input of the token"},
		"one input for two secrets":   {good, []string{"vcs", "set", "new", "--host", "git.example.com", "--token-file", "-", "--ssh-key-file", "-"}, 2, "standard input cannot be both"},
		"no such integration":         {good, []string{"vcs", "delete", "nosuch"}, 1, `there is no VCS integration "nosuch"`},
	}
	// What all commands that sign in have in common.
	for command, args := range map[string][]string{
		"pool create": {"pool", "create", "--name", "x", "--csr", csr}, "vcs set": {"vcs", "set", "x", "--host", "git.example.com", "--token-file", token},
		"vcs list": {"vcs", "list"}, "vcs delete": {"vcs", "delete", "x"},
	} {
		for what, m := range map[string]mistake{
			"no environment":       {nil, args, 2, "SPACELIFT_API_KEY_ENDPOINT is not set: set "},
			"no secret":            {as(w.http, w.keyID, ""), args, 2, "SPACELIFT_API_KEY_SECRET is not set: set "},
			"an endpoint of words": {as("somewhere", "id", "c4n4ry"), args, 2, `"somewhere" is no endpoint of the API: give its base URL`},
			"a password in it":     {as("https://me:c4n4ry@x", "id", "c4n4ry"), args, 2, "has a user or a password in it"},
			"a plain endpoint":     {as("http://example.com", "id", "c4n4ry"), args, 2, "is plain http"},
			"nobody there":         {as("http://127.0.0.1:1", "id", "c4n4ry"), args, 1, "the server at http://127.0.0.1:1 cannot be reached: connection refused"},
			"no TLS there":         {as(strings.Replace(w.http, "http:", "https:", 1), "id", "c4n4ry"), args, 1, "cannot be reached: http: server gave HTTP response to HTTPS client"},
			"a wrong secret":       {as(w.http, w.keyID, "c4n4ry"), args, 1, "unauthorized: no such API key, or its secret is wrong"},
			"a wrong id":           {as(w.http, "c4n4ry", w.secret), args, 1, "unauthorized: no such API key, or its secret is wrong"},
			"a proxy's error":      {as(foreign, "id", "c4n4ry"), args, 1, "/graphql answered 502 and no GraphQL"},
			"a redirect":           {as(foreign+"/moved", "id", "c4n4ry"), args, 1, "/graphql answered 302 and no GraphQL"},
			"a page":               {as(foreign+"/page", "id", "c4n4ry"), args, 1, strange},
			"nothing":              {as(foreign+"/empty", "id", "c4n4ry"), args, 1, strange},
			"an empty object":      {as(foreign+"/object", "id", "c4n4ry"), args, 1, strange},
			"null":                 {as(foreign+"/null", "id", "c4n4ry"), args, 1, strange},
			"a list":               {as(foreign+"/list", "id", "c4n4ry"), args, 1, strange},
			"data that is text":    {as(foreign+"/text", "id", "c4n4ry"), args, 1, strange},
			"an error without one": {as(foreign+"/silent", "id", "c4n4ry"), args, 1, strange},
			"an error of lines":    {as(foreign+"/lines", "id", "c4n4ry"), args, 1, "one line[31m"},
			"no user":              {as(foreign+"/nobody", "id", "c4n4ry"), args, 1, "the server does not know the API key"},
		} {
			mistakes[command+", "+what] = m
		}
	}
	pool := []string{"SPACELIFT_TOKEN=c4n4ry", "SPACELIFT_POOL_PRIVATE_KEY=c4n4ry"}
	launcherMistakes := map[string]mistake{
		"no token":                {nil, nil, 2, "SPACELIFT_TOKEN is not set"},
		"no key":                  {[]string{"SPACELIFT_TOKEN=c4n4ry"}, nil, 2, "SPACELIFT_POOL_PRIVATE_KEY is not set"},
		"a token that is none":    {pool, nil, 2, "SPACELIFT_TOKEN: "},
		"an unknown flag":         {pool, []string{"--nosuch"}, 2, "there is no flag --nosuch: see --help"},
		"a flag of another name":  {pool, []string{"--bakend", "docker"}, 2, "there is no flag --bakend: did you mean --backend"},
		"a flag's value":          {pool, []string{"--data"}, 2, "--data needs a value"},
		"a wrong backend":         {pool, []string{"--backend", "vm"}, 2, `--backend: "vm" is neither docker nor process`},
		"an unknown command":      {pool, []string{"nosuch"}, 2, `unexpected argument "nosuch"`},
		"the worker's command":    {nil, []string{"worker"}, 2, "worker is for the launcher to call"},
		"the supervisor's":        {nil, []string{"supervise"}, 2, "supervise is for the launcher to call"},
		"the owners'":             {nil, []string{"own"}, 2, "own is for the launcher to call"},
		"half a command":          {nil, []string{"policy"}, 2, "policy has one command, test: spacelift-launcher policy --help says"},
		"no policy":               {nil, []string{"policy", "test"}, 2, "the policy's file is missing"},
		"a policy's unknown flag": {nil, []string{"policy", "test", "--nosuch", "x"}, 2, "there is no flag --nosuch"},
		"a policy not there":      {nil, []string{"policy", "test", dir + "/none"}, 2, "cannot be read: no such file"},
	}
	check := func(program, what string, m mistake) {
		got := use(t, m.env, program, m.args...)
		if got.code != m.code || got.out != "" || !strings.HasPrefix(got.err, program+": ") || !strings.Contains(got.err, m.says) {
			t.Errorf("%s: %+v, want %d %q", what, got, m.code, m.says)
		}
		if strings.Count(got.err, "\n") != 1 || strings.ContainsAny(got.err, "\x1b\t") {
			t.Errorf("%s: this is not one plain line: %q", what, got.err)
		}
		if strings.Contains(got.err, "c4n4ry") {
			t.Errorf("%s: a secret is shown: %s", what, got.err)
		}
	}
	for what, m := range mistakes {
		check("spaceport", what, m)
	}
	for what, m := range launcherMistakes {
		check("spacelift-launcher", "launcher, "+what, m)
	}
}
