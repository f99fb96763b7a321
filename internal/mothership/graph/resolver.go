package graph

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/apikey"
	"github.com/spaceport-iac/spaceport/internal/mothership/graph/gen"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/runlog"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/mothership/session"
	"github.com/spaceport-iac/spaceport/internal/mothership/space"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/mothership/statefile"
	"github.com/spaceport-iac/spaceport/internal/mothership/vcs"
)

// Options are what a Server works with. All are needed but Version.
type Options struct {
	Auth     access.Authorizer
	Sessions *session.Service
	Keys     *apikey.Service
	Spaces   *space.Service
	Pools    *pool.Service
	Stacks   *stack.Service
	Runs     *runs.Service
	Logs     *runlog.Service
	States   *statefile.Service
	VCS      *vcs.Service
	Account  string // the account's name
	Version  string
	Log      *slog.Logger
}

func (o Options) check() error {
	if o.Sessions == nil || o.Keys == nil || o.Spaces == nil || o.Pools == nil || o.Stacks == nil ||
		o.Runs == nil || o.Logs == nil || o.States == nil || o.VCS == nil || o.Account == "" || o.Log == nil {
		return errors.New("graph: an option of the server is missing")
	}
	return nil
}

// root leads to the resolvers of each type that needs any.
type root struct{ o Options }

var _ gen.ResolverRoot = (*root)(nil)

func (r *root) Query() gen.QueryResolver                       { return &query{r.o} }
func (r *root) Mutation() gen.MutationResolver                 { return &mutation{r.o} }
func (r *root) WorkerPool() gen.WorkerPoolResolver             { return &poolFields{r.o} }
func (r *root) PublicWorkerPool() gen.PublicWorkerPoolResolver { return &publicPoolFields{r.o} }
func (r *root) WorkerRun() gen.WorkerRunResolver               { return &workerRunFields{r.o} }
func (r *root) Stack() gen.StackResolver                       { return &stackFields{r.o} }
func (r *root) GitIntegration() gen.GitIntegrationResolver     { return &integrationFields{r.o} }
func (r *root) Run() gen.RunResolver                           { return &runFields{r.o} }

type (
	query             struct{ o Options }
	mutation          struct{ o Options }
	poolFields        struct{ o Options }
	publicPoolFields  struct{ o Options }
	workerRunFields   struct{ o Options }
	stackFields       struct{ o Options }
	integrationFields struct{ o Options }
	runFields         struct{ o Options }
)

// metadataHeader carries what a person says about a run that they trigger.
const metadataHeader = "Spacelift-User-Provided-Run-Metadata"

type metadataKey struct{}

func withMetadata(ctx context.Context, text string) context.Context {
	return context.WithValue(ctx, metadataKey{}, text)
}

func metadata(ctx context.Context) string {
	text, _ := ctx.Value(metadataKey{}).(string)
	return text
}

// text is what an optional input says, or "".
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// some is s as an optional answer: null when it is empty.
func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func yes(b *bool) bool { return b != nil && *b }

// list is never null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

func seconds(t time.Time) int { return int(t.Unix()) }

func optionalSeconds(t *time.Time) *int {
	if t == nil || t.IsZero() {
		return nil
	}
	s := seconds(*t)
	return &s
}
