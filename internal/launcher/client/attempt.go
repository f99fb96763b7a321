package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// maxBearers is how many bearers are tried for one call: the attempt's own, the
// session's, and one of a new registration.
const maxBearers = 3

// MaxState is the largest state that is fetched, in bytes.
const MaxState = 256 << 20

func jsonBytes(v any) ([]byte, error) { return json.Marshal(v) }

// AttemptOptions say how to call about an attempt.
type AttemptOptions struct {
	Ref wire.AttemptRef
	// Bearer returns what proves the attempt at this moment.
	Bearer func() string
	// PauseCap is the longest pause between tries; the default cap if 0.
	PauseCap time.Duration
	// Refused, if set, is called when the bearer is not accepted (any more). If
	// it returns nil, there is another one and the call is made again.
	Refused func(ctx context.Context) error
}

// Attempt calls about one attempt. It is safe for concurrent use.
type Attempt struct {
	c *Client
	o AttemptOptions
}

// Attempt returns the calls of one attempt.
func (c *Client) Attempt(o AttemptOptions) *Attempt {
	if o.PauseCap <= 0 {
		o.PauseCap = DefaultPauseCap
	}
	return &Attempt{c: c, o: o}
}

// proved makes a call, and makes it again with another bearer if the first one
// is no good.
func (a *Attempt) proved(ctx context.Context, call func() error) error {
	for tries := 1; ; tries++ {
		err := call()
		if err == nil || !fault.Is(err, fault.Unauthenticated) || a.o.Refused == nil || tries > maxBearers {
			return err
		}
		if rerr := a.o.Refused(ctx); rerr != nil {
			return err
		}
	}
}

func (a *Attempt) path(verb string) string {
	return wire.AttemptPath(a.o.Ref.Run, a.o.Ref.Attempt, verb)
}

func (a *Attempt) post(ctx context.Context, verb string, in, out any) error {
	return a.proved(ctx, func() error { return a.c.post(ctx, a.path(verb), a.o.Bearer, a.o.PauseCap, in, out) })
}

// Accept claims the attempt.
func (a *Attempt) Accept(ctx context.Context, in wire.AcceptRequest) (out wire.JobAnswer, err error) {
	err = a.post(ctx, wire.VerbAccept, in, &out)
	return out, err
}

// Job fetches the job again, for a newer session.
func (a *Attempt) Job(ctx context.Context, in wire.AcceptRequest) (out wire.JobAnswer, err error) {
	err = a.post(ctx, wire.VerbJob, in, &out)
	return out, err
}

// Starting says that a container is about to be given its job.
func (a *Attempt) Starting(ctx context.Context, in wire.StartingRequest) (out wire.StartingAnswer, err error) {
	err = a.post(ctx, wire.VerbStarting, in, &out)
	return out, err
}

// Beat is a sign of life. It tries once, within the time that an
// acknowledgement counts: the next beat is the next try.
func (a *Attempt) Beat(ctx context.Context, in wire.BeatRequest, within time.Duration) (out wire.BeatAnswer, err error) {
	data, err := jsonBytes(in)
	if err != nil {
		return out, err
	}
	err = a.c.json(ctx, call{method: "POST", url: a.c.base + a.path(wire.VerbBeat), bearer: a.o.Bearer, timeout: within, once: true}, data, &out)
	return out, err
}

// Report says that a phase began.
func (a *Attempt) Report(ctx context.Context, in wire.ReportRequest) (out wire.ReportAnswer, err error) {
	err = a.post(ctx, wire.VerbReport, in, &out)
	return out, err
}

// Logs commits log chunks.
func (a *Attempt) Logs(ctx context.Context, in wire.LogsRequest) (out wire.LogsAnswer, err error) {
	err = a.post(ctx, wire.VerbLogs, in, &out)
	return out, err
}

// Outcome tells how a container ended.
func (a *Attempt) Outcome(ctx context.Context, in wire.Outcome) (out wire.Decision, err error) {
	err = a.post(ctx, wire.VerbOutcome, in, &out)
	return out, err
}

// Parked says that the sealed workspace has been uploaded.
func (a *Attempt) Parked(ctx context.Context, in wire.ParkedRequest) (out wire.Decision, err error) {
	err = a.post(ctx, wire.VerbParked, in, &out)
	return out, err
}

