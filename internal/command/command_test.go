package command

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/spaceport-iac/spaceport/internal/mothership"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"spaceport": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			os.Exit(Main(ctx, Process{Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
		},
	})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"ready":  ready,
			"key":    key,
			"exits":  exits,
			"equals": equals,

			"keep":    keep,
			"audited": audited,
		},
	})
}

// ready DIR waits for a server on the data directory DIR and sets $API to its
// base URL.
func ready(ts *testscript.TestScript, _ bool, args []string) {
	file := filepath.Join(ts.MkAbs(args[0]), mothership.AddressFile)
	last := "nothing"
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var a mothership.Addresses
		content, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(content, &a)
		}
		if err == nil {
			var answer *http.Response
			if answer, err = http.Get("http://" + a.Health + "/readiness"); err == nil {
				_ = answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					ts.Setenv("API", a.API)
					return
				}
				last = answer.Status
				continue
			}
		}
		last = err.Error()
	}
	ts.Fatalf("no server is ready on %s; last seen: %s", args[0], last)
}

// key takes the API key that the last command printed into the environment.
func key(ts *testscript.TestScript, _ bool, _ []string) {
	var k struct{ ID, Secret string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &k))
	if k.ID == "" || k.Secret == "" {
		ts.Fatalf("the key has no id or no secret")
	}
	ts.Setenv("SPACELIFT_API_KEY_ID", k.ID)
	ts.Setenv("SPACELIFT_API_KEY_SECRET", k.Secret)
	ts.Setenv("SPACELIFT_API_KEY_ENDPOINT", ts.Getenv("API"))
}

// exits CODE COMMAND… runs a command that has to end with this exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		var coder interface{ ExitCode() int }
		if as, ok := err.(interface{ ExitCode() int }); ok {
			coder = as
		} else {
			ts.Fatalf("%v", err)
		}
		got = coder.ExitCode()
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d instead of %s\n%s", got, args[0], ts.ReadFile("stderr"))
	}
}

// equals A B compares two texts.
func equals(ts *testscript.TestScript, neg bool, args []string) {
	if (args[0] == args[1]) == neg {
		ts.Fatalf("%q and %q", args[0], args[1])
	}
}
