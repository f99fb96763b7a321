package launchertest

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func (m *Mothership) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.PathNonce, m.plain(func(*http.Request, []byte) (any, error) {
		n := rand.Text()
		m.nonces[n] = true
		return wire.NonceAnswer{Nonce: n, ExpiresInMs: 120_000}, nil
	}))
	mux.HandleFunc("POST "+wire.PathRegister, m.plain(m.register))
	mux.HandleFunc("POST "+wire.PathOrders, m.plain(m.orders))
	mux.HandleFunc("POST "+wire.PathDeregister, m.plain(func(r *http.Request, _ []byte) (any, error) {
		w, err := m.worker(r)
		if err == nil {
			w.Gone = true
		}
		return wire.Done{}, err
	}))
	mux.HandleFunc("/worker/v1/runs/{run}/attempts/{attempt}/{verb}", m.plain(m.attempt))
	mux.HandleFunc("GET /worker/v1/runs/{run}/attempts/{attempt}/state", m.getState)
	mux.HandleFunc("PUT /worker/v1/runs/{run}/attempts/{attempt}/state/{write}", m.plain(m.putState))
	mux.HandleFunc("/objects/{key...}", m.object)
	return mux
}

func (m *Mothership) object(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if m.refused(w, r) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := r.PathValue("key")
	if r.Method == http.MethodPut {
		m.objects[key] = body
		return
	}
	if data, ok := m.objects[key]; ok {
		_, _ = w.Write(data)
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

func (m *Mothership) refused(w http.ResponseWriter, r *http.Request) bool {
	m.mu.Lock()
	before := m.Before
	m.mu.Unlock()
	if before == nil {
		return false
	}
	status := before(r)
	if status != 0 {
		w.WriteHeader(status)
	}
	return status != 0
}

func (m *Mothership) plain(f func(r *http.Request, body []byte) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body)) // for the hook
		if m.refused(w, r) {
			return
		}
		m.mu.Lock()
		out, err := f(r, body)
		after := m.After
		m.mu.Unlock()
		if after != nil {
			if status := after(r); status != 0 {
				w.WriteHeader(status)
				return
			}
		}
		if err != nil {
			f := fault.Public(err)
			status := map[fault.Code]int{fault.Unauthenticated: 401, fault.Forbidden: 403, fault.NotFound: 404, fault.Conflict: 409, fault.Stale: 409, fault.Invalid: 400}[f.Kind]
			if status == 0 {
				status = 500
			}
			w.WriteHeader(status)
			out = wire.Problem{Code: string(f.Code), Message: f.Message}
		}
		_ = json.NewEncoder(w).Encode(out)
	}
}

func (m *Mothership) register(_ *http.Request, body []byte) (any, error) {
	var req wire.RegisterRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, err
	}
	c, err := seal.ParseRegistration(req.Registration, m.Token.PoolCertificate())
	if err != nil {
		return nil, err
	}
	if !m.nonces[c.Nonce] {
		return nil, fault.New(fault.Invalid, "the nonce is not known").Named("registration_nonce")
	}
	delete(m.nonces, c.Nonce)
	if err := c.Check(m.Token.Origin, m.Token.Pool, c.Nonce); err != nil {
		return nil, err
	}
	w := m.workers[c.Worker]
	if w == nil {
		w = &Worker{ID: fmt.Sprintf("01HWORKER%017d", len(m.workers)+1)}
		m.workers[c.Worker] = w
	}
	if c.Session < w.Session || (c.Session == w.Session && c.Recipient != w.Recipient) {
		return nil, fault.New(fault.Conflict, "session %d is not newer", c.Session).Named("session_superseded")
	}
	w.Session, w.Recipient, w.Gone, w.Metadata, w.Keys = c.Session, c.Recipient, false, c.Metadata, c.Keys
	pub, err := c.WorkerKey()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: w.ID, OrganizationalUnit: []string{c.Pool}},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
	}, m.rootCert, pub, m.root)
	if err != nil {
		return nil, err
	}
	signed, err := seal.SignBundle(m.root, seal.Bundle{
		V: seal.BundleVersion, Origin: m.Token.Origin, Issued: time.Now().Unix(), JobKeys: [][]byte{m.JobKey[32:]},
		APIEndpoint: m.at.API, BrokerEndpoint: m.at.Broker, ObjectOrigins: []string{m.at.Objects},
	})
	if err != nil {
		return nil, err
	}
	return wire.RegisterAnswer{
		Worker: w.ID, Pool: c.Pool, Session: w.Session, Bearer: fmt.Sprintf("%s %d", w.ID, w.Session), BearerForMs: 600_000,
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), Bundle: signed.Bytes, BundleSig: signed.Signature,
		Namespace: "spaceport", PresenceMs: 20_000,
	}, nil
}

