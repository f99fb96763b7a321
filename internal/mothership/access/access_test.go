package access_test

import (
	"context"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
)

func TestARoleMayDoWhatTheTableSaysAndNothingElse(t *testing.T) {
	t.Parallel()
	// Written by hand: r reader, w writer, a admin, in the order of least right.
	const table = `
space:read r
pool:read r
pool:create a
pool:update a
pool:delete a
pool:reset a
pool:cycle a
worker:drain a
stack:read r
stack:create a
stack:update a
stack:delete a
stack:lock w
stack:unlock w
stack:unlock_others a
run:read r
run:trigger w
run:confirm w
run:discard w
run:cancel r
run:stop r
run:retry r
run:cancel_blocking w
run:stop_blocking w
run:retry_blocking w
run:prioritize w
task:create w
state:read a
quarantine:clear a
vcs_integration:read r
vcs_integration:create a
vcs_integration:update a
vcs_integration:delete a
apikey:read a
apikey:create a
apikey:delete a
audit:read a
no:such -`
	var auth access.Authorizer
	order := "rwa"
	for line := range strings.SplitSeq(strings.TrimSpace(table), "\n") {
		action, least, _ := strings.Cut(line, " ")
		for i, role := range []access.Role{access.Reader, access.Writer, access.Admin} {
			want := strings.Contains(order, least) && i >= strings.Index(order, least)
			p := access.Principal{Kind: access.KindAPIKey, ID: "K", Roles: map[string]access.Role{"root": role}}
			ctx := access.With(context.Background(), p)
			if got := auth.Require(ctx, access.Action(action), "root") == nil; got != want {
				t.Errorf("%s may do %s: got %t, want %t", role, action, got, want)
			}
			if got := auth.RequireAnywhere(ctx, access.Action(action)) == nil; got != want {
				t.Errorf("%s may do %s somewhere: got %t, want %t", role, action, got, want)
			}
			if auth.Require(ctx, access.Action(action), "other") == nil {
				t.Errorf("%s of root may do %s in another space", role, action)
			}
		}
	}
}

func TestWhoIsNotKnownMayDoNothing(t *testing.T) {
	t.Parallel()
	var auth access.Authorizer
	for name, test := range map[string]struct {
		ctx  context.Context
		kind fault.Code
	}{
		"nobody":               {context.Background(), fault.Unauthenticated},
		"a zero principal":     {access.With(context.Background(), access.Principal{Admin: true}), fault.Unauthenticated},
		"a worker":             {access.With(context.Background(), access.Worker("W")), fault.Forbidden},
		"a worker that claims": {access.With(context.Background(), access.Principal{Kind: access.KindWorker, ID: "W", Admin: true}), fault.Forbidden},
		"a key without a role": {access.With(context.Background(), access.Principal{Kind: access.KindAPIKey, ID: "K"}), fault.Forbidden},
		"a made-up role":       {access.With(context.Background(), access.Principal{Kind: access.KindAPIKey, ID: "K", Roles: map[string]access.Role{"root": "owner"}}), fault.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := auth.Require(test.ctx, access.StackRead, "root"); !fault.Is(err, test.kind) {
				t.Errorf("got %v, want %s", err, test.kind)
			}
			if err := auth.RequireAnywhere(test.ctx, access.StackRead); !fault.Is(err, test.kind) {
				t.Errorf("anywhere: got %v, want %s", err, test.kind)
			}
			if auth.Allowed(test.ctx, access.StackRead, "root") {
				t.Error("it is allowed")
			}
		})
	}
}

func TestARefusalNamesActionAndSpace(t *testing.T) {
	t.Parallel()
	ctx := access.With(context.Background(), access.Principal{Kind: access.KindAPIKey, ID: "K"})
	err := access.Authorizer{}.Require(ctx, access.PoolDelete, "payments")
	if err == nil || !strings.Contains(err.Error(), "pool:delete") || !strings.Contains(err.Error(), "payments") {
		t.Errorf("got %v", err)
	}
}
