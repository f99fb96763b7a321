package graph

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
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

// post is the one transport. Every GraphQL answer has status 200, errors too:
// the public clients read no body of any other status. The library's own
// transport answers 422 for what does not validate.
type post struct{}

// Supports reports whether r is a POST of JSON.
func (post) Supports(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && r.Method == http.MethodPost && media == "application/json"
}

// Do answers r.
func (post) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	ctx := r.Context()
	params := &graphql.RawParams{Headers: r.Header, ReadTime: graphql.TraceTiming{Start: graphql.Now()}}
	if status, err := decode(r.Body, params); err != nil {
		write(w, status, &graphql.Response{Errors: gqlerror.List{err}})
		return
	}
	params.ReadTime.End = graphql.Now()
	operation, list := exec.CreateOperationContext(ctx, params)
	if list != nil {
		write(w, http.StatusOK, exec.DispatchError(graphql.WithOperationContext(ctx, operation), explain(list)))
		return
	}
	responses, ctx := exec.DispatchOperation(ctx, operation)
	write(w, http.StatusOK, responses(ctx))
}

func decode(body io.Reader, params *graphql.RawParams) (int, *gqlerror.Error) {
	content, err := io.ReadAll(body)
	if err != nil {
		status, sentence := http.StatusBadRequest, "the request could not be read"
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			status, sentence = http.StatusRequestEntityTooLarge, "the request is larger than the API takes"
		}
		return status, invalid(sentence)
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber() // 64-bit numbers stay whole
	err = decoder.Decode(params)
	if _, end := decoder.Token(); err != nil || !errors.Is(end, io.EOF) || params.Query == "" {
		// The body is not repeated: it may hold secrets.
		return http.StatusBadRequest, invalid("the request is not one JSON object with a query")
	}
	return http.StatusOK, nil
}

func invalid(sentence string) *gqlerror.Error {
	e := gqlerror.Errorf("%s", sentence)
	extend(e, "code", string(fault.Invalid))
	return e
}

func write(w http.ResponseWriter, status int, response *graphql.Response) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // logs are full of what would be escaped
	if err := encoder.Encode(response); err != nil {
		http.Error(w, "the answer could not be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store") // tokens are in some answers
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // the client may have gone: nobody is left to tell
}
