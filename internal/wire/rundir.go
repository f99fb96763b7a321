package wire

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/spaceport-iac/spaceport/internal/run"
)

// Names in a run's directory. See contracts: private/ is the launcher's alone,
// in/ is read-only in the container, out/ and workspace/ are writable there.
const (
	DirPrivate   = "private"
	DirIn        = "in"
	DirOut       = "out"
	DirWorkspace = "workspace"

	InJob     = "job.json" // appears by rename: the release
	InTaken   = "taken"    // stands for job.json once the launcher has removed it
	InLease   = "lease"    // decimal number of the last acknowledged beat
	InStop    = "stop"     // "interrupt <reason>" or "kill <reason>"
	InAnswers = "answers"  // <id>.json, <id>.body
	InAcked   = "acked"    // decimal count of log payload bytes that the launcher has let go of
	InAlive   = "alive"    // changes while the launcher waits to release a job

	OutLog      = "log"           // <n>.log segments of frames
	OutEvents   = "events"        // frames of Event
	OutResult   = "result.json"   // RunResult
	OutRequests = "requests"      // <id>.json, <id>.body
	OutCarry    = "carry.json"    // Carry
	OutErrored  = "errored"       // errored.tfstate files, collected
	OutWorkflow = "workflow.json" // a custom vendor's commands, as the reading container found them
)

// Paths in the container, on every backend that can mount.
const (
	ContainerRoot      = "/spaceport"
	ContainerIn        = "/spaceport/in"
	ContainerOut       = "/spaceport/out"
	ContainerTools     = "/spaceport/tools"
	ContainerBinary    = "/spaceport/bin/spacelift-launcher"
	ContainerWorkspace = "/mnt/workspace"
	// SourceDir is the clone, below the workspace.
	SourceDir = "source"
)

// MaxFrame is the largest payload of a frame, in bytes.
const MaxFrame = 1 << 20

// WorkerJob is in/job.json: all that PID 1 has to know.
type WorkerJob struct {
	V         int       `json:"v"`
	Run       string    `json:"run"`
	Attempt   int64     `json:"attempt"`
	Container string    `json:"container"`
	Class     run.Class `json:"class"`

	Phases   []WorkerPhase `json:"phases"`
	AfterRun []string      `json:"after_run,omitempty"`
	// Final is set when after_run is to run in this container if it ends well:
	// nothing of this run comes after it unless the plan has changes.
	RunType run.Type `json:"run_type"`
	Command string   `json:"command,omitempty"`
	Targets []string `json:"targets,omitempty"`
	Final   bool     `json:"final,omitempty"`

	Vendor Vendor `json:"vendor"`
	// Workflow holds a custom vendor's commands by key. A container after a pause
	// gets them here, since a reading one could have rewritten the file; without
	// it the worker reads the repository's file.
	Workflow map[string]string `json:"workflow,omitempty"`
	// Tool is the container path of the tool's binary, or empty: take it from PATH.
	Tool string `json:"tool,omitempty"`
	// WorkspaceRoot is where workspace/ is seen; ProjectRoot is below its source/.
	WorkspaceRoot string `json:"workspace_root"`
	ProjectRoot   string `json:"project_root"`

	Environment []Variable `json:"environment"`
	// RootCAs are certificates in PEM that the run believes beside its image's.
	RootCAs string `json:"root_cas,omitempty"`
	// Unset are names that a hook of an earlier container removed.
	Unset []string `json:"unset,omitempty"`
	Masks []string `json:"masks"`
	// MaskWellKnown also hides what looks like a credential of a well-known kind.
	MaskWellKnown bool `json:"mask_well_known,omitempty"`
	Debug         bool `json:"debug,omitempty"`

	StateMode string `json:"state_mode"`
	// StateExists is whether there is a state to get.
	StateExists bool `json:"state_exists"`

	FenceMs   int64 `json:"fence_ms"` // without a new lease number, slack included
	GraceMs   int64 `json:"grace_ms"` // between interrupt and kill
	TimeoutMs int64 `json:"timeout_ms"`
	SilenceMs int64 `json:"silence_ms"`

	// UnackedLogBytes stops the reading of the tool's output while more bytes
	// than this are not acknowledged; LogBytes caps the log of this container.
	// Zero means the worker's defaults.
	UnackedLogBytes int64 `json:"unacked_log_bytes,omitempty"`
	LogBytes        int64 `json:"log_bytes,omitempty"`
}

