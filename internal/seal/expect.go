package seal

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Expectation is what a caller already knows about a blob, from sources of its
// own: origin and pool from its settings, the kind from what it is about to do,
// the rest from a job whose signature it has checked. Never fill it from the
// statement itself, nor from an unsigned answer.
//
// The first four are always known and must be given. A nil pointer means that
// the caller cannot know the field.
type Expectation struct {
	Kind   string
	Origin string
	Pool   string
	Stack  string

	Run        *string
	Attempt    *int64
	Sequence   *int64
	Previous   *string // a pointer to "" expects that there is none
	Core       *string
	State      *string
	Ciphertext *string
	Size       *int64

	// Recipients, where there are any, are the caller's own: one of them must be one
	// of the statement's.
	Recipients []string
}

// Check compares every field that is expected with the statement's. Faults:
// invalid.seal_{kind, origin, pool, stack, run, attempt, sequence, previous,
// core, state, ciphertext, size, recipients}.
func (s Statement) Check(want Expectation) error {
	// A forgotten expectation must not pass for a met one.
	if want.Kind == "" || want.Origin == "" || want.Pool == "" || want.Stack == "" {
		return fault.New(fault.Internal, "a sealed blob was checked without saying what it should be")
	}
	for _, f := range []struct {
		name      string
		got       string
		want      *string
		gotNumber int64
		number    *int64
	}{
		{name: "kind", got: s.Kind, want: &want.Kind},
		{name: "origin", got: s.Origin, want: &want.Origin},
		{name: "pool", got: s.Pool, want: &want.Pool},
		{name: "stack", got: s.Stack, want: &want.Stack},
		{name: "run", got: s.Run, want: want.Run},
		{name: "attempt", gotNumber: s.Attempt, number: want.Attempt},
		{name: "sequence", gotNumber: s.Sequence, number: want.Sequence},
		{name: "previous", got: s.Previous, want: want.Previous},
		{name: "core", got: s.Core, want: want.Core},
		{name: "state", got: s.State, want: want.State},
		{name: "ciphertext", got: s.Ciphertext, want: want.Ciphertext},
		{name: "size", gotNumber: s.Size, number: want.Size},
	} {
		switch {
		case f.number != nil && *f.number != f.gotNumber:
			return mismatch(f.name, strconv.FormatInt(f.gotNumber, 10), strconv.FormatInt(*f.number, 10))
		case f.want != nil && *f.want != f.got:
			return mismatch(f.name, orNone(f.got), orNone(*f.want))
		}
	}
	ours := func(r string) bool { return slices.Contains(want.Recipients, r) }
	if len(want.Recipients) > 0 && !slices.ContainsFunc(s.Recipients, ours) {
		return invalid("seal_recipients", "the sealed blob is not for %s", strings.Join(want.Recipients, " or "))
	}
	return nil
}

func mismatch(field, got, want string) error {
	return invalid("seal_"+field, "the sealed blob is for %s %q, but %s %q is expected", field, got, field, want)
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}
