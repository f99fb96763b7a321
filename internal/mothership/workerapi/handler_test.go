package workerapi_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/lease/leasetest"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/mothership/workerapi"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

type world struct {
	*leasetest.World
	url string
}

func setup(t *testing.T) *world {
	t.Helper()
	w := &world{World: leasetest.New(t)}
	h, err := workerapi.New(workerapi.Options{Pools: w.Pools, Attempts: w.Lease, States: w.State, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// call makes one call and returns its status and the problem, if there is one.
func (w *world) call(method, path, bearer string, body any, header map[string]string) (int, wire.Problem, []byte) {
	w.T.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		reader = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			w.T.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, w.url+path, reader)
	if err != nil {
		w.T.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.T.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		w.T.Fatal(err)
	}
	var problem wire.Problem
	if res.StatusCode >= 300 {
		if err := json.Unmarshal(answer, &problem); err != nil {
			w.T.Fatalf("%s %s is answered %d without a problem: %q", method, path, res.StatusCode, answer)
		}
	}
	return res.StatusCode, problem, answer
}

// verb is a call below an attempt.
type verb struct {
	name   string
	method string
	suffix string
	body   any
	header map[string]string
}

// verbs are all calls below an attempt that its worker could make.
func verbs(class run.Class, container string) []verb {
	state := []byte("state")
	return []verb{
		{"accept", "POST", wire.VerbAccept, wire.AcceptRequest{Session: 1, Nonce: "n", Class: class}, nil},
		{"job", "POST", wire.VerbJob, wire.AcceptRequest{Session: 1, Nonce: "n", Class: class}, nil},
		{"starting", "POST", wire.VerbStarting, wire.StartingRequest{Session: 1, Container: container, Class: class, Phase: run.PhasePerform}, nil},
		{"beat", "POST", wire.VerbBeat, wire.BeatRequest{Beat: 1}, nil},
		{"report", "POST", wire.VerbReport, wire.ReportRequest{Container: container, Phase: run.PhasePerform}, nil},
		{"logs", "POST", wire.VerbLogs, wire.LogsRequest{}, nil},
		{"lock", "PUT", wire.VerbLock, wire.LockRequest{ID: "l"}, nil},
		{"unlock", "DELETE", wire.VerbLock, nil, nil},
		{"get state", "GET", wire.VerbState, nil, nil},
		{"put state", "PUT", wire.VerbState + "/w1", state, map[string]string{
			wire.HeaderSequence: "0", wire.HeaderDigest: leasetest.Digest(state),
		}},
		{"parked", "POST", wire.VerbParked, wire.ParkedRequest{Session: 1}, nil},
		{"gone", "POST", wire.VerbGone, wire.GoneRequest{Session: 1}, nil},
		{"outcome", "POST", wire.VerbOutcome, wire.Outcome{Session: 1, Container: container, Class: class, Result: wire.ResultFailed}, nil},
	}
}

func TestAWorkerMayActForNoOther(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a := w.Worker("01WORKERA")
	r := w.Task(w.Stack("web", nil), true)
	ref := w.Ref(r)
	w.Start(a, ref, run.Write, run.PhasePerform, "c")
	b := w.Worker("01WORKERB")
	other := w.Task(w.Stack("api", nil), true)
	w.Start(b, w.Ref(other), run.Write, run.PhasePerform, "c")

	bearers := map[string]string{
		"another worker's bearer":             w.Pools.Bearer(b).Text,
		"another attempt's bearer":            w.Pools.AttemptBearer(b, w.Ref(other)).Text,
		"a bearer of the worker, other run's": w.Pools.AttemptBearer(a, wire.AttemptRef{Run: ref.Run, Attempt: 7}).Text,
		"a bearer of another pool's worker":   w.Pools.AttemptBearer(pool.WorkerIdentity{Pool: "01OTHER", Worker: "01STRANGER"}, ref).Text,
	}
	for name, bearer := range bearers {
		for _, v := range verbs(run.Write, "c") {
			status, problem, _ := w.call(v.method, wire.AttemptPath(ref.Run, ref.Attempt, v.suffix), bearer, v.body, v.header)
			if unknown := strings.Contains(name, "pool") && status == http.StatusNotFound; status != http.StatusForbidden && !unknown {
				t.Errorf("%s with %s is answered %d %s", v.name, name, status, problem.Message)
			}
		}
	}
	for _, v := range verbs(run.Write, "c") {
		for name, bearer := range map[string]string{"no bearer": "", "a made up bearer": "w1.a.b.1.1.9999999999.AAAA"} {
			if status, _, _ := w.call(v.method, wire.AttemptPath(ref.Run, ref.Attempt, v.suffix), bearer, v.body, v.header); status != http.StatusUnauthorized {
				t.Errorf("%s with %s is answered %d", v.name, name, status)
			}
		}
	}
	w.WantState(r.ID, run.Performing)
}

func TestWhatAStaleAttemptSaysIsRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a := w.Worker("01WORKERA")
	st := w.Stack("web", nil)
	r := w.Trigger(st, run.Tracked)
	ref := w.Ref(r)
	w.Start(a, ref, run.Read, run.PhaseInit, "c")
	if _, err := w.Lease.Gone(t.Context(), a, ref, wire.GoneRequest{Session: 1}); err != nil {
		t.Fatal(err)
	}
	w.WantState(r.ID, run.Preparing) // attempt 2, on the same worker
	for _, v := range verbs(run.Read, "c") {
		want, code := http.StatusConflict, "stale"
		switch v.name {
		case "logs", "gone":
			continue // what is missing may still come; it concerns the old attempt alone
		case "put state":
			want, code = http.StatusForbidden, "forbidden" // it was never allowed to write
		}
		status, problem, _ := w.call(v.method, wire.AttemptPath(ref.Run, ref.Attempt, v.suffix), w.Pools.Bearer(a).Text, v.body, v.header)
		if status != want || problem.Code != code {
			t.Errorf("%s is answered %d %s (%s)", v.name, status, problem.Code, problem.Message)
		}
	}
	w.WantState(r.ID, run.Preparing)
}

func TestARunGoesThroughTheWholeAPI(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a := w.Worker("01WORKERA")
	bearer := w.Pools.Bearer(a).Text
	r := w.Task(w.Stack("web", func(in *stack.Input) { in.Settings.Autodeploy = true }), true)
	status, _, body := w.call("POST", wire.PathOrders, bearer, wire.OrdersRequest{Session: 1, Hints: true}, nil)
	var orders wire.Orders
	if err := json.Unmarshal(body, &orders); err != nil || status != http.StatusOK || orders.Assignment == nil || orders.Assignment.Run != r.ID {
		t.Fatalf("orders are answered %d %s", status, body)
	}
	ref := orders.Assignment.AttemptRef
	for _, v := range verbs(run.Write, "c") {
		if v.name == "parked" || v.name == "gone" {
			continue
		}
		for range 2 { // each call may be repeated
			if o, ok := v.body.(wire.Outcome); ok {
				o.Result, o.Logs = wire.ResultOK, wire.LogUpdate{Closes: []wire.LogClose{{StateVersion: 4}}}
				v.body = o
			}
			status, problem, _ := w.call(v.method, wire.AttemptPath(ref.Run, ref.Attempt, v.suffix), bearer, v.body, v.header)
			if status != http.StatusOK && (v.name != "get state" || status != http.StatusNoContent) {
				t.Errorf("%s is answered %d %s", v.name, status, problem.Message)
			}
		}
	}
	w.WantState(r.ID, run.Finished)
}

func TestAnOutcomeWaitsForItsLogAndThenGoesOn(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a := w.Worker("01WORKERA")
	bearer := w.Pools.Bearer(a).Text
	r := w.Task(w.Stack("web", nil), true)
	ref := w.Ref(r)
	start := w.Start(a, ref, run.Write, run.PhasePerform, "c")
	outcome := wire.Outcome{Session: 1, Container: "c", Class: run.Write, Result: wire.ResultOK, Logs: wire.LogUpdate{
		Closes: []wire.LogClose{{StateVersion: start.StateVersion, Bytes: 12}},
	}}
	ask := func() (d wire.Decision) {
		t.Helper()
		status, problem, body := w.call("POST", wire.AttemptPath(ref.Run, ref.Attempt, wire.VerbOutcome), bearer, outcome, nil)
		if err := json.Unmarshal(body, &d); err != nil || status != http.StatusOK {
			t.Fatalf("the outcome is answered %d %s", status, problem.Message)
		}
		return d
	}
	if d := ask(); !d.Wait {
		t.Fatalf("an outcome without its log is answered %+v", d)
	}
	w.WantState(r.ID, run.Performing)
	w.Clock.Advance(11 * time.Second)
	if d := ask(); d.Wait || d.Next != wire.NextDone {
		t.Fatalf("after 11 s it is answered %+v", d)
	}
	if got := w.WantState(r.ID, run.Finished); !strings.Contains(got.Reason, "12 bytes of the log are to come") {
		t.Errorf("the note is %q", got.Reason)
	}
}

func TestARefusalOfAJobThatHadNoLogIsDecidedAtOnce(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a := w.Worker("01WORKERA")
	bearer := w.Pools.Bearer(a).Text
	r := w.Task(w.Stack("web", nil), true)
	ref := w.Ref(r)
	w.Accept(a, ref, run.Write)
	outcome := wire.Outcome{Session: 1, Class: run.Write, Result: wire.ResultRefused, ExitCode: -1, Reason: "the header is forged", NoLog: true}
	status, problem, body := w.call("POST", wire.AttemptPath(ref.Run, ref.Attempt, wire.VerbOutcome), bearer, outcome, nil)
	var d wire.Decision
	if err := json.Unmarshal(body, &d); err != nil || status != http.StatusOK {
		t.Fatalf("the outcome is answered %d %s", status, problem.Message)
	}
	if d.Wait || d.Next != wire.NextDone {
		t.Fatalf("it is answered %+v", d)
	}
	if got := w.WantState(r.ID, run.Failed); got.Reason != "the header is forged" {
		t.Errorf("the reason is %q", got.Reason)
	}
}

func TestBodiesAreLimited(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a := w.Worker("01WORKERA")
	big := []byte(`{"unwell":"` + strings.Repeat("x", 2<<20) + `"}`)
	if status, problem, _ := w.call("POST", wire.PathOrders, w.Pools.Bearer(a).Text, big, nil); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a huge body is answered %d %s", status, problem.Code)
	}
	if status, _, _ := w.call("POST", wire.PathOrders, w.Pools.Bearer(a).Text, []byte("{"), nil); status != http.StatusBadRequest {
		t.Errorf("half a body is answered %d", status)
	}
}
