package container

import (
	"os"
	"testing"
)

// TestMain lets the test binary be its own supervisor.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "supervise" {
		os.Exit(SuperviseMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}
