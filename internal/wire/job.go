package wire

import "github.com/spaceport-iac/spaceport/internal/run"

// Job is one attempt's work in one class, as the mothership composes it. It has
// no field for a host path, mount, network, runtime, capability or device: those
// come from the launcher's own settings.
type Job struct {
	V       int       `json:"v"`
	Origin  string    `json:"origin"`
	Pool    string    `json:"pool"`
	Worker  string    `json:"worker"`
	Session int64     `json:"session"`
	Run     string    `json:"run"`
	Attempt int64     `json:"attempt"`
	Class   run.Class `json:"class"`

	Type        run.Type  `json:"type"`
	State       run.State `json:"state"`  // at composition: PREPARING, PREPARING_APPLY, …
	Phases      []string  `json:"phases"` // all of the run's, in order
	SkipInit    bool      `json:"skip_init"`
	Command     string    `json:"command,omitempty"` // a task's
	Targets     []string  `json:"targets,omitempty"`
	Autodeploy  bool      `json:"autodeploy"`
	TriggeredBy string    `json:"triggered_by,omitempty"`
	CreatedAt   int64     `json:"created_at"` // unix nanoseconds
	Metadata    []string  `json:"user_provided_metadata"`

	Account     string   `json:"account"`
	Stack       JobStack `json:"stack"`
	Repository  string   `json:"repository"` // clone URL
	Branch      string   `json:"branch"`
	Commit      Commit   `json:"commit"` // SHA may be empty: the launcher pins it
	ProjectRoot string   `json:"project_root"`
	// Sparse are the paths of the repository that are checked out; all if empty.
	Sparse []string `json:"sparse,omitempty"`
	// Credential opens the repository's host; only a job that fetches has one.
	Credential *SourceCredential `json:"credential,omitempty"`
	Image      string            `json:"image,omitempty"`
	Vendor     Vendor            `json:"vendor"`

	// Hooks by name: before_init, after_init, … after_run.
	Hooks       map[string][]string `json:"hooks"`
	Environment []Variable          `json:"environment"`
	Files       []File              `json:"files"`

	// MaskWellKnown hides what looks like a credential of a well-known kind in logs.
	MaskWellKnown bool `json:"mask_well_known,omitempty"`

	Store  JobState `json:"store"`
	Parked *Parked  `json:"parked,omitempty"` // what an apply after a pause opens

	StateVersion int      `json:"state_version"` // of State, for the preparing log
	LogURLs      []LogURL `json:"log_urls"`
}

// JobStack is the stack as far as a run may know it. ID is a ULID and never
// reused; Slug is the public id.
type JobStack struct {
	ID     string   `json:"id"`
	Slug   string   `json:"slug"`
	Name   string   `json:"name"`
	Space  string   `json:"space"`
	Labels []string `json:"labels"`
}

// SourceCredential opens a repository's host to the launcher, and to nobody else:
// it is never given to a container nor kept on disk. It has either a token or an
// SSH key.
type SourceCredential struct {
	ID string `json:"id"` // of the integration; never reused
	// Host is the only host that it is for: a name, with its port unless it is
	// the scheme's own, or private://NAME.
	Host       string `json:"host"`
	Username   string `json:"username,omitempty"`
	Token      string `json:"token,omitempty"`
	SSHKey     string `json:"ssh_key,omitempty"`     // PEM, without passphrase
	KnownHosts string `json:"known_hosts,omitempty"` // lines of a known_hosts file
}

// Vendor names the tool and how it is got.
type Vendor struct {
	Name      string `json:"name"`              // terraform | opentofu | custom
	Version   string `json:"version,omitempty"` // exact, range or empty
	Workspace string `json:"workspace,omitempty"`
}

// Variable is one environment variable. The name may have a prefix ro_ or wo_,
// which the launcher resolves by class.
type Variable struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Secret bool   `json:"secret"`
	Source string `json:"source"` // computed | stack | runtime | launcher
}

// File is a mounted file, below the workspace root.
type File struct {
	Path    string `json:"path"`
	Content []byte `json:"content"`
	Secret  bool   `json:"secret"`
}

// State modes.
const (
	StateManaged  = "managed"
	StateSealed   = "sealed"
	StateExternal = "external" // the stack brings its own backend
)

// JobState is the stack's state as of the job.
type JobState struct {
	Mode     string `json:"mode"`
	Sequence int64  `json:"sequence"` // 0: none yet
	Digest   string `json:"digest"`   // sha256:<hex> of the stored bytes, or "none"
	// Statement is the digest of the current state's statement, or "none".
	Statement string `json:"statement"`
}

// Parked is a sealed workspace.
type Parked struct {
	URL        string `json:"url"`
	Sequence   int64  `json:"sequence"`
	Statement  []byte `json:"statement"`
	Signature  []byte `json:"signature"`
	Ciphertext string `json:"ciphertext"`
	Size       int64  `json:"size"`
	Previous   string `json:"previous"`
}