func (m *Mothership) worker(r *http.Request) (*Worker, error) {
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	for _, w := range m.workers {
		if bearer == fmt.Sprintf("%s %d", w.ID, w.Session) || bearer == w.ID+" attempt" {
			return w, nil
		}
		if strings.HasPrefix(bearer, w.ID+" ") {
			return nil, fault.New(fault.Stale, "a newer session has registered").Named("session")
		}
	}
	return nil, fault.New(fault.Unauthenticated, "the bearer is not known")
}

func (m *Mothership) orders(r *http.Request, body []byte) (any, error) {
	w, err := m.worker(r)
	if err != nil {
		return nil, err
	}
	var req wire.OrdersRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, err
	}
	w.Leaving, w.Unwell = req.Leaving, req.Unwell
	o := wire.Orders{AskAgainMs: 20, Cycle: w.Cycle}
	var mine *Run
	for _, x := range m.runs {
		if x.Worker == w.ID && !x.Over {
			mine = x
		}
	}
	if mine == nil && req.Busy == nil && !req.Leaving && req.Unwell == "" {
		for _, x := range m.runs {
			if x.Worker == "" && !x.Over {
				x.Worker, mine = w.ID, x
				break
			}
		}
	}
	if mine != nil {
		o.Assignment = &wire.Assignment{AttemptRef: mine.Ref, Class: mine.Class, Accepted: mine.Accepted, Container: mine.Container, AcceptWithinMs: 3000}
		o.Stop = mine.Stop
	}
	if m.Prompt && mine != nil && !mine.Accepted && req.Nonce != "" {
		mine.Accepted, o.Assignment.Accepted = true, true
		job, err := m.job(mine, w, req.Nonce)
		if err != nil {
			return nil, err
		}
		o.Job = job
	}
	if req.Busy != nil && (mine == nil || mine.Ref != *req.Busy) {
		o.Stop = &wire.Stop{AttemptRef: *req.Busy, Reason: "the attempt is over"}
	}
	return o, nil
}

func (m *Mothership) find(r *http.Request) (*Run, *Worker, error) {
	w, err := m.worker(r)
	if err != nil {
		return nil, nil, err
	}
	n, _ := strconv.ParseInt(r.PathValue("attempt"), 10, 64)
	for _, x := range m.runs {
		if x.Ref == (wire.AttemptRef{Run: r.PathValue("run"), Attempt: n}) && x.Worker == w.ID {
			return x, w, nil
		}
	}
	return nil, nil, fault.New(fault.Stale, "the attempt is not this worker's")
}

func (m *Mothership) attempt(r *http.Request, body []byte) (any, error) {
	x, w, err := m.find(r)
	if err != nil {
		return nil, err
	}
	verb := r.PathValue("verb")
	if x.Over && verb != wire.VerbLogs && verb != wire.VerbGone {
		return nil, fault.New(fault.Stale, "the attempt is over")
	}
	switch verb {
	case wire.VerbAccept, wire.VerbJob:
		var req wire.AcceptRequest
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, err
		}
		x.Accepted = true
		return m.job(x, w, req.Nonce)
	case wire.VerbStarting:
		var req wire.StartingRequest
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, err
		}
		m.apply(x, req.Logs)
		if x.Stop != nil {
			return nil, fault.New(fault.Conflict, "it is to stop").Named("stopped")
		}
		return m.started(x, w, req.Container, req.Phase), nil
	case wire.VerbBeat:
		var req wire.BeatRequest
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, err
		}
		m.apply(x, req.Logs)
		x.Beats = append(x.Beats, req.Beat)
		return wire.BeatAnswer{Beat: req.Beat, Stop: x.Stop, URLs: m.wanted(x, req.Logs)}, nil
	case wire.VerbReport:
		var req wire.ReportRequest
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, err
		}
		m.apply(x, req.Logs)
		x.Version++
		x.Phases = append(x.Phases, req.Phase)
		return wire.ReportAnswer{State: req.Phase.State(), StateVersion: x.Version, URLs: m.urls(x, x.Version, 0, 4)}, nil
	case wire.VerbLogs:
		var req wire.LogsRequest
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, err
		}
		m.apply(x, req.Logs)
		a := wire.LogsAnswer{Committed: map[int]int64{}, URLs: m.wanted(x, req.Logs)}
		for v, text := range x.Text {
			a.Committed[v] = int64(len(text))
		}
		return a, nil
	case wire.VerbOutcome:
		return m.outcome(x, w, body)
	case wire.VerbParked:
		var req wire.ParkedRequest
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, err
		}
		x.Parked, x.Over = &req, true
		return wire.Decision{Next: wire.NextDone, State: run.Unconfirmed}, nil
	case wire.VerbGone:
		var req wire.GoneRequest
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, err
		}
		x.Gone, x.Over = append(x.Gone, req), true
		return wire.Decision{Next: wire.NextDone}, nil
	case wire.VerbLock:
		st := m.State(x.Job.Stack.ID)
		var req wire.LockRequest
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, err
		}
		if r.Method == http.MethodDelete {
			st.Lock = ""
			return wire.Done{}, nil
		}
		if st.Lock != "" && st.Lock != req.ID {
			return nil, fault.New(fault.Conflict, "the state is locked with %s", st.Lock).Named("tool_locked")
		}
		st.Lock = req.ID
		return wire.Done{}, nil
	}
	return nil, fault.New(fault.NotFound, "no verb %s", verb)
}

