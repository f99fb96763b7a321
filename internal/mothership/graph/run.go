package graph

import (
	"context"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/graph/gen"
	"github.com/spaceport-iac/spaceport/internal/mothership/runlog"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func (q *query) RunStack(ctx context.Context, runID string) (*gen.Stack, error) {
	r, err := q.o.Runs.Get(ctx, runID)
	if fault.Is(err, fault.NotFound) {
		// One client compares this very text.
		return nil, fault.Wrap(err, fault.NotFound, "not found")
	}
	if err != nil {
		return nil, err
	}
	st, err := q.o.Stacks.Get(ctx, r.Stack)
	if err != nil {
		return nil, err
	}
	return q.o.stackView(ctx, st), nil
}

func (m *mutation) RunTrigger(ctx context.Context, stack string, commitSha *string, runType *gen.RunType, runtimeConfig *gen.RuntimeConfigInput, forceApply *gen.ForceApplyMode) (*gen.Run, error) {
	switch {
	case runtimeConfig != nil:
		return nil, unsupported("runTrigger.runtimeConfig")
	case forceApply != nil:
		return nil, unsupported("runTrigger.forceApply")
	}
	in := runs.TriggerInput{Stack: stack, Type: run.Tracked, CommitSHA: text(commitSha), Metadata: metadata(ctx)}
	if runType != nil {
		in.Type = run.Type(*runType)
	}
	return m.o.answer(ctx)(m.o.Runs.Trigger(ctx, in))
}

func (m *mutation) TaskCreate(ctx context.Context, stack, command string, skipInitialization *bool) (*gen.Run, error) {
	in := runs.TaskInput{Stack: stack, Command: command, SkipInit: yes(skipInitialization), Metadata: metadata(ctx)}
	return m.o.answer(ctx)(m.o.Runs.CreateTask(ctx, in))
}

func (m *mutation) RunConfirm(ctx context.Context, stack, run string) (*gen.Run, error) {
	if err := m.o.belongs(ctx, stack, run); err != nil {
		return nil, err
	}
	return m.o.answer(ctx)(m.o.Runs.Confirm(ctx, run, metadata(ctx)))
}

func (m *mutation) RunDiscard(ctx context.Context, stack, run string) (*gen.Run, error) {
	if err := m.o.belongs(ctx, stack, run); err != nil {
		return nil, err
	}
	return m.o.answer(ctx)(m.o.Runs.Discard(ctx, run))
}

func (m *mutation) RunCancel(ctx context.Context, stack, run string) (*gen.Run, error) {
	if err := m.o.belongs(ctx, stack, run); err != nil {
		return nil, err
	}
	return m.o.answer(ctx)(m.o.Runs.Cancel(ctx, run))
}

func (m *mutation) RunStop(ctx context.Context, stack, run string, note *string) (*gen.Run, error) {
	if err := m.o.belongs(ctx, stack, run); err != nil {
		return nil, err
	}
	return m.o.answer(ctx)(m.o.Runs.Stop(ctx, run, text(note)))
}

func (m *mutation) RunRetry(ctx context.Context, stack, run string) (*gen.Run, error) {
	if err := m.o.belongs(ctx, stack, run); err != nil {
		return nil, err
	}
	return m.o.answer(ctx)(m.o.Runs.Retry(ctx, run))
}

func (m *mutation) RunPrioritizeSet(ctx context.Context, stack, run string, prioritize bool) (*gen.Run, error) {
	if err := m.o.belongs(ctx, stack, run); err != nil {
		return nil, err
	}
	return m.o.answer(ctx)(m.o.Runs.Prioritize(ctx, run, prioritize))
}

// RunDiscardAll discards what waits on the stack; what cannot be is named.
func (m *mutation) RunDiscardAll(ctx context.Context, stack string) (*gen.RunDiscardAllResult, error) {
	st, err := m.o.Stacks.Get(ctx, stack)
	if err != nil {
		return nil, err
	}
	all, err := m.o.Runs.List(ctx, runs.ListInput{Stack: st.ID, Limit: 200})
	if err != nil {
		return nil, err
	}
	out := &gen.RunDiscardAllResult{DiscardedRuns: []*gen.Run{}, FailedDiscarding: []string{}}
	for _, r := range all {
		if r.State.Terminal() {
			continue
		}
		done, err := m.o.Runs.Discard(ctx, r.ID)
		switch {
		case fault.Is(err, fault.Conflict):
			out.FailedDiscarding = append(out.FailedDiscarding, r.ID)
		case err != nil:
			return nil, err
		default:
			out.DiscardedRuns = append(out.DiscardedRuns, runView(done, st.Slug))
		}
	}
	return out, nil
}

// belongs refuses a run that is not of the stack that the client names with it.
func (o Options) belongs(ctx context.Context, stack, run string) error {
	st, err := o.Stacks.Get(ctx, stack)
	if err != nil {
		return err
	}
	r, err := o.Runs.Get(ctx, run)
	if err != nil {
		return err
	}
	if r.Stack != st.ID {
		return fault.New(fault.NotFound, "stack %q has no run %s", stack, run)
	}
	return nil
}

// answer makes the view of a run whose stack has to be looked up.
func (o Options) answer(ctx context.Context) func(*runs.Run, error) (*gen.Run, error) {
	return func(r *runs.Run, err error) (*gen.Run, error) {
		if err != nil {
			return nil, err
		}
		st, err := o.Stacks.Get(ctx, r.Stack)
		if err != nil {
			return nil, err
		}
		return runView(r, st.Slug), nil
	}
}

func (o Options) runByID(ctx context.Context, id string) (*gen.Run, error) {
	return o.answer(ctx)(o.Runs.Get(ctx, id))
}

func (f *runFields) ChangesV3(ctx context.Context, obj *gen.Run, _ *gen.RunChangesV3Input) ([]*gen.RunChangesV3, error) {
	changes, err := f.o.Runs.Changes(ctx, obj.ID)
	if err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		return []*gen.RunChangesV3{}, nil
	}
	return []*gen.RunChangesV3{{Resources: each(changes, changeView)}}, nil
}

