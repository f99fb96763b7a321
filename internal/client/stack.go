package client

import (
	"context"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Stack is a stack. ID is its slug, ULID what never gets reused.
type Stack struct{ ID, ULID, Name string }

// StackInput is what a stack is made from, in the API's own names.
type StackInput struct {
	Name           string         `json:"name"`
	Space          string         `json:"space,omitempty"`
	Administrative bool           `json:"administrative"`
	Provider       string         `json:"provider"`
	Repository     string         `json:"repository"`
	RepositoryURL  string         `json:"repositoryURL,omitempty"`
	Namespace      string         `json:"namespace"`
	Branch         string         `json:"branch"`
	ProjectRoot    string         `json:"projectRoot,omitempty"`
	RunnerImage    string         `json:"runnerImage,omitempty"`
	WorkerPool     string         `json:"workerPool,omitempty"`
	Autodeploy     bool           `json:"autodeploy"`
	Description    string         `json:"description,omitempty"`
	Labels         []string       `json:"labels,omitempty"`
	StateMode      string         `json:"stateMode,omitempty"` // MANAGED, SEALED or EXTERNAL
	BeforePlan     []string       `json:"beforePlan,omitempty"`
	AfterPlan      []string       `json:"afterPlan,omitempty"`
	BeforeApply    []string       `json:"beforeApply,omitempty"`
	AfterApply     []string       `json:"afterApply,omitempty"`
	VendorConfig   map[string]any `json:"vendorConfig,omitempty"`
}

// ConfigInput is a variable or a mounted file.
type ConfigInput struct {
	ID          string `json:"id"`
	Type        string `json:"type"`  // ENVIRONMENT_VARIABLE or FILE_MOUNT
	Value       string `json:"value"` // of a file: base64
	WriteOnly   bool   `json:"writeOnly"`
	Description string `json:"description,omitempty"`
}

// Output is an output of a stack. Value is JSON, empty when sensitive.
type Output struct {
	ID, Value string
	Sensitive bool
}

// CreateStack makes a stack. slug may be empty.
func (c *Client) CreateStack(ctx context.Context, in StackInput, slug string) (*Stack, error) {
	variables := map[string]any{"input": in, "manage": in.StateMode != "EXTERNAL"}
	if slug != "" {
		variables["slug"] = slug
	}
	var answer struct{ StackCreate *Stack }
	err := c.Do(ctx, createStackDocument, variables, &answer)
	return answer.StackCreate, err
}

// UpdateStack replaces a stack's settings.
func (c *Client) UpdateStack(ctx context.Context, id string, in StackInput) (*Stack, error) {
	var answer struct{ StackUpdate *Stack }
	err := c.Do(ctx, updateStackDocument, map[string]any{"id": id, "input": in}, &answer)
	return answer.StackUpdate, err
}

// Stack returns a stack, or nil if there is none.
func (c *Client) Stack(ctx context.Context, id string) (*Stack, error) {
	var answer struct{ Stack *Stack }
	err := c.Do(ctx, stackDocument, map[string]any{"id": id}, &answer)
	return answer.Stack, err
}

// SetConfig sets a variable or a file of a stack. The warning is for people; it is
// empty if there is none.
func (c *Client) SetConfig(ctx context.Context, stack string, in ConfigInput) (warning string, err error) {
	var answer struct {
		StackConfigAdd struct{ Warning *string }
	}
	err = c.Do(ctx, setConfigDocument, map[string]any{"stack": stack, "config": in}, &answer)
	if w := answer.StackConfigAdd.Warning; w != nil {
		warning = *w
	}
	return warning, err
}

// Outputs lists a stack's outputs.
func (c *Client) Outputs(ctx context.Context, stack string) ([]Output, error) {
	var answer struct{ Stack *struct{ Outputs []Output } }
	if err := c.Do(ctx, outputsDocument, map[string]any{"stack": stack}, &answer); err != nil {
		return nil, err
	}
	if answer.Stack == nil {
		return nil, noStack(stack)
	}
	return answer.Stack.Outputs, nil
}

func noStack(id string) error { return fault.New(fault.NotFound, "there is no stack %q", id) }
