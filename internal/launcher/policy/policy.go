package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Limits, unless Options say otherwise.
const (
	// TimeLimit is how long one evaluation may take, commands of exec included.
	TimeLimit = 10 * time.Second
	// MemoryLimit is how many bytes of memory one evaluation may use.
	MemoryLimit = 256 << 20

	maxText  = 1 << 20 // bytes of a policy
	maxInput = 8 << 20 // bytes of an input

	maxMessages = 50   // of one denial, that are shown
	maxMessage  = 1024 // bytes of a message, likewise
)

// Options make a Policy.
type Options struct {
	// Path of the Rego file.
	Path string
	// Evaluator is the command that runs evaluator.Main.
	Evaluator []string
	// Decisions is the directory of the decision log; none is kept if empty.
	Decisions string
	// Samples is where sampled evaluations are printed; nowhere if nil.
	Samples io.Writer
	Now     func() time.Time
	Log     *slog.Logger
	// Time and Memory are the limits of one evaluation; TimeLimit and MemoryLimit
	// if zero.
	Time   time.Duration
	Memory int64 // bytes
}

// Policy is a policy that has been found to compile. Safe for concurrent use.
type Policy struct {
	o      Options
	text   string
	digest string // sha256:<hex> of the text
	check  Check
	log    *decisions

	samples sync.Mutex
}

// Open reads and checks a policy. Its errors are faults of kind invalid that name
// file, line and rule.
func Open(ctx context.Context, o Options) (*Policy, error) {
	if len(o.Evaluator) == 0 || o.Now == nil || o.Log == nil {
		return nil, errors.New("policy: an option is missing")
	}
	if o.Time == 0 {
		o.Time = TimeLimit
	}
	if o.Memory == 0 {
		o.Memory = MemoryLimit
	}
	text, err := read(o.Path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(text))
	p := &Policy{o: o, text: text, digest: "sha256:" + hex.EncodeToString(sum[:])}
	answer, err := p.call(ctx, Request{Op: OpCheck})
	if err != nil {
		return nil, err
	}
	p.check = *answer.Check
	if o.Decisions != "" {
		if p.log, err = openDecisions(o.Decisions); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func read(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", unreadable(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err != nil {
		return "", unreadable(path, err)
	}
	if len(data) > maxText {
		return "", fault.New(fault.Invalid, "the policy %s has more than %d bytes", path, maxText).Named("policy_file")
	}
	return string(data), nil
}

func unreadable(path string, err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fault.Wrap(err, fault.Invalid, "the policy %s cannot be read: %v", path, err).Named("policy_file")
}

// Digest is "sha256:" and the hex digest of the policy's text.
func (p *Policy) Digest() string { return p.digest }

// Version is the Rego version that the text was found to be written in: v0 or v1.
func (p *Policy) Version() string { return p.check.Version }

// Warnings say what about the policy may not be as its author thinks.
func (p *Policy) Warnings() []string { return p.check.Warnings }

// Ask evaluates the policy. It returns nil if the run may go on, a fault
// "forbidden.policy" with the policy's messages if not, and a fault
// "forbidden.policy_failed" if the policy gives no answer, which denies too. mask
// hides secrets in what is kept of the evaluation.
func (p *Policy) Ask(ctx context.Context, in *Input, mask func(string) string) (Decision, error) {
	began := p.o.Now()
	in.Request.TimestampNS = began.UnixNano()
	d, err := p.evaluate(ctx, in)
	if ctx.Err() != nil {
		return d, ctx.Err() // the run was stopped; nothing was decided
	}
	d.Took = p.o.Now().Sub(began)
	if kept := p.log.write(p.record(began, in, d, err, mask)); kept != nil {
		p.o.Log.Error("the decision log cannot be written", "run", in.Run.ID, "err", kept)
	}
	if d.Sample {
		p.sample(began, in, d, err, mask)
	}
	switch {
	case err != nil:
		return d, fault.Wrap(err, fault.Forbidden, "the run initialization policy gave no answer, so the run is denied: %s", sentence(err)).Named("policy_failed")
	case len(d.Deny) > 0:
		return d, fault.New(fault.Forbidden, "denied by the run initialization policy: %s", strings.Join(d.Deny, "; ")).Named("policy")
	}
	return d, nil
}

func (p *Policy) evaluate(ctx context.Context, in *Input) (Decision, error) {
	data, err := json.Marshal(in)
	if err != nil {
		return Decision{}, err
	}
	return p.Evaluate(ctx, data)
}

// Evaluate evaluates the policy on an input in JSON, keeps nothing of it, and
// fails only if there is no answer.
func (p *Policy) Evaluate(ctx context.Context, input json.RawMessage) (Decision, error) {
	if len(input) > maxInput {
		return Decision{}, fault.New(fault.Invalid, "the input has %d bytes and may have %d", len(input), maxInput).Named("policy_input")
	}
	answer, err := p.call(ctx, Request{Op: OpEvaluate, Input: input, Version: p.check.Version})
	if err != nil {
		return Decision{}, err
	}
	d := *answer.Decision
	for i, m := range d.Deny {
		d.Deny[i] = oneLine(m)
	}
	if more := len(d.Deny) - maxMessages; more > 0 {
		d.Deny = append(d.Deny[:maxMessages], "and more")
	}
	return d, nil
}

// sentence is what of an error may be shown.
func sentence(err error) string {
	if f := fault.As(err); f != nil {
		return f.Error()
	}
	return err.Error()
}

// oneLine makes a line of a policy's message: it may repeat what a job brought,
// and no job writes lines of its own or moves the cursor of whoever reads the log.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return s
}
