package graph

import (
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/graph/gen"
)

// Server answers GraphQL over HTTP POST.
type Server struct {
	o       Options
	handler http.Handler
}

// New returns the server, or an error if an option is missing.
func New(o Options) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Server{o: o}
	config := gen.Config{Resolvers: &root{o}}
	weigh(&config.Complexity)
	h := handler.New(gen.NewExecutableSchema(config))
	h.AddTransport(post{})
	h.SetQueryCache(documents{lru.New[*ast.QueryDocument](queryCache)})
	h.SetParserTokenLimit(maxTokens)
	h.SetDisableSuggestion(true) // they name what only callers who are logged in are shown
	h.SetErrorPresenter(s.present)
	h.Use(newGuard())
	h.Use(extension.FixedComplexityLimit(maxComplexity))
	s.handler = h
	return s, nil
}

// ServeHTTP puts who asks into the context. A bearer that is not or no longer
// good makes a caller who is not logged in: every service then answers
// "unauthorized" in the form that clients understand.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A page of another site can have a browser send neither this method with this
	// type nor, as there are no cookies, anybody's rights. No header invites it.
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		write(w, http.StatusMethodNotAllowed, &graphql.Response{Errors: gqlerror.List{invalid("the API takes POST alone")}})
		return
	case !(post{}).Supports(r):
		write(w, http.StatusUnsupportedMediaType, &graphql.Response{Errors: gqlerror.List{invalid("the API takes application/json alone")}})
		return
	}
	ctx := r.Context()
	if token, ok := bearer(r); ok {
		p, err := s.o.Sessions.Verify(ctx, token)
		switch {
		case err == nil:
			if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
				p.Remote = host
			}
			ctx = access.With(ctx, p)
		case fault.As(err) == nil:
			s.o.Log.ErrorContext(ctx, "a token could not be checked", slog.Any("err", err))
		}
	}
	if metadata := r.Header.Get(metadataHeader); metadata != "" {
		ctx = withMetadata(ctx, metadata)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.handler.ServeHTTP(w, r.WithContext(ctx))
}

func bearer(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return token, ok && strings.EqualFold(scheme, "Bearer")
}