// WorkerPhase is a phase with its hooks.
type WorkerPhase struct {
	Phase  run.Phase `json:"phase"`
	Before []string  `json:"before,omitempty"`
	After  []string  `json:"after,omitempty"`
}

// Event types.
const (
	EventRead          = "read"           // the job was read; in/job.json may go
	EventPhaseStarted  = "phase_started"  // Phase; LogOffset
	EventPhaseFinished = "phase_finished" // Phase, ExitCode
	EventMask          = "mask"           // Value: a mask learned from ::add-mask
	EventMessage       = "message"        // Value: a line of the worker's own
)

// Event is a record of out/events.
type Event struct {
	Seq      int64     `json:"seq"`
	Type     string    `json:"type"`
	Phase    run.Phase `json:"phase,omitempty"`
	ExitCode int       `json:"exit_code,omitempty"`
	Value    string    `json:"value,omitempty"`
	// LogBytes is how many payload bytes of log stand before this event.
	LogBytes int64 `json:"log_bytes"`
}

// RunResult is out/result.json, the worker's last word.
type RunResult struct {
	Result      Result    `json:"result"`
	Phase       run.Phase `json:"phase,omitempty"`
	ExitCode    int       `json:"exit_code"`
	Reason      string    `json:"reason,omitempty"`
	Plan        *Plan     `json:"plan,omitempty"`
	Outputs     []Output  `json:"outputs,omitempty"`
	HaveOutputs bool      `json:"have_outputs"`
	LogBytes    int64     `json:"log_bytes"`
}

// Carry is what one container hands to the next beside the workspace.
type Carry struct {
	Set   map[string]string `json:"set"`   // variables that differ from what was delivered
	Unset []string          `json:"unset"` // delivered ones that were removed
	Masks []string          `json:"masks"`
}

// Operations of a request.
const (
	OpStateGet    = "state_get"
	OpStatePut    = "state_put"
	OpStateLock   = "state_lock"
	OpStateUnlock = "state_unlock"
)

// Request is out/requests/<id>.json. It carries an operation and bytes; kind,
// stack, run and sequence are the launcher's to know.
type Request struct {
	ID   string `json:"id"`
	Op   string `json:"op"`
	Lock string `json:"lock,omitempty"` // the tool's lock id
	// Body is set when <id>.body holds bytes.
	Body bool `json:"body"`
}

// Answer is in/answers/<id>.json.
type Answer struct {
	ID      string `json:"id"`
	Status  int    `json:"status"` // an HTTP status for the tool: 200, 204, 400, 403, 409, 423, 500
	Message string `json:"message,omitempty"`
	Body    bool   `json:"body"`
}

// ErrTorn means that a frame is not whole yet: wait for more bytes.
var ErrTorn = errors.New("frame is not whole")

// ErrCorrupt means that bytes are no frame and never will be.
var ErrCorrupt = errors.New("frame is corrupt")

const frameHeader = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendFrame appends payload as a frame: length (uint32, little endian),
// CRC-32C of the payload, payload. The payload must be at most MaxFrame bytes.
func AppendFrame(dst, payload []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(payload, castagnoli))
	return append(dst, payload...)
}

// NextFrame returns the payload of the first frame in src and how many bytes it
// takes. It returns ErrTorn if more bytes are needed and ErrCorrupt if the bytes
// cannot be a frame.
func NextFrame(src []byte) (payload []byte, size int, err error) {
	if len(src) < frameHeader {
		return nil, 0, ErrTorn
	}
	n := binary.LittleEndian.Uint32(src)
	if n > MaxFrame {
		return nil, 0, ErrCorrupt
	}
	size = frameHeader + int(n)
	if len(src) < size {
		return nil, 0, ErrTorn
	}
	payload = src[frameHeader:size]
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(src[4:]) {
		return nil, 0, ErrCorrupt
	}
	return payload, size, nil
}
