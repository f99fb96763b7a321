package web

import (
	"errors"
	"log/slog"
	"net/http"
	"time"
)

// Options are the handlers of the public server. All are needed. Each sets its own
// deadlines: states and workspaces are large, and lines slow.
type Options struct {
	GraphQL http.Handler
	Worker  http.Handler // all below /worker/
	Objects http.Handler // all below /objects/
	Log     *slog.Logger
}

// Handler routes the public server, or returns an error if an option is missing.
func Handler(o Options) (http.Handler, error) {
	if o.GraphQL == nil || o.Worker == nil || o.Objects == nil || o.Log == nil {
		return nil, errors.New("web: an option of the handler is missing")
	}
	mux := http.NewServeMux()
	mux.Handle("/worker/", o.Worker)
	mux.Handle("/objects/", o.Objects)
	mux.Handle("/graphql", o.GraphQL)
	return bounded(logged(mux, o.Log)), nil
}

// restWithin is how long what a handler left of a request's body may take.
const restWithin = 10 * time.Second

// bounded ends requests whose handler has answered and whose body never ends, such
// as one to a path that does not exist: the server reads on before it answers, and
// anybody could hold connections that way.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		// A connection that cannot have a deadline is a test's. The server takes it
		// back before the connection's next request.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(restWithin))
	})
}

// logged writes a line for each request, at debug. Paths hold no secrets: signed
// URLs keep theirs in the query, which is left out.
func logged(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !log.Enabled(r.Context(), slog.LevelDebug) {
			next.ServeHTTP(w, r)
			return
		}
		start := time.Now()
		status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(status, r)
		log.DebugContext(r.Context(), "request", slog.String("method", r.Method), slog.String("path", r.URL.Path),
			slog.Int("status", status.status), slog.Duration("took", time.Since(start)), slog.String("remote", r.RemoteAddr))
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader remembers the status.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets deadlines and flushes through.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
