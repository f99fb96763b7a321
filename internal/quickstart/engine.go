package quickstart

import (
	"context"
	"path/filepath"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/hostimage"
)

// imageRepository names the runner images that a quickstart makes; the tag
// stands for the content.
const imageRepository = "spaceport-quickstart-runner"

// docker is the engine that DOCKER_HOST or the default socket leads to.
type docker struct{ backend *container.Docker }

// newEngine makes the engine without contacting it. It asks by the launchers'
// own backend, so that an engine which they would refuse is not chosen.
func newEngine(l layout) (engine, error) {
	backend, err := container.NewDocker(container.DockerOptions{
		DataDir: l.launcher(1), RunsDir: filepath.Join(l.launcher(1), "runs"),
	})
	if err != nil {
		return nil, err
	}
	return docker{backend}, nil
}

// Check implements engine.
func (d docker) Check(ctx context.Context) error { return d.backend.Check(ctx) }

// Import implements engine.
func (d docker) Import(ctx context.Context) (string, error) {
	binaries, err := hostimage.Default()
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "no runner image can be made from this machine's files").
			WithHint("use --backend process")
	}
	return hostimage.Ensure(ctx, d.backend.Client(), imageRepository, binaries)
}
