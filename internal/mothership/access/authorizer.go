package access

import (
	"context"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Authorizer answers whether a principal may do something. The zero value works;
// it has no state, since roles come with the principal at each request.
type Authorizer struct{}

// Require returns nil if the principal of ctx may do action in space. Otherwise
// it returns a fault: unauthenticated without a principal, else forbidden.
func (Authorizer) Require(ctx context.Context, action Action, space string) error {
	p, ok := From(ctx)
	if !ok {
		return unauthenticated()
	}
	if p.may(action, space) {
		return nil
	}
	return fault.New(fault.Forbidden, "you may not do %s in space %q", action, space).
		WithHint("ask an administrator of the space for the role that allows it")
}

// RequireAnywhere returns nil if the principal of ctx may do action in at least
// one space. It is asked before the space of a thing is known, so that a caller
// without any right learns nothing about what exists; Require follows.
func (Authorizer) RequireAnywhere(ctx context.Context, action Action) error {
	p, ok := From(ctx)
	if !ok {
		return unauthenticated()
	}
	if p.may(action, RootSpace) {
		return nil
	}
	for space := range p.Roles {
		if p.may(action, space) {
			return nil
		}
	}
	return fault.New(fault.Forbidden, "you may not do %s in any space", action).
		WithHint("ask an administrator for the role that allows it")
}

// Allowed is Require as a boolean, for answers that leave something out.
func (Authorizer) Allowed(ctx context.Context, action Action, space string) bool {
	p, ok := From(ctx)
	return ok && p.may(action, space)
}

func unauthenticated() error {
	return fault.New(fault.Unauthenticated, "unauthorized").
		WithHint("log in, or give an API key's token")
}

// may is the whole decision. It lists what is allowed; all else is denied.
func (p Principal) may(action Action, space string) bool {
	least, known := needs[action]
	if !known {
		return false
	}
	switch p.Kind {
	case KindSystem:
		return true
	case KindAPIKey, KindAdmin:
		if p.Admin {
			return true
		}
		return p.Roles[space].rank() >= least.rank()
	}
	return false
}
