package quickstart

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/client"
	"github.com/spaceport-iac/spaceport/internal/run"
)

// api is the mothership over its public API.
type api struct{ client *client.Client }

var _ mothership = api{}

// dial makes the API with a key and signs in, so that a key which does not work
// is noticed here.
func dial(ctx context.Context, c credentials) (mothership, error) {
	made, err := client.New(client.Options{Endpoint: c.Endpoint, ID: c.ID, Secret: c.Secret})
	if err != nil {
		return nil, err
	}
	if err := made.Do(ctx, viewerDocument, nil, nil); err != nil {
		return nil, err
	}
	return api{made}, nil
}

// Documents that the typed client does not have.
const (
	viewerDocument = `{ viewer { id } }`
	resetDocument  = `mutation($id: ID!, $csr: String!) { workerPoolReset(id: $id, certificateSigningRequest: $csr) { id name config } }`
	runsDocument   = `query($stack: ID!) { stack(id: $stack) { runs { id type finished } } }`
)

// PoolByName implements mothership.
func (a api) PoolByName(ctx context.Context, name string) (*Pool, error) {
	pools, err := a.client.Pools(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range pools {
		if p.Name == name {
			return poolOf(&p), nil
		}
	}
	return nil, nil
}

func poolOf(p *client.Pool) *Pool { return &Pool{ID: p.ID, Name: p.Name, Token: p.Config} }

// CreatePool implements mothership. The request travels as clients send it:
// base64 of the PEM.
func (a api) CreatePool(ctx context.Context, name, csr, description string) (*Pool, error) {
	made, err := wanted(a.client.CreatePool(ctx, client.PoolInput{Name: name, CSR: base64.StdEncoding.EncodeToString([]byte(csr)), Description: description}))
	if err != nil {
		return nil, err
	}
	return poolOf(made), nil
}

// ResetPool implements mothership.
func (a api) ResetPool(ctx context.Context, id, csr string) (*Pool, error) {
	var got struct{ WorkerPoolReset *client.Pool }
	err := a.client.Do(ctx, resetDocument, map[string]any{"id": id, "csr": base64.StdEncoding.EncodeToString([]byte(csr))}, &got)
	reset, err := wanted(got.WorkerPoolReset, err)
	if err != nil {
		return nil, err
	}
	return poolOf(reset), nil
}

// Workers implements mothership.
func (a api) Workers(ctx context.Context, pool string) ([]Worker, error) {
	listed, err := a.client.Workers(ctx, pool)
	if err != nil {
		return nil, err
	}
	var workers []Worker
	for _, w := range listed {
		var tags map[string]string
		if err := json.Unmarshal([]byte(w.Metadata), &tags); err != nil {
			return nil, fmt.Errorf("read metadata of worker %s: %w", w.ID, err)
		}
		workers = append(workers, Worker{ID: w.ID, Drained: w.Drained, Launcher: tags[launcherTag]})
	}
	return workers, nil
}

// Drain implements mothership.
func (a api) Drain(ctx context.Context, pool, worker string, drain bool) error {
	_, err := a.client.Drain(ctx, pool, worker, drain)
	return err
}

// StackByID implements mothership.
func (a api) StackByID(ctx context.Context, id string) (*Stack, error) {
	stack, err := a.client.Stack(ctx, id)
	if err != nil || stack == nil {
		return nil, err
	}
	return &Stack{ID: stack.ID}, nil
}

// input is the stack as the API takes it. State is sealed whatever the tool.
func (s StackSpec) input() client.StackInput {
	vendor, tool := "terraform", "TERRAFORM_FOSS"
	switch s.Tool {
	case tofu:
		vendor, tool = "opentofu", "OPENTOFU"
	case custom:
		tool = "CUSTOM"
	}
	return client.StackInput{
		Name: s.Name, Description: s.Description, WorkerPool: s.Pool, StateMode: "SEALED",
		Provider: "GIT", Repository: "quickstart", RepositoryURL: s.RepositoryURL, Branch: s.Branch,
		RunnerImage: s.RunnerImage, VendorConfig: map[string]any{vendor: map[string]any{"workflowTool": tool}},
	}
}

// CreateStack implements mothership.
func (a api) CreateStack(ctx context.Context, s StackSpec) (*Stack, error) {
	made, err := wanted(a.client.CreateStack(ctx, s.input(), s.Name))
	if err != nil {
		return nil, err
	}
	return &Stack{ID: made.ID}, nil
}

// UpdateStack implements mothership.
func (a api) UpdateStack(ctx context.Context, id string, s StackSpec) (*Stack, error) {
	made, err := wanted(a.client.UpdateStack(ctx, id, s.input()))
	if err != nil {
		return nil, err
	}
	return &Stack{ID: made.ID}, nil
}

// Outputs implements mothership.
func (a api) Outputs(ctx context.Context, stack string) ([]Output, error) {
	listed, err := a.client.Outputs(ctx, stack)
	if err != nil {
		return nil, err
	}
	var outputs []Output
	for _, o := range listed {
		one := Output{Name: o.ID, Sensitive: o.Sensitive}
		if !o.Sensitive {
			one.Value = json.RawMessage(o.Value)
			if !json.Valid(one.Value) {
				return nil, fmt.Errorf("output %s is not JSON", o.ID)
			}
		}
		outputs = append(outputs, one)
	}
	return outputs, nil
}

func runOf(r *client.Run) *liveRun {
	live := &liveRun{ID: r.ID, State: run.State(r.State)}
	if r.Delta != nil {
		live.Changes = &Changes{Added: r.Delta.AddCount, Changed: r.Delta.ChangeCount, Deleted: r.Delta.DeleteCount}
	}
	for _, t := range r.History {
		live.History = append(live.History, Transition{
			State: run.State(t.State), Version: t.StateVersion, Who: t.Username, Note: t.Note, HasLogs: t.HasLogs,
		})
	}
	return live
}

// LiveRun implements mothership.
func (a api) LiveRun(ctx context.Context, stack string) (*liveRun, error) {
	var got struct {
		Stack *struct {
			Runs []struct {
				ID, Type string
				Finished bool
			}
		}
	}
	if err := a.client.Do(ctx, runsDocument, map[string]any{"stack": stack}, &got); err != nil {
		return nil, err
	}
	if got.Stack == nil {
		return nil, nil
	}
	// Newest first, so the last that fits is the oldest.
	live := ""
	for _, r := range got.Stack.Runs {
		if !r.Finished && run.Type(r.Type) == run.Tracked {
			live = r.ID
		}
	}
	if live == "" {
		return nil, nil
	}
	return a.Run(ctx, stack, live)
}

// Trigger implements mothership.
func (a api) Trigger(ctx context.Context, stack string) (*liveRun, error) {
	made, err := wanted(a.client.Trigger(ctx, stack, string(run.Tracked), ""))
	if err != nil {
		return nil, err
	}
	return runOf(made), nil
}

// Run implements mothership.
func (a api) Run(ctx context.Context, stack, id string) (*liveRun, error) {
	r, err := a.client.Run(ctx, stack, id)
	if err != nil {
		return nil, err
	}
	return runOf(r), nil
}

// Logs implements mothership.
func (a api) Logs(ctx context.Context, stack, id string, state run.State, version int, token string) (*LogPage, error) {
	logs, err := a.client.Logs(ctx, stack, id, string(state), version, token)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, m := range logs.Messages {
		b.WriteString(m.Message)
	}
	return &LogPage{Text: b.String(), Token: logs.NextToken, Finished: logs.Finished, More: logs.HasMore}, nil
}

// Confirm implements mothership.
func (a api) Confirm(ctx context.Context, stack, id string) error {
	_, err := a.client.Confirm(ctx, stack, id)
	return err
}

// Discard implements mothership.
func (a api) Discard(ctx context.Context, stack, id string) error {
	_, err := a.client.Discard(ctx, stack, id)
	return err
}

// wanted turns an answer without the object into an error.
func wanted[T any](object *T, err error) (*T, error) {
	if err == nil && object == nil {
		err = fmt.Errorf("the mothership answered with nothing instead of %T", *new(T))
	}
	return object, err
}
