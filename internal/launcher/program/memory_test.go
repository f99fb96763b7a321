package program

import (
	"os"
	"os/exec"
	"testing"
)

func TestAProgramInMemoryCanBeStarted(t *testing.T) {
	t.Parallel()
	echo, err := os.ReadFile("/bin/echo")
	if err != nil {
		t.Fatal(err)
	}
	path, memory, err := Memory("echo", string(echo))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, "started").CombinedOutput()
	if err != nil || string(out) != "started\n" {
		t.Errorf("it said %q, %v", out, err)
	}
	if err := memory.Close(); err != nil {
		t.Error(err)
	}
	if err := exec.CommandContext(t.Context(), path).Run(); err == nil {
		t.Error("it can be started after it was closed")
	}
}