func (f *runFields) History(ctx context.Context, obj *gen.Run) ([]*gen.RunStateTransition, error) {
	history, err := f.o.Runs.History(ctx, obj.ID)
	if err != nil {
		return nil, err
	}
	return each(history, transitionView), nil
}

func (f *runFields) IsMostRecent(ctx context.Context, obj *gen.Run) (bool, error) {
	newest, err := f.o.Runs.List(ctx, runs.ListInput{Stack: obj.Stack, Limit: 1, Types: []run.Type{run.Type(obj.Type)}})
	return len(newest) == 1 && newest[0].ID == obj.ID, err
}

func (f *runFields) WaitingBecause(ctx context.Context, obj *gen.Run) ([]string, error) {
	why, err := f.o.Runs.WhyWaiting(ctx, obj.ID)
	if err != nil {
		return nil, err
	}
	sentences := make([]string, 0, len(why))
	for _, reason := range why {
		sentences = append(sentences, reason.Message)
	}
	return sentences, nil
}

func runView(r *runs.Run, slug string) *gen.Run {
	view := &gen.Run{
		Branch: some(r.Branch), CanRetry: r.CanRetry(), Command: some(r.Command), Comments: []*gen.RunComment{},
		Commit: commitView(r.Commit), CreatedAt: seconds(r.CreatedAt), Finished: r.State.Terminal(), ID: r.ID,
		State: gen.RunState(r.State), Title: r.Title, TriggeredBy: some(r.TriggeredBy), Type: gen.RunType(r.Type),
		StackID: slug, StateVersion: r.StateVersion, Prioritized: r.Prioritized, Reason: r.Reason,
		Attempt: int(r.Attempt), Metadata: list(r.Metadata), Stack: r.Stack,
	}
	if r.Delta != nil {
		view.Delta = &gen.RunDelta{AddCount: r.Delta.Added, ChangeCount: r.Delta.Changed, DeleteCount: r.Delta.Deleted, Resources: r.Delta.Resources}
	}
	return view
}

func transitionView(t runs.Transition) *gen.RunStateTransition {
	return &gen.RunStateTransition{
		HasLogs: t.HasLogs, Note: some(t.Note), State: gen.RunState(t.State), StateVersion: t.StateVersion,
		Terminal: t.State.Terminal(), Timestamp: seconds(t.At), Username: some(t.Who),
	}
}

func changeView(c wire.Change) *gen.RunChangeResource {
	return &gen.RunChangeResource{
		Address: c.Address,
		Metadata: &gen.RunChangeMetadata{
			Type: c.Action, Entity: c.Entity, Before: some(string(c.Before)), After: some(string(c.After)),
		},
	}
}

// commitView is null until the commit is known.
func commitView(c wire.Commit) *gen.Commit {
	if c.SHA == "" {
		return nil
	}
	return &gen.Commit{AuthorName: c.Author, Hash: c.SHA, Message: c.Message, Timestamp: int(c.Timestamp)}
}

// Logs answers what of a state's log is there after token. Messages are verbatim.
func (f *runFields) Logs(ctx context.Context, obj *gen.Run, state gen.RunState, token *string, stateVersion *int) (*gen.RunLogs, error) {
	q := runlog.Query{Run: obj.ID, State: run.State(state), Token: text(token)}
	if stateVersion != nil {
		q.StateVersion = *stateVersion
	}
	page, err := f.o.Logs.Read(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &gen.RunLogs{
		Exists: page.Exists, Finished: page.Finished, HasMore: page.More, NextToken: some(page.Next),
		Messages: make([]*gen.LogMessage, 0, len(page.Messages)),
	}
	for _, m := range page.Messages {
		out.Messages = append(out.Messages, &gen.LogMessage{Message: m})
	}
	return out, nil
}
