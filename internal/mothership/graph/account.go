package graph

import (
	"context"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/apikey"
	"github.com/spaceport-iac/spaceport/internal/mothership/graph/gen"
	"github.com/spaceport-iac/spaceport/internal/mothership/space"
)

// known is nil for a caller who is logged in: what every such caller may read.
func known(ctx context.Context) error {
	if _, ok := access.From(ctx); !ok {
		return fault.New(fault.Unauthenticated, "unauthorized").WithHint("log in again")
	}
	return nil
}

func (q *query) Name(ctx context.Context) (string, error) { return q.o.Account, known(ctx) }

func (q *query) Tier(ctx context.Context) (string, error) { return "self-hosted", known(ctx) }

func (q *query) DebugInfo(ctx context.Context) (*gen.DebugInfo, error) {
	return &gen.DebugInfo{Version: q.o.Version}, known(ctx)
}

func (q *query) Viewer(ctx context.Context) (*gen.Viewer, error) {
	p, ok := access.From(ctx)
	if !ok {
		return nil, nil // clients ask this to learn whether to log in again
	}
	return &gen.Viewer{ID: p.ID, Name: p.Name, Admin: p.Admin}, nil
}

func (m *mutation) APIKeyUser(ctx context.Context, id, secret string) (*gen.User, error) {
	token, err := m.o.Sessions.Exchange(ctx, id, secret)
	if err != nil {
		return nil, err
	}
	return &gen.User{Jwt: token.JWT, ValidUntil: seconds(token.ValidUntil)}, nil
}

func (q *query) APIKey(ctx context.Context, id string) (*gen.APIKey, error) {
	k, err := q.o.Keys.Get(ctx, id)
	return missing(keyView(k), err)
}

func (q *query) APIKeys(ctx context.Context) ([]*gen.APIKey, error) {
	keys, err := q.o.Keys.List(ctx)
	if err != nil {
		return nil, err
	}
	return each(keys, keyView), nil
}

func (m *mutation) APIKeyCreate(ctx context.Context, input gen.APIKeyInput) (*gen.APIKey, error) {
	switch {
	case input.Oidc != nil:
		return nil, unsupported("ApiKeyInput.oidc")
	case len(input.Teams) > 0:
		return nil, unsupported("ApiKeyInput.teams")
	}
	in := apikey.Input{Name: input.Name, Admin: input.Admin, Space: text(input.Space)}
	if input.Role != nil {
		in.Role = roles[*input.Role]
	}
	created, err := m.o.Keys.Create(ctx, in)
	if err != nil {
		return nil, err
	}
	view := keyView(created.Key)
	view.Secret = &created.Secret
	return view, nil
}

func (m *mutation) APIKeyDelete(ctx context.Context, id string) (*gen.APIKey, error) {
	k, err := m.o.Keys.Delete(ctx, id)
	if err != nil {
		return nil, err
	}
	return keyView(k), nil
}

func (q *query) Space(ctx context.Context, id string) (*gen.Space, error) { return q.o.space(ctx, id) }

func (q *query) Spaces(ctx context.Context) ([]*gen.Space, error) {
	spaces, err := q.o.Spaces.List(ctx)
	if err != nil {
		return nil, err
	}
	return each(spaces, func(s space.Space) *gen.Space { return spaceView(ctx, s) }), nil
}

// space answers a space by its id, null if there is none.
func (o Options) space(ctx context.Context, id string) (*gen.Space, error) {
	s, err := o.Spaces.Get(ctx, id)
	return missing(spaceView(ctx, s), err)
}

// roles are the levels of access that the API names.
var roles = map[gen.SpaceAccessLevel]access.Role{
	gen.SpaceAccessLevelRead:  access.Reader,
	gen.SpaceAccessLevelWrite: access.Writer,
	gen.SpaceAccessLevelAdmin: access.Admin,
}

func level(r access.Role) gen.SpaceAccessLevel {
	for l, role := range roles {
		if role == r {
			return l
		}
	}
	return gen.SpaceAccessLevelRead
}

func keyView(k apikey.Key) *gen.APIKey {
	view := &gen.APIKey{
		AccessRules: []*gen.SpaceAccessRule{}, Admin: k.Admin, CreatedAt: seconds(k.CreatedAt), Creator: some(k.Creator),
		Deleted: k.Deleted, ID: k.ID, LastUsedAt: optionalSeconds(k.LastUsedAt), Name: k.Name,
		Teams: []string{}, Type: gen.APIKeyTypeSecret,
	}
	if k.Role != "" {
		view.AccessRules = append(view.AccessRules, &gen.SpaceAccessRule{Space: k.Space, SpaceAccessLevel: level(k.Role)})
		view.SpaceCount = 1
	}
	return view
}

func spaceView(ctx context.Context, s space.Space) *gen.Space {
	view := &gen.Space{
		AccessLevel: gen.SpaceAccessLevelRead, Description: s.Description, ID: s.ID,
		InheritEntities: s.Inherit, Labels: []string{}, Name: s.Name, ParentSpace: some(s.Parent),
	}
	p, _ := access.From(ctx)
	switch {
	case p.Admin:
		view.AccessLevel = gen.SpaceAccessLevelAdmin
	case p.Roles[s.ID].Valid():
		view.AccessLevel = level(p.Roles[s.ID])
	}
	return view
}

// each answers a list, never null.
func each[T, V any](all []T, view func(T) *V) []*V {
	views := make([]*V, 0, len(all))
	for _, one := range all {
		views = append(views, view(one))
	}
	return views
}
