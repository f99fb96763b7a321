package vcs

import "time"

// Integration is what opens one host, without its secret.
type Integration struct {
	ID          string // its name, which never changes
	ULID        string // never reused
	Space       string
	Host        string // as wire.RepositoryHost says it
	Username    string // beside a token; empty for an SSH key
	PublicKey   string // of the SSH key, as a line of authorized_keys; empty for a token
	KnownHosts  string // lines of SSH host keys
	Default     bool   // for the stacks of its space that name none
	Labels      []string
	Description string
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Input is what an integration is made from.
type Input struct {
	Name        string
	Space       string // empty: the root space
	Host        string
	Default     bool
	Labels      []string
	Description string
	Secret
}

// Change is what an integration is changed to. Nil changes nothing.
type Change struct {
	ID          string
	Space       string // where it is, if given: it does not move
	Default     *bool
	Labels      []string
	Description *string
	Secret      Secret
}

// Secret is a token with its user name, or an SSH key. In a change an empty field
// changes nothing.
type Secret struct {
	Username   string // beside a token; "git" if empty
	Token      string
	SSHKey     string // PEM, without passphrase
	KnownHosts *string
}
