package graph

import (
	"context"
	"slices"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/graph/gen"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func (q *query) Stack(ctx context.Context, id string) (*gen.Stack, error) {
	st, err := q.o.Stacks.Get(ctx, id)
	return missing(q.o.stackView(ctx, st), err)
}

func (q *query) Stacks(ctx context.Context) ([]*gen.Stack, error) {
	all, err := q.o.Stacks.List(ctx)
	if err != nil {
		return nil, err
	}
	return each(all, func(st stack.Stack) *gen.Stack { return q.o.stackView(ctx, st) }), nil
}

var searchStacks = searchable[stack.Stack]{
	id: func(s stack.Stack) string { return s.ID },
	texts: func(s stack.Stack) []string {
		return []string{s.Slug, s.Name, s.Settings.Description, s.Settings.Repository}
	},
	strings: map[string]func(stack.Stack) []string{
		"branch":      func(s stack.Stack) []string { return []string{s.Settings.Branch} },
		"commit":      func(s stack.Stack) []string { return []string{s.TrackedCommit.SHA} },
		"id":          func(s stack.Stack) []string { return []string{s.Slug} },
		"label":       func(s stack.Stack) []string { return s.Settings.Labels },
		"labels":      func(s stack.Stack) []string { return s.Settings.Labels },
		"name":        func(s stack.Stack) []string { return []string{s.Name} },
		"projectRoot": func(s stack.Stack) []string { return []string{s.Settings.ProjectRoot, s.Settings.ProjectRoot + "/"} },
		"repository":  func(s stack.Stack) []string { return []string{s.Settings.Repository} },
		"space":       func(s stack.Stack) []string { return []string{s.Space} },
		"state":       func(s stack.Stack) []string { return []string{string(s.State)} },
		"vendor": func(s stack.Stack) []string {
			return []string{s.Settings.Vendor.Name, strings.ToUpper(s.Settings.Vendor.Name)}
		},
		"workerPool": func(s stack.Stack) []string { return []string{s.Pool} },
	},
	booleans: map[string]func(stack.Stack) bool{
		"administrative": func(s stack.Stack) bool { return s.Settings.Administrative },
		"locked":         func(s stack.Stack) bool { return s.LockedBy != "" },
	},
	orders: map[string]func(a, b stack.Stack) int{
		"name":      func(a, b stack.Stack) int { return strings.Compare(a.Name, b.Name) },
		"createdAt": func(a, b stack.Stack) int { return a.CreatedAt.Compare(b.CreatedAt) },
		"starred":   func(stack.Stack, stack.Stack) int { return 0 }, // nobody stars anything yet
	},
}

func (q *query) SearchStacks(ctx context.Context, input gen.SearchInput) (*gen.SearchStacksOutput, error) {
	all, err := q.o.Stacks.List(ctx)
	if err != nil {
		return nil, err
	}
	found, err := searchStacks.search(all, input)
	if err != nil {
		return nil, err
	}
	return &gen.SearchStacksOutput{
		Edges: each(found.items, func(st stack.Stack) *gen.SearchStacksEdge {
			return &gen.SearchStacksEdge{Node: q.o.stackView(ctx, st)}
		}),
		PageInfo: found.info,
	}, nil
}

func (m *mutation) StackCreate(ctx context.Context, input gen.StackInput, manageState bool, stackObjectID, slug *string) (*gen.Stack, error) {
	if text(stackObjectID) != "" {
		return nil, unsupported("stackCreate.stackObjectID")
	}
	in, err := stackInput(input)
	if err != nil {
		return nil, err
	}
	in.Slug = text(slug)
	external := in.StateMode == wire.StateExternal
	switch {
	case !manageState && in.StateMode == "":
		in.StateMode = wire.StateExternal
	case manageState == external && in.StateMode != "":
		return nil, fault.New(fault.Invalid, "manageState is %t, but stateMode is %s", manageState, *input.StateMode).
			WithHint("a stack that manages its state is MANAGED or SEALED, one that doesn't is EXTERNAL")
	}
	return m.o.stackAnswer(ctx)(m.o.Stacks.Create(ctx, in))
}

