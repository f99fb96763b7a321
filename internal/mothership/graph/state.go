package graph

import (
	"context"

	"github.com/spaceport-iac/spaceport/internal/mothership/graph/gen"
	"github.com/spaceport-iac/spaceport/internal/mothership/statefile"
)

func (f *stackFields) RecoveryVersions(ctx context.Context, obj *gen.Stack) ([]*gen.StateRecoveryVersion, error) {
	kept, err := f.o.States.RecoveriesOfStack(ctx, obj.Ulid)
	if err != nil {
		return nil, err
	}
	return each(kept, recoveryView), nil
}

func (f *runFields) RecoveryVersions(ctx context.Context, obj *gen.Run) ([]*gen.StateRecoveryVersion, error) {
	kept, err := f.o.States.RecoveriesOfRun(ctx, obj.Stack, obj.ID)
	if err != nil {
		return nil, err
	}
	return each(kept, recoveryView), nil
}

func recoveryView(r statefile.Recovery) *gen.StateRecoveryVersion {
	return &gen.StateRecoveryVersion{
		ID: r.ID, Run: r.Run, Attempt: int(r.Attempt), StateMode: stateMode(r.Mode), Sequence: int(r.Sequence), Base: int(r.Base),
		Size: int(r.Size), Digest: r.Digest, Reason: r.Reason, CreatedAt: seconds(r.At),
	}
}
