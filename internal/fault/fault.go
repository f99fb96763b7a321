// Package fault is the one error type that people read.
//
// A fault has a stable code that scripts may match, one sentence that says what
// is wrong and where, and a hint that says what to do. Transports map the code
// once: to an HTTP status, a GraphQL extension, an exit code. What only the log
// should keep is wrapped underneath and never printed to a caller.
package fault

import (
	"errors"
	"fmt"
)

// Code is the stable, machine-readable name of a fault.
type Code string

// Kinds of fault that every transport knows how to answer. More specific codes
// are made with Kind.With, such as Invalid.With("csr_weak_key").
const (
	Invalid         Code = "invalid"
	Unauthenticated Code = "unauthenticated"
	Forbidden       Code = "forbidden"
	NotFound        Code = "not_found"
	Conflict        Code = "conflict"
	Stale           Code = "stale"
	Unsupported     Code = "unsupported"
	Unavailable     Code = "unavailable"
	Internal        Code = "internal"
)

// Error is a fault. The zero value is not useful; make one with New or Wrap.
type Error struct {
	// Kind decides how a transport answers.
	Kind Code
	// Code is Kind, or a name below it ("invalid.csr_weak_key").
	Code Code
	// Message is one sentence without a full stop, safe to show.
	Message string
	// Hint says what to do about it; it may be empty.
	Hint string
	// cause is kept for the log alone.
	cause error
}

// New makes a fault of a kind. The message is formatted as by fmt.Sprintf.
func New(kind Code, message string, args ...any) *Error {
	return &Error{Kind: kind, Code: kind, Message: fmt.Sprintf(message, args...)}
}

// Wrap makes a fault of a kind that keeps cause for the log.
func Wrap(cause error, kind Code, message string, args ...any) *Error {
	e := New(kind, message, args...)
	e.cause = cause
	return e
}

// Named gives the fault a more specific stable code below its kind.
func (e *Error) Named(name string) *Error {
	c := *e
	c.Code = e.Kind + "." + Code(name)
	return &c
}

// WithHint says what the reader should do.
func (e *Error) WithHint(hint string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(hint, args...)
	return &c
}

// Error returns the sentence, with the hint where there is one.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + ": " + e.Hint
}

// Unwrap returns the cause that the log keeps.
func (e *Error) Unwrap() error { return e.cause }

// As returns the fault in err's chain, or nil.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Is reports whether err's chain holds a fault of this kind.
func Is(err error, kind Code) bool {
	e := As(err)
	return e != nil && e.Kind == kind
}

// Public returns the fault to show for err: itself if it is one, else a plain
// internal fault that gives nothing away.
func Public(err error) *Error {
	if e := As(err); e != nil {
		return e
	}
	return Wrap(err, Internal, "an internal error occurred").
		WithHint("the server's log has the details")
}
