package stack

import (
	"time"

	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// StateNone is the state of a stack that never had a tracked run.
const StateNone run.State = "NONE"

// Stack is a stack.
type Stack struct {
	ID       string // a ULID, never reused
	Slug     string // the public id
	Name     string
	Space    string
	Pool     string // id of its pool; empty for none: its runs wait
	Settings Settings
	// StateMode is wire.StateManaged, StateSealed or StateExternal; it is fixed
	// when the stack is made.
	StateMode string

	// State is that of its newest tracked run, or StateNone.
	State         run.State
	StateSetAt    *time.Time
	TrackedCommit wire.Commit

	LockedBy string // actor, or empty
	LockNote string
	LockedAt *time.Time
	Disabled bool

	CreatedAt time.Time
	UpdatedAt time.Time
}

// Locked reports whether somebody other than actor holds the stack's lock.
func (s Stack) Locked(actor string) bool { return s.LockedBy != "" && s.LockedBy != actor }

// Input is what a stack is made from or changed to. An update replaces every
// field but those that say otherwise.
type Input struct {
	Name string
	// Slug overrides the one made from the name. Create only.
	Slug string
	// Space is a space's id; empty is the root space, or no change in an update.
	Space string
	// Pool is a pool's id, or empty for none.
	Pool string
	// StateMode is empty for managed, or no change in an update.
	StateMode string
	Settings  Settings
}

// Vendors.
const (
	VendorTerraform = "terraform"
	VendorOpenTofu  = "opentofu"
	VendorCustom    = "custom"
)

// Vendor names the tool that runs and how it is got.
type Vendor struct {
	Name      string `json:"name"`
	Version   string `json:"version,omitempty"` // exact, a range, or empty for any
	Workspace string `json:"workspace,omitempty"`
}

// Settings are what a stack's runs are made of, and a few values that are kept
// for clients that read them back. They are stored as JSON.
type Settings struct {
	// Repository is the name that clients gave, kept as it is; RepositoryURL is
	// where it is cloned from. If the latter is empty, the former must be a URL.
	Repository    string `json:"repository"`
	RepositoryURL string `json:"repository_url,omitempty"`
	Branch        string `json:"branch"`
	// ProjectRoot is a clean relative path below the repository, or empty.
	ProjectRoot string   `json:"project_root,omitempty"`
	RunnerImage string   `json:"runner_image,omitempty"`
	Description string   `json:"description,omitempty"`
	Labels      []string `json:"labels,omitempty"`
	Vendor      Vendor   `json:"vendor"`
	// Hooks by name: before_init, after_init, … after_run.
	Hooks map[string][]string `json:"hooks,omitempty"`

	Autodeploy bool `json:"autodeploy,omitempty"`
	// NoRetryLost turns off that a run lost while reading is queued again.
	NoRetryLost         bool `json:"no_retry_lost,omitempty"`
	ProtectFromDeletion bool `json:"protect_from_deletion,omitempty"`
	// EnableWellKnownSecretMasking hides what looks like a credential in logs.
	EnableWellKnownSecretMasking bool `json:"enable_well_known_secret_masking,omitempty"`

	// Kept for clients that read them back; they change nothing yet.
	Namespace                   string   `json:"namespace,omitempty"`
	Provider                    string   `json:"provider,omitempty"`
	VCSIntegration              string   `json:"vcs_integration,omitempty"`
	Administrative              bool     `json:"administrative,omitempty"`
	Autoretry                   bool     `json:"autoretry,omitempty"`
	LocalPreview                bool     `json:"local_preview,omitempty"`
	GithubActionDeploy          bool     `json:"github_action_deploy,omitempty"`
	EnableSensitiveOutputUpload bool     `json:"enable_sensitive_output_upload,omitempty"`
	AdditionalProjectGlobs      []string `json:"additional_project_globs,omitempty"`
	GitSparseCheckoutPaths      []string `json:"git_sparse_checkout_paths,omitempty"`
	SmartSanitization           bool     `json:"smart_sanitization,omitempty"`
	ExternalStateAccess         bool     `json:"external_state_access,omitempty"`
	WorkflowTool                string   `json:"workflow_tool,omitempty"`
}

// CloneURL is where the source is cloned from.
func (s Settings) CloneURL() string {
	if s.RepositoryURL != "" {
		return s.RepositoryURL
	}
	return s.Repository
}

// RetryLost reports whether a run that was lost while reading is queued again.
func (s Settings) RetryLost() bool { return !s.NoRetryLost }

// ConfigType is the kind of a configuration element.
type ConfigType string

// The types.
const (
	EnvironmentVariable ConfigType = "ENVIRONMENT_VARIABLE"
	FileMount           ConfigType = "FILE_MOUNT"
)

// ConfigInput is a variable or a file to be set. An element with the same ID is
// replaced.
type ConfigInput struct {
	// ID is the variable's name, possibly with a prefix ro_ or wo_, or the file's
	// path below the workspace.
	ID          string
	Type        ConfigType
	Value       string // of a file: standard base64 of its content
	WriteOnly   bool
	Description string
}

// ConfigElement is a variable or a file.
type ConfigElement struct {
	ID          string
	Type        ConfigType
	Value       *string // nil if write-only
	WriteOnly   bool
	Checksum    string // hex sha256 of Value as it was given
	Description string
	CreatedAt   time.Time
	// Warning says what somebody who has just saved the element should know, such as
	// that it is too short to be masked. It is in SetConfig's answer alone: a value
	// that is write-only is not opened to be judged again.
	Warning string
}

// Event kinds of this package. The subject is the stack's id.
const (
	EventChanged = "stack.changed" // created, changed, locked, unlocked: look at the queue
	EventDeleted = "stack.deleted"
)
