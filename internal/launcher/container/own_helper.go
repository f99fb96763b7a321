package container

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/container/own"
	"github.com/spaceport-iac/spaceport/internal/launcher/container/supervise"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// treePath is where a helper container finds its tree.
const treePath = wire.ContainerRoot + "/tree"

// ownByHelper lets the engine, which is root, do what this launcher may not. The
// container runs our binary and nothing of the image, sees one tree of a run
// directory, and has the few capabilities that the work needs.
func (d *Docker) ownByHelper(ctx context.Context, o Ownership) error {
	if o.Image == "" || !supervise.Within(d.data, filepath.Clean(o.Binary)) {
		return fault.New(fault.Unsupported, "a launcher that runs as uid %d cannot give files to uid %d without an image to do it in", os.Geteuid(), o.UID).
			Named("launcher_user").WithHint("run the launcher as root or as uid %d", o.UID)
	}
	// The name tells which tree, so one left by a launcher that was killed is
	// found and replaced.
	sum := sha256.Sum256([]byte(o.Dir))
	name := "spaceport-own-" + hex.EncodeToString(sum[:8])
	if err := d.remove(ctx, name); err != nil {
		return err
	}
	op := own.OpChown
	if o.Delete {
		op = own.OpEmpty
	}
	err := d.create(ctx, name, container.Config{
		Image: o.Image, User: "0:0",
		Entrypoint: []string{wire.ContainerBinary, "own", op, strconv.Itoa(o.UID), strconv.Itoa(o.GID), treePath},
	}, container.HostConfig{
		Mounts: []mount.Mount{
			bind(Mount{Source: o.Binary, Target: wire.ContainerBinary, ReadOnly: true}),
			bind(Mount{Source: o.Dir, Target: treePath}),
		},
		NetworkMode: "none",
		CapAdd:      []string{"CHOWN", "DAC_OVERRIDE", "FOWNER"},
	})
	if err != nil {
		return err
	}
	// Removed also when ctx has ended, or it would stay.
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		_ = d.remove(ctx, name) // the next call removes what this one could not
	}()
	wait := d.api.ContainerWait(ctx, name, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if _, err := d.api.ContainerStart(ctx, name, client.ContainerStartOptions{}); err != nil {
		return d.failed("start a helper for file owners", err)
	}
	select {
	case err := <-wait.Error:
		return d.failed("wait for a helper for file owners", err)
	case r := <-wait.Result:
		if r.StatusCode == 0 {
			return nil
		}
		out, _ := d.output(ctx, name, 500)
		return fmt.Errorf("change the owner of a tree by a helper: exit code %d: %s", r.StatusCode, out)
	}
}
