package wire

import (
	"strconv"

	"github.com/spaceport-iac/spaceport/internal/run"
)

// Version is the protocol's. The mothership serves its own and the one before.
const Version = 1

// Paths of the worker API.
const (
	PathNonce      = "/worker/v1/nonce"      // POST → NonceAnswer
	PathRegister   = "/worker/v1/register"   // POST RegisterRequest → RegisterAnswer
	PathRenew      = "/worker/v1/renew"      // POST → RegisterAnswer: fresh certificate, bearer and bundle, same session
	PathOrders     = "/worker/v1/orders"     // POST OrdersRequest → Orders
	PathDeregister = "/worker/v1/deregister" // POST DeregisterRequest → Done
)

// Verbs below a run's attempt: /worker/v1/runs/<run>/attempts/<n>/<verb>.
const (
	VerbAccept   = "accept"   // POST AcceptRequest → JobAnswer; the claim
	VerbJob      = "job"      // POST AcceptRequest → JobAnswer; again, for a newer session
	VerbStarting = "starting" // POST StartingRequest → StartingAnswer
	VerbBeat     = "beat"     // POST BeatRequest → BeatAnswer
	VerbReport   = "report"   // POST ReportRequest → ReportAnswer; a phase began
	VerbLogs     = "logs"     // POST LogsRequest → LogsAnswer
	VerbOutcome  = "outcome"  // POST Outcome → Decision; a container ended
	VerbParked   = "parked"   // POST ParkedRequest → Decision
	VerbGone     = "gone"     // POST GoneRequest → Decision; the container is no more
	VerbState    = "state"    // GET → state bytes and Header*; PUT to state/<write id> → StateAnswer
	VerbLock     = "lock"     // PUT LockRequest, DELETE → Done
)

// Headers of the state calls. Bytes travel as base64 (standard alphabet).
const (
	HeaderSequence  = "Spaceport-Sequence"  // of the state in the body; on PUT: of the state it replaces (the base), 0 for none
	HeaderDigest    = "Spaceport-Digest"    // sha256:<hex> of the body
	HeaderStatement = "Spaceport-Statement" // sealed mode: exact bytes
	HeaderSignature = "Spaceport-Signature"
	HeaderMode      = "Spaceport-State-Mode" // managed | sealed
)

// AttemptPath returns the path of a verb below a run's attempt.
func AttemptPath(runID string, attempt int64, verb string) string {
	return "/worker/v1/runs/" + runID + "/attempts/" + strconv.FormatInt(attempt, 10) + "/" + verb
}

// Problem is the body of every answer that is not 2xx. Code and Message are
// those of the fault.
type Problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Done is an answer with nothing to say.
type Done struct{}

// NonceAnswer carries a nonce that may be used once.
type NonceAnswer struct {
	Nonce       string `json:"nonce"`
	ExpiresInMs int64  `json:"expires_in_ms"`
}

// RegisterRequest carries the registration, a JWS by the pool key.
type RegisterRequest struct {
	Registration string `json:"registration"`
}

// RegisterAnswer is what a registered worker works with.
type RegisterAnswer struct {
	Worker      string `json:"worker"`
	Pool        string `json:"pool"`
	Session     int64  `json:"session"`
	Certificate string `json:"certificate"` // PEM chain, MQTT client certificate of the worker's key
	Bearer      string `json:"bearer"`
	BearerForMs int64  `json:"bearer_for_ms"`
	Bundle      []byte `json:"bundle"` // exact bytes, signed by the root
	BundleSig   []byte `json:"bundle_signature"`
	Namespace   string `json:"namespace"` // of the MQTT topics
	PresenceMs  int64  `json:"presence_ms"`
}

// AttemptRef names an attempt.
type AttemptRef struct {
	Run     string `json:"run"`
	Attempt int64  `json:"attempt"`
}

// OrdersRequest asks what the launcher should be doing.
type OrdersRequest struct {
	Session int64       `json:"session"`
	Hints   bool        `json:"hints"`            // a live hint channel stands
	Busy    *AttemptRef `json:"busy,omitempty"`   // what it holds
	Leaving bool        `json:"leaving"`          // takes no new run: shutting down
	Unwell  string      `json:"unwell,omitempty"` // why it can take no run, empty if it can
	// Nonce says that the launcher accepts what it is assigned in the answer to
	// this very request, and wants its job with it.
	Nonce string `json:"nonce,omitempty"`
}

