package client

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// MaxState is the largest state that is fetched, in bytes.
const MaxState = 256 << 20

func jsonBytes(v any) ([]byte, error) { return json.Marshal(v) }

// Attempt calls about one attempt.
type Attempt struct {
	c        *Client
	ref      wire.AttemptRef
	bearer   *Bearer
	pauseCap time.Duration
}

// Attempt returns the calls of one attempt, proved by a bearer. Pauses between
// tries stay below pauseCap (the default cap if 0).
func (c *Client) Attempt(ref wire.AttemptRef, bearer *Bearer, pauseCap time.Duration) *Attempt {
	if pauseCap <= 0 {
		pauseCap = DefaultPauseCap
	}
	return &Attempt{c: c, ref: ref, bearer: bearer, pauseCap: pauseCap}
}

func (a *Attempt) path(verb string) string {
	return wire.AttemptPath(a.ref.Run, a.ref.Attempt, verb)
}

func (a *Attempt) post(ctx context.Context, verb string, in, out any) error {
	return a.c.post(ctx, a.path(verb), a.bearer.Value, a.pauseCap, in, out)
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
	err = a.c.json(ctx, call{method: "POST", url: a.c.base + a.path(wire.VerbBeat), bearer: a.bearer.Value, timeout: within, once: true}, data, &out)
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
	body, header, err := a.c.do(ctx, call{
		method: http.MethodGet, url: a.c.base + a.path(wire.VerbState), bearer: a.bearer.Value,
		timeout: blobTimeout, pauseCap: a.pauseCap,
	}, MaxState)
	if err != nil {
		return State{}, err
	}
	s := State{Mode: header.Get(wire.HeaderMode), Digest: header.Get(wire.HeaderDigest), Body: body}
	if s.Sequence, err = strconv.ParseInt(header.Get(wire.HeaderSequence), 10, 64); err != nil && header.Get(wire.HeaderSequence) != "" {
		return State{}, fault.Wrap(err, fault.Invalid, "the state's sequence number cannot be read")
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
	answer, _, err := a.c.do(ctx, call{
		method: http.MethodPut, url: a.c.base + a.path(wire.VerbState) + "/" + url.PathEscape(writeID), bearer: a.bearer.Value,
		header: header, body: body, size: size, timeout: blobTimeout, pauseCap: a.pauseCap,
	}, maxAnswer)
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
	return a.c.json(ctx, call{method: http.MethodPut, url: a.c.base + a.path(wire.VerbLock), bearer: a.bearer.Value, timeout: callTimeout, pauseCap: a.pauseCap}, data, &wire.Done{})
}

// Unlock gives the lock back.
func (a *Attempt) Unlock(ctx context.Context) error {
	return a.c.json(ctx, call{method: http.MethodDelete, url: a.c.base + a.path(wire.VerbLock), bearer: a.bearer.Value, timeout: callTimeout, pauseCap: a.pauseCap}, nil, &wire.Done{})
}

// allowed refuses a signed address outside the bundle's origins: the mothership
// must not be able to send a launcher's bytes, or its requests, anywhere else.
func (c *Client) allowed(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil {
		return fault.New(fault.Invalid, "a signed address cannot be read").Named("object_origin")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.origins[origin(u)] {
		return fault.New(fault.Forbidden, "a signed address points to %s, which the mothership's signed bundle does not list", origin(u)).Named("object_origin")
	}
	return nil
}

// PutBlob uploads bytes to a signed address once.
func (c *Client) PutBlob(ctx context.Context, rawURL string, data []byte) error {
	if err := c.allowed(rawURL); err != nil {
		return err
	}
	_, _, err := c.do(ctx, call{
		method: http.MethodPut, url: rawURL, size: int64(len(data)), once: true, timeout: blobTimeout,
		body: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}, maxAnswer)
	return err
}

// PutFile uploads a file to a signed address, trying until it is stored.
func (c *Client) PutFile(ctx context.Context, rawURL string, f *os.File, size int64) error {
	if err := c.allowed(rawURL); err != nil {
		return err
	}
	_, _, err := c.do(ctx, call{
		method: http.MethodPut, url: rawURL, size: size, timeout: blobTimeout, pauseCap: DefaultPauseCap,
		body: func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(f, 0, size)), nil },
	}, maxAnswer)
	return err
}

// GetFile downloads a signed address into f, which it empties first, trying
// until it is whole. More than size bytes are refused.
func (c *Client) GetFile(ctx context.Context, rawURL string, f *os.File, size int64) error {
	if err := c.allowed(rawURL); err != nil {
		return err
	}
	pause := firstPause
	for {
		err := c.getFile(ctx, rawURL, f, size)
		if err == nil || !again(err) || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		pause = min(2*pause, DefaultPauseCap)
	}
}

func (c *Client) getFile(ctx context.Context, rawURL string, f *os.File, size int64) error {
	ctx, cancel := context.WithTimeout(ctx, blobTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "a signed address cannot be read")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return unreachable(req.URL, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		return refusal(req.URL, resp.StatusCode, body)
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(resp.Body, size+1))
	var perr *os.PathError
	switch {
	case errors.As(err, &perr):
		return err
	case err != nil:
		return unreachable(req.URL, err)
	case n > size:
		return fault.New(fault.Invalid, "a blob is longer than the %d bytes that were announced", size).Named("blob_size")
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}
