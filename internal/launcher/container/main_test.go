package container

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/spaceport-iac/spaceport/internal/launcher/container/own"
	"github.com/spaceport-iac/spaceport/internal/launcher/container/supervise"
)

// TestMain lets the test binary be its own supervisor, and a launcher that a
// test may kill.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "supervise":
			os.Exit(supervise.Main(os.Args[2:]))
		case "own":
			os.Exit(own.Main(os.Args[2:]))
		case "launch-start", "launch-create":
			os.Exit(launch(os.Args[2], os.Args[1] == "launch-start"))
		case "check-docker":
			d, err := NewDocker(DockerOptions{DataDir: "/data", RunsDir: "/data/runs", Host: os.Args[2]})
			if err == nil {
				err = d.Check(context.Background())
			}
			fmt.Print(err)
			os.Exit(0)
		}
	}
	goleak.VerifyTestMain(m)
}
