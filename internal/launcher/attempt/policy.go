package attempt

import (
	"context"

	"github.com/spaceport-iac/spaceport/internal/launcher/park"
	"github.com/spaceport-iac/spaceport/internal/launcher/policy"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// ask asks the operator's policy about a job as it came. Its "no" is a refusal.
func (t *task) ask(ctx context.Context, job *wire.Job, image string, continues bool) error {
	if t.o.Policy == nil {
		return nil
	}
	env := resolve(job, t.o.Settings, "", nil)
	t.masker.Add(env.secrets...)
	return t.judge(ctx, job, policy.Facts{
		Stage: policy.Metadata, Image: image, Environment: env.vars, Hooks: job.Hooks, Command: job.Command, Continues: continues,
	})
}

// askResolved asks again about what the container is about to be given: the pinned
// commit, the image's digest, and the environment with what containers before have
// changed. Every container is asked for, so an apply is too, in which hooks and
// command come from the workspace that was parked.
func (t *task) askResolved(ctx context.Context, p *prepared, job *wire.Job, image string, carried *park.Carry, continues bool) error {
	if t.o.Policy == nil {
		return nil
	}
	f := policy.Facts{
		Stage: policy.Resolved, Image: image, ImageDigest: p.rec.Image, Environment: p.worker.Environment, Hooks: job.Hooks,
		Command: p.worker.Command, Continues: continues,
	}
	if carried != nil {
		f.Hooks = carried.Hooks
	}
	if err := t.judge(ctx, job, f); err != nil {
		return err
	}
	t.say("The run initialization policy allows this run")
	return nil
}

func (t *task) judge(ctx context.Context, job *wire.Job, f policy.Facts) error {
	f.WorkerVersion, f.Phases = t.o.Version, phases(job)
	f.NowPhases = run.Share(f.Phases, job.Class)
	_, err := t.o.Policy.Ask(ctx, policy.NewInput(job, f), t.masker.String)
	if err != nil && ctx.Err() == nil {
		return refusal{err}
	}
	return err
}
