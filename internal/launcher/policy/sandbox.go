package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// EvaluatorCommand is the launcher's argument that makes it the evaluator.
const EvaluatorCommand = "policy-evaluator"

// Operations of the evaluator.
const (
	OpCheck    = "check"
	OpEvaluate = "evaluate"
)

// Request is what the evaluator reads from its standard input.
type Request struct {
	Op      string          `json:"op"`
	Path    string          `json:"path"` // for error messages
	Text    string          `json:"text"`
	Version string          `json:"version,omitempty"` // as Check has told
	Input   json.RawMessage `json:"input,omitempty"`
	TimeMs  int64           `json:"time_ms"`
	Memory  int64           `json:"memory"` // bytes
}

// Answer is what the evaluator writes to its standard output.
type Answer struct {
	Check    *Check    `json:"check,omitempty"`
	Decision *Decision `json:"decision,omitempty"`
	Problem  *Problem  `json:"problem,omitempty"`
}

// Problem is a fault on its way between processes.
type Problem struct {
	Code    string `json:"code"` // below invalid
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Check is what is known of a policy that compiles.
type Check struct {
	Version  string   `json:"version"` // v0 | v1
	Warnings []string `json:"warnings,omitempty"`
}

// Decision is what a policy says of an input.
type Decision struct {
	Deny   []string `json:"deny"` // sorted; the run may go on if empty
	Sample bool     `json:"sample"`
	Print  []string `json:"print,omitempty"` // of print()
	// Took is how long the evaluation took, its process included.
	Took time.Duration `json:"-"`
}

const (
	maxAnswer = 4 << 20
	maxCrash  = 64 << 10
	// extraTime is for the evaluator's own start and end: it keeps the limit
	// itself, and is killed only if it fails to.
	extraTime = 5 * time.Second
)

// call runs the evaluator once.
func (p *Policy) call(ctx context.Context, r Request) (*Answer, error) {
	r.Path, r.Text, r.TimeMs, r.Memory = p.o.Path, p.text, p.o.Time.Milliseconds(), p.o.Memory
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, p.o.Time+extraTime)
	defer cancel()
	cmd := exec.CommandContext(limited, p.o.Evaluator[0], p.o.Evaluator[1:]...)
	// Nothing of the launcher's environment: the policy's commands inherit this.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LANG=C.UTF-8"}
	cmd.Dir = "/"
	// A group of its own, so that commands of exec end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	cmd.Stdin = bytes.NewReader(data)
	out, crash := &capped{max: maxAnswer}, &capped{max: maxCrash}
	cmd.Stdout, cmd.Stderr = out, crash
	err = cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // whatever exec has left
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return nil, p.tooSlow()
	case err != nil && (bytes.Contains(crash.b, []byte("out of memory")) || bytes.Contains(crash.b, []byte("cannot allocate memory"))):
		return nil, fault.Wrap(err, fault.Invalid, "the policy %s needs more than %d MiB of memory", p.o.Path, p.o.Memory>>20).Named("policy_memory")
	case err != nil && cmd.Process == nil:
		return nil, fmt.Errorf("start the policy's evaluator: %w", err)
	case err != nil:
		return nil, fault.Wrap(fmt.Errorf("%w: %s", err, crash.b), fault.Invalid, "the policy %s could not be evaluated: its evaluator ended with %v", p.o.Path, err).Named("policy_crash")
	case out.full:
		return nil, fault.New(fault.Invalid, "the policy %s answers with more than %d bytes", p.o.Path, maxAnswer).Named("policy_answer")
	}
	var a Answer
	if err := json.Unmarshal(out.b, &a); err != nil {
		return nil, fmt.Errorf("read the answer of the policy's evaluator: %w", err)
	}
	if a.Problem != nil {
		if a.Problem.Code == codeTime {
			return nil, p.tooSlow()
		}
		f := fault.New(fault.Invalid, "%s", a.Problem.Message).Named(a.Problem.Code)
		if a.Problem.Hint != "" {
			f = f.WithHint("%s", a.Problem.Hint)
		}
		return nil, f
	}
	if (r.Op == OpCheck && a.Check == nil) || (r.Op == OpEvaluate && a.Decision == nil) {
		return nil, errors.New("read the answer of the policy's evaluator: it is empty")
	}
	return &a, nil
}

const codeTime = "policy_time"

func (p *Policy) tooSlow() error {
	return fault.New(fault.Invalid, "the policy %s takes longer than %s", p.o.Path, p.o.Time).Named(codeTime)
}

// capped keeps the first max bytes and takes the rest too, so that nobody waits.
type capped struct {
	b    []byte
	max  int
	full bool
}

func (c *capped) Write(p []byte) (int, error) {
	room := min(len(p), c.max-len(c.b))
	c.b = append(c.b, p[:room]...)
	c.full = c.full || room < len(p)
	return len(p), nil
}
