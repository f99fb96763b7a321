package workerapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/statefile"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Largest bodies that are taken, in bytes.
const (
	maxBody    = 1 << 20
	maxOutcome = 32 << 20 // change lists and outputs
)

// pools registers launchers and knows bearers.
type pools interface {
	Nonce() (string, time.Duration)
	Register(ctx context.Context, jws string) (wire.RegisterAnswer, error)
	Renew(ctx context.Context, id pool.WorkerIdentity) (wire.RegisterAnswer, error)
	Deregister(ctx context.Context, id pool.WorkerIdentity, session int64) error
	Authenticate(ctx context.Context, bearer string) (pool.WorkerIdentity, error)
}

// attempts leads attempts.
type attempts interface {
	Orders(ctx context.Context, c pool.WorkerIdentity, req wire.OrdersRequest) (wire.Orders, error)
	Accept(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.AcceptRequest) (*wire.JobAnswer, error)
	Job(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.AcceptRequest) (*wire.JobAnswer, error)
	Starting(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.StartingRequest) (wire.StartingAnswer, error)
	Beat(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.BeatRequest) (wire.BeatAnswer, error)
	Report(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.ReportRequest) (wire.ReportAnswer, error)
	Log(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.LogsRequest) (wire.LogsAnswer, error)
	Outcome(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.Outcome) (wire.Decision, error)
	Parked(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.ParkedRequest) (wire.Decision, error)
	Gone(ctx context.Context, c pool.WorkerIdentity, ref wire.AttemptRef, req wire.GoneRequest) (wire.Decision, error)
}

// states keeps states.
type states interface {
	Get(ctx context.Context, c statefile.Caller) (statefile.State, []byte, error)
	Put(ctx context.Context, c statefile.Caller, w statefile.Write, body io.Reader) (wire.StateAnswer, error)
	Lock(ctx context.Context, c statefile.Caller, req wire.LockRequest) error
	Unlock(ctx context.Context, c statefile.Caller, id string) error
}

// Options are what a Handler works with. All are needed.
type Options struct {
	Pools    pools
	Attempts attempts
	States   states
	Log      *slog.Logger
}

// Handler serves the worker API.
type Handler struct {
	o   Options
	mux *http.ServeMux
}

// New returns the handler, or an error if an option is missing.
func New(o Options) (*Handler, error) {
	if o.Pools == nil || o.Attempts == nil || o.States == nil || o.Log == nil {
		return nil, errors.New("workerapi: an option is missing")
	}
	h := &Handler{o: o, mux: http.NewServeMux()}
	h.routes()
	return h, nil
}

// ServeHTTP answers one call.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

func (h *Handler) routes() {
	p, a := h.o.Pools, h.o.Attempts
	h.mux.HandleFunc("POST "+wire.PathNonce, func(w http.ResponseWriter, r *http.Request) {
		nonce, d := p.Nonce()
		h.answer(w, r, wire.NonceAnswer{Nonce: nonce, ExpiresInMs: d.Milliseconds()}, nil)
	})
	h.mux.HandleFunc("POST "+wire.PathRegister, func(w http.ResponseWriter, r *http.Request) {
		var req wire.RegisterRequest
		if err := decode(w, r, maxBody, &req); err != nil {
			h.answer(w, r, nil, err)
			return
		}
		answer, err := p.Register(r.Context(), req.Registration)
		h.answer(w, r, answer, err)
	})
	h.mux.HandleFunc("POST "+wire.PathRenew, h.worker(func(w http.ResponseWriter, r *http.Request, c pool.WorkerIdentity) (any, error) {
		return p.Renew(r.Context(), c)
	}))
	h.mux.HandleFunc("POST "+wire.PathDeregister, h.worker(func(w http.ResponseWriter, r *http.Request, c pool.WorkerIdentity) (any, error) {
		var req wire.DeregisterRequest
		if err := decode(w, r, maxBody, &req); err != nil {
			return nil, err
		}
		return wire.Done{}, p.Deregister(r.Context(), c, req.Session)
	}))
	h.mux.HandleFunc("POST "+wire.PathOrders, h.worker(func(w http.ResponseWriter, r *http.Request, c pool.WorkerIdentity) (any, error) {
		var req wire.OrdersRequest
		if err := decode(w, r, maxBody, &req); err != nil {
			return nil, err
		}
		return a.Orders(r.Context(), c, req)
	}))
	handle(h, wire.VerbAccept, maxBody, a.Accept)
	handle(h, wire.VerbJob, maxBody, a.Job)
	handle(h, wire.VerbStarting, maxBody, a.Starting)
	handle(h, wire.VerbBeat, maxBody, a.Beat)
	handle(h, wire.VerbReport, maxBody, a.Report)
	handle(h, wire.VerbLogs, maxBody, a.Log)
	handle(h, wire.VerbOutcome, maxOutcome, a.Outcome)
	handle(h, wire.VerbParked, maxBody, a.Parked)
	handle(h, wire.VerbGone, maxBody, a.Gone)
	h.stateRoutes()
}