// Gone says that the attempt's container is no more.
func (a *Attempt) Gone(ctx context.Context, in wire.GoneRequest) (out wire.Decision, err error) {
	err = a.post(ctx, wire.VerbGone, in, &out)
	return out, err
}

// State is a state as it is stored.
type State struct {
	Mode      string
	Sequence  int64 // 0: none
	Digest    string
	Body      []byte
	Statement []byte // sealed mode
	Signature []byte
}

// GetState fetches the stack's current state; Sequence 0 means that there is none.
func (a *Attempt) GetState(ctx context.Context) (State, error) {
	var body []byte
	var header http.Header
	err := a.proved(ctx, func() (err error) {
		body, header, err = a.c.do(ctx, call{
			method: http.MethodGet, url: a.c.base + a.path(wire.VerbState), bearer: a.o.Bearer,
			timeout: blobTimeout, pauseCap: a.o.PauseCap,
		}, MaxState)
		return err
	})
	if err != nil {
		return State{}, err
	}
	s := State{Mode: header.Get(wire.HeaderMode), Digest: header.Get(wire.HeaderDigest), Body: body}
	// Without this header there would seem to be no state, and a run would make
	// everything anew.
	if s.Sequence, err = strconv.ParseInt(header.Get(wire.HeaderSequence), 10, 64); err != nil {
		return State{}, fault.Wrap(err, fault.Invalid, "the mothership's answer about the state has no readable header %s", wire.HeaderSequence).
			WithHint("a proxy on the way must let it through")
	}
	s.Statement, err = base64.StdEncoding.DecodeString(header.Get(wire.HeaderStatement))
	if err == nil {
		s.Signature, err = base64.StdEncoding.DecodeString(header.Get(wire.HeaderSignature))
	}
	if err != nil {
		return State{}, fault.Wrap(err, fault.Invalid, "the state's statement cannot be read")
	}
	return s, nil
}

// PutState stores a state under its write id. s.Sequence is that of the state
// it replaces. body gives the same bytes at each try.
func (a *Attempt) PutState(ctx context.Context, writeID string, s State, body func() (io.ReadCloser, error), size int64) (out wire.StateAnswer, err error) {
	header := http.Header{}
	header.Set("Content-Type", "application/octet-stream")
	header.Set(wire.HeaderMode, s.Mode)
	header.Set(wire.HeaderSequence, strconv.FormatInt(s.Sequence, 10))
	header.Set(wire.HeaderDigest, s.Digest)
	if len(s.Statement) > 0 {
		header.Set(wire.HeaderStatement, base64.StdEncoding.EncodeToString(s.Statement))
		header.Set(wire.HeaderSignature, base64.StdEncoding.EncodeToString(s.Signature))
	}
	var answer []byte
	err = a.proved(ctx, func() (err error) {
		answer, _, err = a.c.do(ctx, call{
			method: http.MethodPut, url: a.c.base + a.path(wire.VerbState) + "/" + url.PathEscape(writeID), bearer: a.o.Bearer,
			header: header, body: body, size: size, timeout: blobTimeout, pauseCap: a.o.PauseCap,
		}, maxAnswer)
		return err
	})
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return out, fault.Wrap(err, fault.Invalid, "the mothership's answer to a state write cannot be read")
	}
	return out, nil
}

// Lock takes the stack's lock for the tool; Unlock gives it back.
func (a *Attempt) Lock(ctx context.Context, in wire.LockRequest) error {
	data, err := jsonBytes(in)
	if err != nil {
		return err
	}
	return a.proved(ctx, func() error {
		return a.c.json(ctx, call{method: http.MethodPut, url: a.c.base + a.path(wire.VerbLock), bearer: a.o.Bearer, timeout: callTimeout, pauseCap: a.o.PauseCap}, data, &wire.Done{})
	})
}

// Unlock gives the lock back.
func (a *Attempt) Unlock(ctx context.Context, in wire.LockRequest) error {
	data, err := jsonBytes(in)
	if err != nil {
		return err
	}
	return a.proved(ctx, func() error {
		return a.c.json(ctx, call{method: http.MethodDelete, url: a.c.base + a.path(wire.VerbLock), bearer: a.o.Bearer, timeout: callTimeout, pauseCap: a.o.PauseCap}, data, &wire.Done{})
	})
}