func (m *mutation) StackUpdate(ctx context.Context, id string, input gen.StackInput) (*gen.Stack, error) {
	in, err := stackInput(input)
	if err != nil {
		return nil, err
	}
	if input.RetryLost == nil {
		// Public clients do not know the field: their updates leave it as it is.
		now, err := m.o.Stacks.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		in.Settings.NoRetryLost = now.Settings.NoRetryLost
	}
	return m.o.stackAnswer(ctx)(m.o.Stacks.Update(ctx, id, in))
}

func (m *mutation) StackDelete(ctx context.Context, id string, destroyResources *bool) (*gen.Stack, error) {
	if yes(destroyResources) {
		return nil, unsupported("stackDelete.destroyResources").WithHint("destroy with a task first")
	}
	view, err := m.o.stackAnswer(ctx)(m.o.Stacks.Delete(ctx, id))
	if err != nil {
		return nil, err
	}
	view.Deleted = true
	return view, nil
}

func (m *mutation) StackLock(ctx context.Context, id string, note *string) (*gen.Stack, error) {
	return m.o.stackAnswer(ctx)(m.o.Stacks.Lock(ctx, id, text(note)))
}

func (m *mutation) StackUnlock(ctx context.Context, id string) (*gen.Stack, error) {
	return m.o.stackAnswer(ctx)(m.o.Stacks.Unlock(ctx, id))
}

func (m *mutation) StackEnable(ctx context.Context, id string) (*gen.Stack, error) {
	return m.o.stackAnswer(ctx)(m.o.Stacks.SetDisabled(ctx, id, false))
}

func (m *mutation) StackDisable(ctx context.Context, id string) (*gen.Stack, error) {
	return m.o.stackAnswer(ctx)(m.o.Stacks.SetDisabled(ctx, id, true))
}

func (o Options) stackAnswer(ctx context.Context) func(stack.Stack, error) (*gen.Stack, error) {
	return func(st stack.Stack, err error) (*gen.Stack, error) {
		if err != nil {
			return nil, err
		}
		return o.stackView(ctx, st), nil
	}
}

func (m *mutation) StackConfigAdd(ctx context.Context, id string, config gen.ConfigInput) (*gen.ConfigElement, error) {
	e, err := m.o.Stacks.SetConfig(ctx, id, stack.ConfigInput{
		ID: config.ID, Type: stack.ConfigType(config.Type), Value: config.Value,
		WriteOnly: config.WriteOnly, Description: text(config.Description),
	})
	if err != nil {
		return nil, err
	}
	return configView(e), nil
}

func (m *mutation) StackConfigDelete(ctx context.Context, id, element string) (*gen.ConfigElement, error) {
	e, err := m.o.Stacks.DeleteConfig(ctx, id, element)
	if err != nil {
		return nil, err
	}
	return configView(e), nil
}

func (f *stackFields) Blocker(ctx context.Context, obj *gen.Stack) (*gen.Run, error) {
	r, err := f.o.Runs.Blocker(ctx, obj.Ulid)
	if err != nil || r == nil {
		return nil, err
	}
	return runView(r, obj.ID), nil
}

func (f *stackFields) Config(ctx context.Context, obj *gen.Stack) ([]*gen.ConfigElement, error) {
	if obj.Deleted {
		return []*gen.ConfigElement{}, nil
	}
	config, err := f.o.Stacks.Config(ctx, obj.Ulid)
	if err != nil {
		return nil, err
	}
	return each(config, configView), nil
}

