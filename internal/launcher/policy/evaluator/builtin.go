package evaluator

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/types"
)

// allowed are the functions that a policy may use. What a new version of the
// library brings is not in it until somebody has looked at it.
//
//go:embed builtins.txt
var allowed string

// forbidden are those that people may miss: they reach the network or the
// launcher, or make the answer depend on when it is asked.
var forbidden = []string{"http.send", "net.lookup_ip_addr", "opa.runtime", "rego.parse_module", "time.now_ns", "trace"}

func capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	names := strings.Fields(allowed)
	c.Builtins = slices.DeleteFunc(slices.Clone(c.Builtins), func(b *ast.Builtin) bool { return !slices.Contains(names, b.Name) })
	c.AllowNet = []string{} // no schema is fetched from anywhere
	return c
}

// helpers are our own functions.
func helpers() []func(*rego.Rego) {
	return []func(*rego.Rego){
		rego.Function1(&rego.Function{
			Name: "sanitized", Decl: types.NewFunction(types.Args(types.S), types.S),
		}, func(_ rego.BuiltinContext, x *ast.Term) (*ast.Term, error) {
			s, ok := x.Value.(ast.String)
			if !ok {
				return nil, errors.New("sanitized takes a string")
			}
			sum := sha256.Sum256([]byte(s))
			return ast.StringTerm(hex.EncodeToString(sum[:])[56:]), nil
		}),
		rego.Function1(&rego.Function{
			Name: "exec", Memoize: true, Nondeterministic: true,
			Decl: types.NewFunction(types.Args(types.NewAny(types.S, types.NewArray(nil, types.S))), types.NewObject([]*types.StaticProperty{
				types.NewStaticProperty("status", types.N), types.NewStaticProperty("stdout", types.S), types.NewStaticProperty("stderr", types.S),
			}, nil)),
		}, func(b rego.BuiltinContext, x *ast.Term) (*ast.Term, error) { return execute(b.Context, x) }),
	}
}

// maxOutput is how many bytes of a command's output a policy gets, of each stream.
const maxOutput = 1 << 20

// execute runs a command without a shell, so that no text of a job can become
// part of one.
func execute(ctx context.Context, x *ast.Term) (*ast.Term, error) {
	args, err := words(x)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	out, errs := &output{}, &output{}
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && !errors.As(err, &exit):
		return nil, fmt.Errorf("exec: %w", err)
	case out.full || errs.full:
		return nil, fmt.Errorf("exec: %s prints more than %d bytes", args[0], maxOutput)
	}
	return ast.ObjectTerm(
		[2]*ast.Term{ast.StringTerm("status"), ast.IntNumberTerm(cmd.ProcessState.ExitCode())},
		[2]*ast.Term{ast.StringTerm("stdout"), ast.StringTerm(strings.ToValidUTF8(out.String(), "\uFFFD"))},
		[2]*ast.Term{ast.StringTerm("stderr"), ast.StringTerm(strings.ToValidUTF8(errs.String(), "\uFFFD"))},
	), nil
}

func words(x *ast.Term) ([]string, error) {
	switch v := x.Value.(type) {
	case ast.String:
		if v != "" {
			return []string{string(v)}, nil
		}
	case *ast.Array:
		var args []string
		for i := range v.Len() {
			s, ok := v.Elem(i).Value.(ast.String)
			if !ok {
				return nil, errors.New("exec takes an array of strings")
			}
			args = append(args, string(s))
		}
		if len(args) > 0 && args[0] != "" {
			return args, nil
		}
	}
	return nil, errors.New("exec takes the name of a command, or an array of it and its arguments")
}

// output keeps what a command prints, output up to maxOutput.
type output struct {
	bytes.Buffer
	full bool
}

func (t *output) Write(p []byte) (int, error) {
	room := min(len(p), maxOutput-t.Len())
	t.Buffer.Write(p[:room])
	t.full = t.full || room < len(p)
	return len(p), nil
}
