package evaluator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/policy"
)

// Main reads a policy.Request from standard input, writes a policy.Answer to
// standard output, and returns the exit code.
func Main() int {
	var r policy.Request
	if err := json.NewDecoder(os.Stdin).Decode(&r); err != nil {
		fmt.Fprintln(os.Stderr, "the policy's evaluator is for the launcher to call:", err)
		return 2
	}
	if err := limit(r.Memory); err != nil {
		fmt.Fprintln(os.Stderr, "the memory cannot be limited:", err)
		return 2
	}
	return serve(r, os.Stdout)
}

func serve(r policy.Request, out io.Writer) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.TimeMs)*time.Millisecond)
	defer cancel()
	a, err := answer(ctx, r)
	if err != nil {
		if ctx.Err() != nil {
			err = fault.New(fault.Invalid, "the policy took too long").Named("policy_time")
		}
		a = policy.Answer{Problem: problem(err)}
	}
	if err := json.NewEncoder(out).Encode(a); err != nil {
		fmt.Fprintln(os.Stderr, "the answer cannot be written:", err)
		return 2
	}
	return 0
}

func answer(ctx context.Context, r policy.Request) (policy.Answer, error) {
	m, err := parse(r.Path, r.Text)
	if err != nil {
		return policy.Answer{}, err
	}
	q, err := m.prepare(ctx)
	if err != nil {
		return policy.Answer{}, err
	}
	if r.Op == policy.OpCheck {
		return policy.Answer{Check: &policy.Check{Version: m.version, Warnings: m.warnings()}}, nil
	}
	d, err := m.evaluate(ctx, q, r.Input)
	return policy.Answer{Decision: d}, err
}

// limit bounds the memory of this process: the collector works harder as it comes
// near, and beyond it the process dies rather than the host swaps. What the
// runtime has only reserved does not count.
func limit(bytes int64) error {
	if bytes <= 0 {
		return errors.New("there is no limit")
	}
	debug.SetMemoryLimit(bytes / 4 * 3)
	n := uint64(bytes)
	return unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: n, Max: n})
}

func problem(err error) *policy.Problem {
	f := fault.As(err)
	if f == nil {
		return &policy.Problem{Code: "policy", Message: err.Error()}
	}
	code := "policy"
	if _, name, ok := cut(string(f.Code)); ok {
		code = name
	}
	return &policy.Problem{Code: code, Message: f.Message, Hint: f.Hint}
}
