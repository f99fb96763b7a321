package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/mask"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Stage says how far the job had come when the policy was asked.
type Stage string

// The stages.
const (
	Metadata Stage = "metadata" // nothing has been fetched or opened
	Resolved Stage = "resolved" // all is there; the job is about to be released
)

// Input is what a policy sees. Its first part has the two shapes in which such
// input is documented, as one superset; the second part is our own. It never has
// the value of a secret, nor one of the launcher's own environment.
type Input struct {
	DockerImage   string            `json:"docker_image"`
	ImageDigest   string            `json:"image_digest"` // once it is known; not of local images
	WorkerVersion string            `json:"worker_version"`
	Request       Question          `json:"request"`
	Commit        Commit            `json:"commit"`
	Run           Run               `json:"run"`
	Static        StaticEnvironment `json:"static_run_environment"`
	Stack         Stack             `json:"stack"`

	Stage     Stage               `json:"stage"`
	Class     string              `json:"class"` // read | write, of the container that is asked for
	Attempt   int64               `json:"attempt"`
	Phases    []string            `json:"phases"`     // all of the run's
	NowPhases []string            `json:"now_phases"` // of this container
	Command   string              `json:"command"`    // a task's
	Targets   []string            `json:"targets"`
	Hooks     map[string][]string `json:"hooks"`
	Opens     Opens               `json:"opens"`
	// Fetches is the source that is fetched; nil where a workspace is opened.
	Fetches *Fetches `json:"fetches"`
}

// Question is about the question itself.
type Question struct {
	TimestampNS int64 `json:"timestamp_ns"`
}

// Commit is the commit that is run. Times are Unix nanoseconds.
type Commit struct {
	Author    string `json:"author"`
	Branch    string `json:"branch"`
	CreatedAt int64  `json:"created_at"`
	Message   string `json:"message"`
	Hash      string `json:"hash"` // empty until the launcher has pinned it
}

// Run is the run.
type Run struct {
	ID            string        `json:"id"`
	Type          string        `json:"type"`
	State         string        `json:"state"`
	TriggeredBy   *string       `json:"triggered_by"`
	CreatedAt     int64         `json:"created_at"`
	UpdatedAt     int64         `json:"updated_at"`
	LocalPreview  bool          `json:"based_on_local_workspace"`
	Changes       []any         `json:"changes"`
	Flags         []string      `json:"flags"`
	UserMetadata  []string      `json:"user_provided_metadata"`
	Commit        Commit        `json:"commit"`
	RuntimeConfig RuntimeConfig `json:"runtime_config"`
}

// RuntimeConfig is how the run goes.
type RuntimeConfig struct {
	BeforeInit       []string `json:"before_init"`
	ProjectRoot      string   `json:"project_root"`
	RunnerImage      string   `json:"runner_image"`
	TerraformVersion string   `json:"terraform_version"`
}

// StaticEnvironment is the run as a worker is told of it.
type StaticEnvironment struct {
	AccountName      string            `json:"account_name"`
	AutoDeploy       bool              `json:"auto_deploy"`
	BeforeApply      []string          `json:"before_apply"`
	BeforeInit       []string          `json:"before_init"`
	Command          string            `json:"command"`
	CommitBranch     string            `json:"commit_branch"`
	CommitSHA        string            `json:"commit_sha"`
	EndpointLogs     string            `json:"endpoint_logs"`
	EndpointRegistry string            `json:"endpoint_registry"`
	Environment      map[string]string `json:"environment_variables"`
	ProjectRoot      string            `json:"project_root"`
	RefreshState     bool              `json:"refresh_state"`
	RepositoryPath   string            `json:"repository_path"`
	RunType          string            `json:"run_type"`
	RunULID          string            `json:"run_ulid"`
	SkipInit         bool              `json:"skip_init"`
	StackLabels      []string          `json:"stack_labels"`
	StackSlug        string            `json:"stack_slug"`
	TerraformVersion string            `json:"terraform_version"`
	VendorConfig     VendorConfig      `json:"vendor_specific_config"`
}

