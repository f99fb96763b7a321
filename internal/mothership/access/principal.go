package access

import "context"

// Kind says what a principal is.
type Kind string

// The kinds.
const (
	KindAPIKey Kind = "api_key"
	KindAdmin  Kind = "admin"  // a person logged in as the installation's administrator
	KindSystem Kind = "system" // the mothership itself
	KindWorker Kind = "worker" // a launcher; named in audit rows, allowed nothing here
)

// Principal is who asks.
type Principal struct {
	Kind Kind
	ID   string
	Name string // for people
	// Admin holds the admin role in every space.
	Admin bool
	// Roles are those of single spaces, by space id.
	Roles map[string]Role
	// Remote is the address that the request came from, for audit rows.
	Remote string
}

// System returns the principal for what the mothership does on its own, and for
// commands that work on the data directory. name says which part of it.
func System(name string) Principal {
	return Principal{Kind: KindSystem, ID: "system", Name: name}
}

// Worker returns the principal for what the worker with this id does.
func Worker(id string) Principal {
	return Principal{Kind: KindWorker, ID: id, Name: id}
}

// Actor names the principal in histories and audit rows: "api::<id>" for an API
// key, "worker::<id>", "system" and so on. It never changes for one principal.
func (p Principal) Actor() string {
	switch p.Kind {
	case KindAPIKey:
		return "api::" + p.ID
	case KindAdmin:
		return "admin::" + p.ID
	case KindWorker:
		return "worker::" + p.ID
	case KindSystem:
		return "system"
	}
	return "nobody"
}

type contextKey struct{}

// With returns a context that carries p.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// From returns the principal that ctx carries, and whether there is one.
func From(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(contextKey{}).(Principal)
	return p, ok && p.Kind != ""
}
