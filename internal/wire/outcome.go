package wire

import (
	"encoding/json"

	"github.com/spaceport-iac/spaceport/internal/run"
)

// Result says how a container ended.
type Result string

// The results.
const (
	ResultOK      Result = "ok"
	ResultFailed  Result = "failed"  // a command, hook or check failed
	ResultStopped Result = "stopped" // as a Stop order asked
	ResultTimeout Result = "timeout" // total or silence
	ResultRefused Result = "refused" // the launcher would not: policy, seal, source
	ResultFenced  Result = "fenced"  // without contact for too long
	ResultDied    Result = "died"    // the container went away without a result
)

// Outcome is the end of an attempt's container.
type Outcome struct {
	Session   int64     `json:"session"`
	Container string    `json:"container,omitempty"` // empty if it never came to one
	Class     run.Class `json:"class"`
	Phase     run.Phase `json:"phase,omitempty"` // the last that began
	Result    Result    `json:"result"`
	ExitCode  int       `json:"exit_code"`
	Reason    string    `json:"reason,omitempty"` // one sentence for people, masked
	// Plan is set after a plan that succeeded.
	Plan *Plan `json:"plan,omitempty"`
	// Outputs are those after a write that succeeded.
	Outputs     []Output `json:"outputs,omitempty"`
	HaveOutputs bool     `json:"have_outputs"`
	// Core is the digest of the job core, for the record of the parked run.
	Core string    `json:"core,omitempty"`
	Logs LogUpdate `json:"logs"`
	// NoLog: the job was refused before it had a log, so there is none to wait for.
	NoLog bool `json:"no_log,omitempty"`
	// NextContainer and Nonce are for the job that may follow at once.
	NextContainer string `json:"next_container,omitempty"`
	Nonce         string `json:"nonce,omitempty"`
}

// Plan is what a plan would change.
type Plan struct {
	Changes []Change `json:"changes"`
	Delta   Delta    `json:"delta"`
	// Changed is false when an apply would do nothing.
	Changed bool `json:"changed"`
}

// Delta counts changed resources and outputs.
type Delta struct {
	Added     int `json:"added"`
	Changed   int `json:"changed"`
	Deleted   int `json:"deleted"`
	Resources int `json:"resources"` // in all, after the plan
}

// Change is one entry of the change list. In sealed mode it has no values.
type Change struct {
	Address string          `json:"address"`
	Action  string          `json:"action"` // added | changed | deleted | replaced | moved | imported | forgotten | read
	Entity  string          `json:"entity"` // resource | output
	Type    string          `json:"type,omitempty"`
	Name    string          `json:"name,omitempty"`
	Before  json.RawMessage `json:"before,omitempty"` // sanitised
	After   json.RawMessage `json:"after,omitempty"`
}

// Output is one output of the stack. Sensitive ones carry no value.
type Output struct {
	Name      string          `json:"name"`
	Type      json.RawMessage `json:"type,omitempty"`
	Value     json.RawMessage `json:"value,omitempty"`
	Sensitive bool            `json:"sensitive"`
}

// Next is what the launcher does after a container ended.
type Next string

// What may come next.
const (
	NextDone Next = "done" // the attempt is over: clean up
	NextPark Next = "park" // seal and upload the workspace, then call parked
	NextJob  Next = "job"  // release the next job into NextContainer
)

// Decision answers an Outcome.
type Decision struct {
	Next         Next      `json:"next"`
	State        run.State `json:"state"`
	StateVersion int       `json:"state_version"`
	// Wait means that the log is not complete yet: send the rest, ask again.
	Wait bool            `json:"wait,omitempty"`
	Park *ParkOrder      `json:"park,omitempty"`
	Job  *JobAnswer      `json:"job,omitempty"`
	Go   *StartingAnswer `json:"go,omitempty"` // with Next=job: its recorded start
}

// ParkOrder has what a workspace's statement says and the launcher cannot know.
type ParkOrder struct {
	Sequence  int64  `json:"sequence"`
	Previous  string `json:"previous"` // digest of the statement before, or "none"
	UploadURL string `json:"upload_url"`
	Blob      string `json:"blob"` // names the uploaded object in ParkedRequest
}

// ParkedRequest says that the sealed workspace has been uploaded.
type ParkedRequest struct {
	Session    int64  `json:"session"`
	Blob       string `json:"blob"`
	Statement  []byte `json:"statement"`
	Signature  []byte `json:"signature"`
	Ciphertext string `json:"ciphertext"` // sha256:<hex>
	Size       int64  `json:"size"`
}

// GoneRequest says that the attempt's container does not exist any more.
type GoneRequest struct {
	Session   int64  `json:"session"`
	Container string `json:"container,omitempty"`
	// Delivered is set when every journalled state write has reached the mothership.
	Delivered bool      `json:"delivered"`
	Reason    string    `json:"reason"`
	Logs      LogUpdate `json:"logs"`
}

// StateAnswer says what became of a state write.
type StateAnswer struct {
	Sequence int64 `json:"sequence"`
	// Recovery is set when the write came with a stale attempt or base: it is
	// kept and shown on the run, but is not the current state.
	Recovery bool   `json:"recovery"`
	Reason   string `json:"reason,omitempty"`
}

// LockRequest asks for the tool's own lock.
type LockRequest struct {
	ID   string          `json:"id"`
	Info json.RawMessage `json:"info,omitempty"`
}