// below is the pattern of a verb below an attempt.
func below(method, verb string) string {
	return method + " /worker/v1/runs/{run}/attempts/{attempt}/" + verb
}

// handle serves one verb below an attempt.
func handle[Req, Answer any](h *Handler, verb string, limit int64,
	call func(context.Context, pool.WorkerIdentity, wire.AttemptRef, Req) (Answer, error),
) {
	h.mux.HandleFunc(below("POST", verb), h.worker(func(w http.ResponseWriter, r *http.Request, c pool.WorkerIdentity) (any, error) {
		ref, err := attemptOf(r)
		if err != nil {
			return nil, err
		}
		var req Req
		if err := decode(w, r, limit, &req); err != nil {
			return nil, err
		}
		return call(r.Context(), c, ref, req)
	}))
}

func attemptOf(r *http.Request) (wire.AttemptRef, error) {
	n, err := strconv.ParseInt(r.PathValue("attempt"), 10, 64)
	if err != nil || n < 1 {
		return wire.AttemptRef{}, fault.New(fault.Invalid, "%q is not the number of an attempt", r.PathValue("attempt"))
	}
	return wire.AttemptRef{Run: r.PathValue("run"), Attempt: n}, nil
}

// worker finds out whom the bearer speaks for before anything is read.
func (h *Handler) worker(f func(w http.ResponseWriter, r *http.Request, c pool.WorkerIdentity) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || bearer == "" {
			h.answer(w, r, nil, fault.New(fault.Unauthenticated, "the call has no bearer"))
			return
		}
		c, err := h.o.Pools.Authenticate(r.Context(), bearer)
		if err != nil {
			h.answer(w, r, nil, err)
			return
		}
		principal := access.Worker(c.Worker)
		principal.Remote = r.RemoteAddr
		answer, err := f(w, r.WithContext(access.With(r.Context(), principal)), c)
		if fault.Is(err, fault.Forbidden) {
			// A launcher never asks for what is not its own. Whoever does should be seen.
			h.o.Log.Warn("a worker was refused", "worker", c.Worker, "pool", c.Pool, "path", r.URL.Path, "remote", r.RemoteAddr, "err", err)
		}
		h.answer(w, r, answer, err)
	}
}

// readWithin is how long a body of JSON may take to arrive; large ones may take
// longer.
const (
	readWithin      = time.Minute
	readLargeWithin = 10 * time.Minute
)

// decode reads a JSON body of at most limit bytes. Unknown fields are allowed: a
// newer launcher may send more. The time is bounded too, since whoever registers
// has shown nothing yet.
func decode(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	within := readWithin
	if limit > maxBody {
		within = readLargeWithin
	}
	// A connection that cannot have a deadline is a test's. The server takes it back
	// with the body's end; until then it stays, since the server reads what is left
	// of a body after the handler as well.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(within))
	body := http.MaxBytesReader(w, r.Body, limit)
	if err := json.NewDecoder(body).Decode(into); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return fault.New(fault.Invalid, "the body is larger than %d bytes", limit).Named("too_large")
		}
		return fault.Wrap(err, fault.Invalid, "the body is not the JSON that this call takes")
	}
	return nil
}

// answered is what a handler returns that has written its answer itself.
type answered struct{}

func (h *Handler) answer(w http.ResponseWriter, r *http.Request, answer any, err error) {
	status := http.StatusOK
	if err != nil {
		public := fault.Public(err)
		status = Status(public)
		if public.Kind == fault.Internal && r.Context().Err() == nil {
			h.o.Log.Error("a worker's call failed", "path", r.URL.Path, "err", err, "cause", errors.Unwrap(public))
		}
		answer = wire.Problem{Code: string(public.Code), Message: public.Message, Hint: public.Hint}
	}
	if _, done := answer.(answered); done {
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		h.o.Log.Error("an answer could not be encoded", "path", r.URL.Path, "err", err)
		status, body = http.StatusInternalServerError, []byte(`{"code":"internal","message":"an internal error occurred"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	// Answers carry bearers and sealed jobs: nothing in between keeps them.
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		h.o.Log.Debug("an answer did not arrive", "path", r.URL.Path, "err", err)
	}
}

// Status is the HTTP status of a fault.
func Status(f *fault.Error) int {
	switch f.Kind {
	case fault.Invalid:
		if f.Code == fault.Invalid+".too_large" {
			return http.StatusRequestEntityTooLarge
		}
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict, fault.Stale:
		return http.StatusConflict
	case fault.Unsupported:
		return http.StatusNotImplemented
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
