package launcher_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/launcher"
)

func TestTheSecretsAreGoneFromTheProcessesEnvironment(t *testing.T) {
	t.Parallel()
	if os.Getenv("SCRUB_CHILD") == "1" {
		if err := launcher.Scrub("CANARY"); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile("/proc/self/environ")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "canary-value") || !strings.Contains(string(data), "OTHER=other") || os.Getenv("CANARY") != "canary-value" {
			t.Fatalf("the kernel shows %q, the program has %q", data, os.Getenv("CANARY"))
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestTheSecretsAreGoneFromTheProcessesEnvironment$")
	cmd.Env = []string{"SCRUB_CHILD=1", "CANARY=canary-value", "OTHER=other"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
