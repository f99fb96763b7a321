package container

import (
	"context"
	"os"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/container/own"
	"github.com/spaceport-iac/spaceport/internal/launcher/container/supervise"
)

// Own implements Backend. As root it changes owners itself; as the run's own
// user there is nothing to change; as anybody else it asks the engine.
func (d *Docker) Own(ctx context.Context, o Ownership) error {
	if err := d.checkTree(o); err != nil {
		return err
	}
	switch euid := os.Geteuid(); {
	case o.Delete && (euid == 0 || euid == o.UID):
		return own.Empty(ctx, o.Dir)
	case euid == 0:
		return own.Chown(ctx, o.Dir, o.UID, o.GID)
	case euid == o.UID:
		return nil
	}
	return d.ownByHelper(ctx, o)
}

// Own implements Backend. A run has the launcher's own user here, so only
// deletion has something to do.
func (p *Process) Own(ctx context.Context, o Ownership) error {
	if err := p.checkTree(o); err != nil {
		return err
	}
	if o.Delete {
		return own.Empty(ctx, o.Dir)
	}
	return nil
}

// checkTree keeps orders inside the run directories.
func (l layout) checkTree(o Ownership) error {
	if !cleanAbs(o.Dir) || !supervise.Within(l.runs, o.Dir) || o.Dir == l.runs {
		return fault.New(fault.Invalid, "the tree %q is not inside a run directory", o.Dir).Named("container_tree")
	}
	return nil
}
