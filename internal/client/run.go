package client

import (
	"context"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Run is a run.
type Run struct {
	ID, Type, State string
	StateVersion    int
	Finished        bool
	Reason          string
	WaitingBecause  []string
	Commit          *struct{ Hash, Message string }
	Delta           *struct{ AddCount, ChangeCount, DeleteCount, Resources int }
	History         []Transition // newest first
}

// Transition is an entry of a run's history.
type Transition struct {
	State        string
	StateVersion int
	Note         string
	Username     string
	Timestamp    int64 // unix seconds
	HasLogs      bool
	Terminal     bool
}

// Logs is a part of the log of one state.
type Logs struct {
	Exists    bool
	Finished  bool // nothing follows
	HasMore   bool // there is more already
	NextToken string
	Messages  []struct{ Message string }
}

// Trigger starts a run. kind is TRACKED or PROPOSED; commit may be empty.
func (c *Client) Trigger(ctx context.Context, stack, kind, commit string) (*Run, error) {
	variables := map[string]any{"stack": stack, "type": kind}
	if commit != "" {
		variables["commit"] = commit
	}
	var answer struct{ RunTrigger *Run }
	err := c.Do(ctx, triggerDocument, variables, &answer)
	return answer.RunTrigger, err
}

// Task runs a command in a stack's workspace.
func (c *Client) Task(ctx context.Context, stack, command string, skipInit bool) (*Run, error) {
	var answer struct{ TaskCreate *Run }
	err := c.Do(ctx, taskDocument, map[string]any{"stack": stack, "command": command, "skip": skipInit}, &answer)
	return answer.TaskCreate, err
}

// Run returns a run of a stack.
func (c *Client) Run(ctx context.Context, stack, id string) (*Run, error) {
	var answer struct{ Stack *struct{ Run *Run } }
	if err := c.Do(ctx, runDocument, map[string]any{"stack": stack, "run": id}, &answer); err != nil {
		return nil, err
	}
	if answer.Stack == nil {
		return nil, noStack(stack)
	}
	if answer.Stack.Run == nil {
		return nil, noRun(stack, id)
	}
	return answer.Stack.Run, nil
}

// Confirm lets a planned run be applied.
func (c *Client) Confirm(ctx context.Context, stack, id string) (*Run, error) {
	var answer struct{ RunConfirm *Run }
	err := c.Do(ctx, confirmDocument, map[string]any{"stack": stack, "run": id}, &answer)
	return answer.RunConfirm, err
}

// Discard rejects a run before it is applied.
func (c *Client) Discard(ctx context.Context, stack, id string) (*Run, error) {
	var answer struct{ RunDiscard *Run }
	err := c.Do(ctx, discardDocument, map[string]any{"stack": stack, "run": id}, &answer)
	return answer.RunDiscard, err
}

// Logs returns what of a state's log is there after token; "" is the start.
func (c *Client) Logs(ctx context.Context, stack, id, state string, version int, token string) (*Logs, error) {
	variables := map[string]any{"stack": stack, "run": id, "state": state, "version": version}
	if token != "" {
		variables["token"] = token
	}
	var answer struct {
		Stack *struct{ Run *struct{ Logs *Logs } }
	}
	if err := c.Do(ctx, logsDocument, variables, &answer); err != nil {
		return nil, err
	}
	switch {
	case answer.Stack == nil:
		return nil, noStack(stack)
	case answer.Stack.Run == nil:
		return nil, noRun(stack, id)
	case answer.Stack.Run.Logs == nil:
		return &Logs{}, nil
	}
	return answer.Stack.Run.Logs, nil
}

func noRun(stack, id string) error {
	return fault.New(fault.NotFound, "stack %q has no run %s", stack, id)
}
