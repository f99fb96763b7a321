package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Check says why a part cannot serve, or nil.
type Check func(ctx context.Context) error

// HealthOptions are what the health server asks. All are needed.
type HealthOptions struct {
	// Ready are the parts that must work, by name.
	Ready   map[string]Check
	Metrics http.Handler
}

// checkWithin bounds one look at all parts.
const checkWithin = 3 * time.Second

// HealthHandler answers /startup, /readiness and /metrics.
func HealthHandler(o HealthOptions) (http.Handler, error) {
	if len(o.Ready) == 0 || o.Metrics == nil {
		return nil, errors.New("web: an option of the health handler is missing")
	}
	mux := http.NewServeMux()
	// It is served only once everything stands.
	mux.HandleFunc("GET /startup", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "started") })
	mux.HandleFunc("GET /readiness", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), checkWithin)
		defer cancel()
		for name, check := range o.Ready {
			if err := check(ctx); err != nil {
				say(w, http.StatusServiceUnavailable, name+": "+err.Error())
				return
			}
		}
		say(w, http.StatusOK, "ready")
	})
	mux.Handle("GET /metrics", o.Metrics)
	return bounded(mux), nil
}

func say(w http.ResponseWriter, status int, sentence string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, sentence) // a prober that has gone needs no answer
}