// VendorConfig is the tool.
type VendorConfig struct {
	Vendor string         `json:"vendor"`
	Typed  map[string]any `json:"typed_config"`
}

// Stack is the stack. ID is its ULID, which is never used again.
type Stack struct {
	ID               string   `json:"id"`
	Slug             string   `json:"slug"`
	Name             string   `json:"name"`
	Space            string   `json:"space"`
	Namespace        string   `json:"namespace"`
	Labels           []string `json:"labels"`
	Administrative   bool     `json:"administrative"`
	Roles            []any    `json:"roles"`
	Autodeploy       bool     `json:"autodeploy"`
	Branch           string   `json:"branch"`
	LockedBy         *string  `json:"locked_by"`
	ProjectRoot      string   `json:"project_root"`
	Repository       string   `json:"repository"`
	State            string   `json:"state"`
	TerraformVersion string   `json:"terraform_version"`
}

// Opens is what the job is given.
type Opens struct {
	Workspace bool       `json:"workspace"` // one that was parked
	State     State      `json:"state"`
	Variables []Variable `json:"variables"`
	Files     []File     `json:"files"`
}

// State is the stack's state.
type State struct {
	Mode     string `json:"mode"` // managed | sealed | external
	Sequence int64  `json:"sequence"`
	Digest   string `json:"digest"`
	Writes   bool   `json:"writes"` // this container may change it
}

// Variable is one variable of the run's environment, without its value.
type Variable struct {
	Name   string `json:"name"`
	Secret bool   `json:"secret"`
	Source string `json:"source"` // computed | stack | runtime | launcher | …
}