func (m *Mothership) job(x *Run, w *Worker, nonce string) (*wire.JobAnswer, error) {
	j := x.Job
	j.V, j.Origin, j.Pool, j.Worker, j.Session = 1, m.Token.Origin, m.Token.Pool, w.ID, w.Session
	j.Attempt, j.Class, j.StateVersion = x.Ref.Attempt, x.Class, x.Version
	j.LogURLs = m.urls(x, x.Version, 0, 4)
	plain, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	recipient, err := age.ParseX25519Recipient(w.Recipient)
	if err != nil {
		return nil, err
	}
	var sealed bytes.Buffer
	out, err := age.Encrypt(&sealed, recipient)
	if err != nil {
		return nil, err
	}
	_, _ = out.Write(plain)
	if err := out.Close(); err != nil {
		return nil, err
	}
	h := seal.JobHeader{
		Origin: m.Token.Origin, Pool: m.Token.Pool, Worker: w.ID, Session: w.Session, Nonce: nonce, Run: x.Ref.Run, Attempt: x.Ref.Attempt,
		Class: string(x.Class), Job: seal.Digest(sealed.Bytes()), Size: int64(sealed.Len()),
	}
	if m.Header != nil {
		m.Header(&h)
	}
	header, err := h.Marshal()
	if err != nil {
		return nil, err
	}
	signature, err := seal.SignJob(m.JobKey, header)
	if err != nil {
		return nil, err
	}
	a := &wire.JobAnswer{Header: header, Signature: signature, Job: sealed.Bytes()}
	if m.Answer != nil {
		m.Answer(a)
	}
	return a, nil
}

func (m *Mothership) started(x *Run, w *Worker, container string, phase run.Phase) *wire.StartingAnswer {
	if x.Container != container {
		x.Container = container
		x.Version++
		x.Phases = append(x.Phases, phase)
	}
	return &wire.StartingAnswer{
		State: phase.State(), StateVersion: x.Version, Terms: m.Terms, URLs: m.urls(x, x.Version, 0, 4), Bearer: w.ID + " attempt", BearerForMs: 600_000,
	}
}

func (m *Mothership) outcome(x *Run, w *Worker, body []byte) (any, error) {
	var o wire.Outcome
	if err := json.Unmarshal(body, &o); err != nil {
		return nil, err
	}
	m.apply(x, o.Logs)
	if o.Container != x.Container || o.Class != x.Class {
		return nil, fault.New(fault.Conflict, "the attempt is in container %q of class %s, not in %q of class %s", x.Container, x.Class, o.Container, o.Class)
	}
	if c, closed := x.Closes[x.Version]; (!closed && !o.NoLog) || int64(len(x.Text[x.Version]))+c.Lost < c.Bytes {
		return wire.Decision{Wait: true}, nil
	}
	x.Outcomes = append(x.Outcomes, o)
	if o.Result == wire.ResultOK && o.NextContainer != "" && (o.Plan == nil || o.Plan.Changed) {
		if x.Park {
			return wire.Decision{Next: wire.NextPark, Park: &wire.ParkOrder{
				Sequence: 1, Previous: "none", UploadURL: m.at.Objects + "/objects/parked/" + x.Ref.Run, Blob: "parked/" + x.Ref.Run,
			}}, nil
		}
		x.Class = run.Write
		next := run.Share(run.Phases(x.Job.Type, x.Job.SkipInit), run.Write)[0]
		start := m.started(x, w, o.NextContainer, next)
		job, err := m.job(x, w, o.Nonce)
		return wire.Decision{Next: wire.NextJob, Job: job, Go: start, StateVersion: x.Version}, err
	}
	x.Over = true
	return wire.Decision{Next: wire.NextDone}, nil
}
