package seal

import (
	"bytes"
	"fmt"
	"strings"
)

// Kinds of sealed blobs.
const (
	KindWorkspace = "workspace"
	KindState     = "state"
	KindOutput    = "output"
	KindVariable  = "variable"
)

const statementTitle = "spaceport-seal-v1"

// Statement says what a sealed blob is. It is written as fixed lines and signed
// over those exact bytes; the bytes are kept, never written anew.
type Statement struct {
	Kind   string // one of the Kind constants
	Origin string // id of the installation
	Pool   string // id of the pool
	Signer string // fingerprint of the pool key that signs
	Stack  string // ULID of the stack or context: a slug may be used again by another
	Run    string // ULID of the run; empty where no run made the blob

	Attempt  int64
	Sequence int64  // of the stack's sealed blobs of this kind, from 1
	Previous string // digest of the statement before it; empty for the first

	Ciphertext string // digest of the blob
	Size       int64  // of the blob, in bytes
	Recipients []string

	Core  string // digest of the job core; never empty for a workspace
	State string // digest of the state that a workspace was planned on, or empty
	Image string // registry digest of a workspace's runner image, or empty
}

// fields lists the lines in their order. recipients is the joined list.
func (s *Statement) fields(recipients *string) []line {
	return []line{
		{name: "kind", text: &s.Kind},
		{name: "origin", text: &s.Origin},
		{name: "pool", text: &s.Pool},
		{name: "signer", text: &s.Signer},
		{name: "stack", text: &s.Stack},
		{name: "run", text: &s.Run, optional: true},
		{name: "attempt", number: &s.Attempt},
		{name: "sequence", number: &s.Sequence},
		{name: "previous", text: &s.Previous, optional: true},
		{name: "ciphertext", text: &s.Ciphertext},
		{name: "size", number: &s.Size},
		{name: "recipients", text: recipients},
		{name: "core", text: &s.Core, optional: true},
		{name: "state", text: &s.State, optional: true},
		{name: "image", text: &s.Image, optional: true},
	}
}

// Marshal writes the statement. It fails with invalid.seal_format for a value
// that a statement cannot hold.
func (s Statement) Marshal() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, invalidBy(err, "seal_format", "the statement cannot be written: %s", err)
	}
	recipients := strings.Join(s.Recipients, " ")
	data, err := marshalLines(statementTitle, s.fields(&recipients))
	if err != nil {
		return nil, invalidBy(err, "seal_format", "the statement cannot be written: %s", err)
	}
	return data, nil
}

// ParseStatement reads the exact bytes that Marshal wrote and nothing else.
// Fault: invalid.seal_format. What it returns is only worth something once the
// signature over the same bytes has been checked: see [VerifySealed].
func ParseStatement(data []byte) (*Statement, error) {
	var s Statement
	var recipients string
	if err := parseLines(data, statementTitle, s.fields(&recipients)); err != nil {
		return nil, invalidBy(err, "seal_format", "the statement is malformed: %s", err)
	}
	s.Recipients = strings.Split(recipients, " ")
	again, err := s.Marshal()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, invalid("seal_format", "the statement is malformed: it is not in the one form that is signed")
	}
	return &s, nil
}

// check holds what the lines' own rules do not say.
func (s *Statement) check() error {
	switch s.Kind {
	case KindWorkspace, KindState, KindOutput, KindVariable:
	default:
		return fmt.Errorf("kind %q is unknown", s.Kind)
	}
	for _, d := range []struct {
		name, value string
		optional    bool
	}{
		{"signer", s.Signer, false},
		{"ciphertext", s.Ciphertext, false},
		{"previous", s.Previous, true},
		{"core", s.Core, s.Kind != KindWorkspace},
		{"state", s.State, true},
		{"image", s.Image, true},
	} {
		if d.value == "" && d.optional {
			continue
		}
		if !isDigest(d.value) {
			return fmt.Errorf("%s is not a sha256 digest", d.name)
		}
	}
	if s.Kind != KindWorkspace && (s.State != "" || s.Image != "") {
		return fmt.Errorf("only a workspace names state and image")
	}
	if len(s.Recipients) == 0 {
		return fmt.Errorf("recipients are missing")
	}
	seen := make(map[string]bool, len(s.Recipients))
	for _, r := range s.Recipients {
		if r == "" || r == none || strings.ContainsAny(r, " \t") {
			return fmt.Errorf("recipient %q is not a fingerprint", r)
		}
		if seen[r] {
			return fmt.Errorf("recipient %q is named twice", r)
		}
		seen[r] = true
	}
	return nil
}

// StatementDigest returns the digest of a statement's exact bytes, by which the
// next one names it.
func StatementDigest(data []byte) string { return Digest(data) }