// File is one mounted file. SHA256 is empty if it is secret.
type File struct {
	Path   string `json:"path"`
	Secret bool   `json:"secret"`
	Size   int    `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// Fetches is the source that is fetched, and by whose credential.
type Fetches struct {
	Repository string   `json:"repository"`
	Branch     string   `json:"branch"`
	Hash       string   `json:"hash"`
	Paths      []string `json:"paths"`      // of a sparse checkout; all if empty
	Credential string   `json:"credential"` // host that it is for, or ""
}

// Facts are what the launcher knows beside the job.
type Facts struct {
	Stage         Stage
	WorkerVersion string
	Image         string // that will be used; empty where there are none
	ImageDigest   string
	// Environment is the run's, as resolved; the job's own at the stage Metadata.
	Environment []wire.Variable
	// Hooks and Command, at the stage Resolved, are those that will be executed.
	Hooks   map[string][]string
	Command string
	// Phases of the run and of the container.
	Phases, NowPhases []run.Phase
	// Continues says that a container before has left its workspace.
	Continues bool
}

// NewInput makes the input about a job.
func NewInput(j *wire.Job, f Facts) *Input {
	commit := Commit{Author: j.Commit.Author, Branch: j.Branch, CreatedAt: j.Commit.Timestamp * 1e9, Message: j.Commit.Message, Hash: j.Commit.SHA}
	repository := withoutPassword(j.Repository)
	version := j.Vendor.Version
	in := &Input{
		DockerImage: f.Image, ImageDigest: f.ImageDigest, WorkerVersion: f.WorkerVersion, Commit: commit,
		Run: Run{
			ID: j.Run, Type: string(j.Type), State: string(j.State), CreatedAt: j.CreatedAt, UpdatedAt: j.CreatedAt, Changes: []any{}, Flags: []string{},
			UserMetadata: list(j.Metadata), Commit: commit,
			RuntimeConfig: RuntimeConfig{BeforeInit: list(f.Hooks["before_init"]), ProjectRoot: j.ProjectRoot, RunnerImage: f.Image, TerraformVersion: version},
		},
		Static: StaticEnvironment{
			AccountName: j.Account, AutoDeploy: j.Autodeploy, BeforeApply: f.Hooks["before_apply"], BeforeInit: f.Hooks["before_init"],
			Command: f.Command, CommitBranch: j.Branch, CommitSHA: j.Commit.SHA, Environment: map[string]string{}, ProjectRoot: j.ProjectRoot,
			RefreshState: true, RepositoryPath: repositoryPath(repository), RunType: string(j.Type), RunULID: j.Run, SkipInit: j.SkipInit,
			StackLabels: j.Stack.Labels, StackSlug: j.Stack.Slug, TerraformVersion: version,
			VendorConfig: VendorConfig{Vendor: j.Vendor.Name, Typed: map[string]any{"version": version, "workspace": j.Vendor.Workspace}},
		},
		Stack: Stack{
			ID: j.Stack.ID, Slug: j.Stack.Slug, Name: j.Stack.Name, Space: j.Stack.Space, Labels: list(j.Stack.Labels), Roles: []any{}, Autodeploy: j.Autodeploy,
			Branch: j.Branch, ProjectRoot: j.ProjectRoot, Repository: repository, TerraformVersion: version,
		},
		Stage: f.Stage, Class: string(j.Class), Attempt: j.Attempt, Phases: names(f.Phases), NowPhases: names(f.NowPhases), Command: f.Command,
		Targets: list(j.Targets), Hooks: map[string][]string{},
		Opens: Opens{
			Workspace: j.Parked != nil,
			State:     State{Mode: j.Store.Mode, Sequence: j.Store.Sequence, Digest: j.Store.Digest, Writes: j.Class == run.Write && j.Store.Mode != wire.StateExternal},
			Variables: []Variable{}, Files: []File{},
		},
	}
	in.Stack.Namespace, _, _ = strings.Cut(in.Static.RepositoryPath, "/")
	if j.TriggeredBy != "" {
		in.Run.TriggeredBy = &j.TriggeredBy
	}
	for name, hooks := range f.Hooks {
		in.Hooks[name] = list(hooks)
	}
	for _, v := range f.Environment {
		in.Opens.Variables = append(in.Opens.Variables, Variable{Name: v.Name, Secret: v.Secret, Source: v.Source})
		if v.Source == "computed" && j.Repository != "" {
			v.Value = strings.ReplaceAll(v.Value, j.Repository, repository)
		}
		in.Static.Environment[v.Name] = shown(v)
	}
	for _, file := range j.Files {
		in.Opens.Files = append(in.Opens.Files, inputFile(file))
	}
	if j.Parked == nil && !f.Continues {
		in.Fetches = &Fetches{Repository: repository, Branch: j.Branch, Hash: j.Commit.SHA, Paths: list(j.Sparse)}
		if j.Credential != nil {
			in.Fetches.Credential = j.Credential.Host
		}
	}
	return in
}

// shown is a variable's value where that is no secret and cannot be one that
// nobody has marked: the launcher passes on what its operator has in the
// environment, and what a container before has set may come from anywhere.
func shown(v wire.Variable) string {
	if v.Secret || v.Source == "launcher" || v.Source == "runtime" {
		return mask.Stars
	}
	return v.Value
}

func inputFile(f wire.File) File {
	out := File{Path: f.Path, Secret: f.Secret, Size: len(f.Content)}
	if !f.Secret {
		sum := sha256.Sum256(f.Content)
		out.SHA256 = hex.EncodeToString(sum[:])
	}
	return out
}

// withoutPassword takes credentials out of an address.
func withoutPassword(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return address // as git@host:path, which has no room for a password
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
		if u.Scheme == "http" || u.Scheme == "https" {
			u.User = nil // forges take tokens as user names
		}
	}
	u.RawQuery, u.Fragment = "", ""
	return u.String()
}

// repositoryPath is owner and name of a repository.
func repositoryPath(repository string) string {
	p := repository
	if u, err := url.Parse(repository); err == nil && u.Host != "" {
		p = u.Path
	} else if _, after, ok := strings.Cut(repository, ":"); ok {
		p = after
	}
	return strings.TrimSuffix(strings.Trim(p, "/"), ".git")
}

func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return slices.Clone(l)
}

func names(phases []run.Phase) []string {
	out := make([]string, len(phases))
	for i, p := range phases {
		out[i] = string(p)
	}
	return out
}