// Orders is the desired state of a launcher. Repeating it changes nothing.
type Orders struct {
	Drain      bool        `json:"drain"`
	Cycle      bool        `json:"cycle"` // leave the process once idle
	Assignment *Assignment `json:"assignment,omitempty"`
	Stop       *Stop       `json:"stop,omitempty"`
	AskAgainMs int64       `json:"ask_again_ms"`     // give or take a tenth, so that launchers do not ask in step; sooner on a hint
	Bearer     string      `json:"bearer,omitempty"` // a fresh one, when the old is half over
	BearerFor  int64       `json:"bearer_for_ms,omitempty"`
	// Job is that of the assignment, which the request's nonce accepted. An answer
	// that is lost leaves an accepted attempt whose job is asked for.
	Job *JobAnswer `json:"job,omitempty"`
}

// Assignment is the attempt that the mothership believes to be this worker's.
type Assignment struct {
	AttemptRef
	Class          run.Class `json:"class"`
	Accepted       bool      `json:"accepted"`
	Container      string    `json:"container,omitempty"` // set once its start is recorded
	AcceptWithinMs int64     `json:"accept_within_ms"`
}

// Stop asks that the attempt's container ends.
type Stop struct {
	AttemptRef
	Kill   bool   `json:"kill"` // at once, else interrupt and grace
	Reason string `json:"reason"`
}

// DeregisterRequest says that the launcher leaves for good.
type DeregisterRequest struct {
	Session int64 `json:"session"`
}

// AcceptRequest claims an attempt, or fetches its job again.
type AcceptRequest struct {
	Session int64     `json:"session"`
	Nonce   string    `json:"nonce"` // comes back in the signed header
	Class   run.Class `json:"class"`
}

// JobAnswer is a job, sealed to the worker's session, and who vouches for it.
type JobAnswer struct {
	Header    []byte `json:"header"` // exact bytes of seal.JobHeader
	Signature []byte `json:"signature"`
	Job       []byte `json:"job"` // age ciphertext
}

// Terms are the durations of a lease. Only durations travel, no clock times.
type Terms struct {
	BeatMs      int64 `json:"beat_ms"`      // between beats
	AckWithinMs int64 `json:"ack_ms"`       // a later acknowledgement counts for nothing
	FenceMs     int64 `json:"fence_ms"`     // without contact, then interrupt
	GraceMs     int64 `json:"grace_ms"`     // after the interrupt, then kill
	SlackMs     int64 `json:"slack_ms"`     // what PID 1 adds to FenceMs
	RetryCapMs  int64 `json:"retry_cap_ms"` // the longest pause between tries while a run is live
}

// Commit is the source that a run executes.
type Commit struct {
	SHA       string `json:"sha"`
	Author    string `json:"author,omitempty"`
	Message   string `json:"message,omitempty"`
	Timestamp int64  `json:"timestamp,omitempty"` // unix seconds
}

// StartingRequest says that a container is about to be given its job. It may be
// repeated for the same container.
type StartingRequest struct {
	Session   int64     `json:"session"`
	Container string    `json:"container"`
	Class     run.Class `json:"class"`
	Phase     run.Phase `json:"phase"`
	Commit    *Commit   `json:"commit,omitempty"` // where the launcher resolved it
	Logs      LogUpdate `json:"logs"`             // of the preparing state
	// TimeoutMs is the run timeout that the launcher keeps for this container. The
	// mothership's own hard limit is counted from it; without it, from 70 min.
	TimeoutMs int64 `json:"timeout_ms,omitempty"`
}

// StartingAnswer allows the release.
type StartingAnswer struct {
	State        run.State `json:"state"`
	StateVersion int       `json:"state_version"`
	Terms        Terms     `json:"terms"`
	URLs         []LogURL  `json:"urls"`
	Bearer       string    `json:"bearer"` // for this attempt alone
	BearerForMs  int64     `json:"bearer_for_ms"`
}

// BeatRequest is a sign of life. Beat counts up from 1 in each attempt.
type BeatRequest struct {
	Beat int64     `json:"beat"`
	Logs LogUpdate `json:"logs"`
}

// BeatAnswer acknowledges a beat once its batch has been committed.
type BeatAnswer struct {
	Beat        int64    `json:"beat"`
	Stop        *Stop    `json:"stop,omitempty"`
	Drain       bool     `json:"drain"`
	Watched     bool     `json:"watched"` // somebody reads the log: ship it at once
	URLs        []LogURL `json:"urls,omitempty"`
	Bearer      string   `json:"bearer,omitempty"`
	BearerForMs int64    `json:"bearer_for_ms,omitempty"`
}

// ReportRequest says that a phase began in the attempt's container.
type ReportRequest struct {
	Container string    `json:"container"`
	Phase     run.Phase `json:"phase"`
	Logs      LogUpdate `json:"logs"`
}

// ReportAnswer names the state version that the phase's log belongs to.
type ReportAnswer struct {
	State        run.State `json:"state"`
	StateVersion int       `json:"state_version"`
	URLs         []LogURL  `json:"urls"`
	Stop         *Stop     `json:"stop,omitempty"`
}