func (f *stackFields) ConfigElement(ctx context.Context, obj *gen.Stack, id string) (*gen.ConfigElement, error) {
	all, err := f.Config(ctx, obj)
	if err != nil {
		return nil, err
	}
	if at := slices.IndexFunc(all, func(e *gen.ConfigElement) bool { return e.ID == id }); at >= 0 {
		return all[at], nil
	}
	return nil, nil
}

func (f *stackFields) RuntimeConfig(ctx context.Context, obj *gen.Stack) ([]*gen.RuntimeConfigElement, error) {
	all, err := f.Config(ctx, obj)
	if err != nil {
		return nil, err
	}
	return each(all, func(e *gen.ConfigElement) *gen.RuntimeConfigElement { return &gen.RuntimeConfigElement{Element: e} }), nil
}

func (f *stackFields) Outputs(ctx context.Context, obj *gen.Stack) ([]*gen.StackOutput, error) {
	outputs, err := f.o.Runs.Outputs(ctx, obj.Ulid)
	if err != nil {
		return nil, err
	}
	return each(outputs, func(o runs.Output) *gen.StackOutput {
		return &gen.StackOutput{ID: o.Name, Sensitive: o.Sensitive, Value: some(string(o.Value))}
	}), nil
}

func (f *stackFields) Run(ctx context.Context, obj *gen.Stack, id string) (*gen.Run, error) {
	r, err := f.o.Runs.Get(ctx, id)
	if fault.Is(err, fault.NotFound) || (err == nil && r.Stack != obj.Ulid) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return runView(r, obj.ID), nil
}

func (f *stackFields) RunResourceState(ctx context.Context, obj *gen.Stack, id string) (*gen.RunResourceState, error) {
	r, err := f.Run(ctx, obj, id)
	if err != nil || r == nil {
		return nil, err
	}
	return &gen.RunResourceState{Finished: r.Finished, ID: r.ID, State: r.State}, nil
}

func (f *stackFields) Runs(ctx context.Context, obj *gen.Stack, before *string) ([]*gen.Run, error) {
	return f.page(ctx, obj, before, run.Tracked, run.Testing, run.Destroy)
}

func (f *stackFields) ProposedRuns(ctx context.Context, obj *gen.Stack, before *string) ([]*gen.Run, error) {
	return f.page(ctx, obj, before, run.Proposed)
}

func (f *stackFields) Tasks(ctx context.Context, obj *gen.Stack, before *string) ([]*gen.Run, error) {
	return f.page(ctx, obj, before, run.Task)
}

func (f *stackFields) page(ctx context.Context, obj *gen.Stack, before *string, types ...run.Type) ([]*gen.Run, error) {
	all, err := f.o.Runs.List(ctx, runs.ListInput{Stack: obj.Ulid, Before: text(before), Types: types})
	if err != nil {
		return nil, err
	}
	return each(all, func(r *runs.Run) *gen.Run { return runView(r, obj.ID) }), nil
}

// VcsIntegration is that by which the stack's repository is opened, whether the
// stack names it or it is the default.
func (f *stackFields) VcsIntegration(ctx context.Context, obj *gen.Stack) (*gen.VcsIntegration, error) {
	st, err := f.o.Stacks.Get(ctx, obj.Ulid)
	if err != nil {
		return missing[gen.VcsIntegration](nil, err)
	}
	found, err := f.o.VCS.ForStack(ctx, st)
	if err != nil || found == nil {
		return nil, err
	}
	return &gen.VcsIntegration{ID: found.ID, IsDefault: found.Default}, nil
}

func (f *stackFields) SpaceDetails(ctx context.Context, obj *gen.Stack) (*gen.Space, error) {
	return f.o.space(ctx, obj.Space)
}

// WorkerPool is null also for a caller who may read the stack and not the pool.
func (f *stackFields) WorkerPool(ctx context.Context, obj *gen.Stack) (*gen.WorkerPool, error) {
	if obj.Pool == "" {
		return nil, nil
	}
	p, err := f.o.Pools.Get(ctx, obj.Pool)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Forbidden) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return poolView(p), nil
}
