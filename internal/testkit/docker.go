package testkit

import (
	"context"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/spaceport-iac/spaceport/internal/launcher/hostimage"
)

// RunnerRepository is the name, without the tag, of the images that RunnerImage
// makes.
const RunnerRepository = "spaceport-test-runner"

// Docker returns a connection to the engine that DOCKER_HOST names, else to that
// of the default socket. It starts nothing. Where no engine answers the test
// fails and says what to run.
func Docker(t testing.TB) *client.Client {
	t.Helper()
	api, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatalf("the container engine's address cannot be used: %v", err)
	}
	t.Cleanup(func() { _ = api.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		t.Fatalf("no container engine answers at %s (%v); run: scripts/dockerd.sh start", api.DaemonHost(), err)
	}
	return api
}

// RunnerImage returns the name of a small image made from this host's own files:
// a shell, the usual utilities, users root and 1983. tools are host paths of more
// programs to put in. It is made once for each content and stays in the engine.
func RunnerImage(t testing.TB, tools ...string) string {
	t.Helper()
	binaries, err := hostimage.Default()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ref, err := hostimage.Ensure(ctx, Docker(t), RunnerRepository, append(binaries, tools...))
	if err != nil {
		t.Fatalf("no runner image: %v", err)
	}
	return ref
}
