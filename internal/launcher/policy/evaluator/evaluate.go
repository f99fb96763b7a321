package evaluator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/print"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/policy"
)

// aliases are short names for parts of the input, in the policy's own package.
// One that the policy defines itself is the policy's.
var aliases = []struct{ name, value string }{
	{"commit", "input.commit"},
	{"run", "input.run"},
	{"runtime_config", "input.run.runtime_config"},
	{"stack", "input.stack"},
}

// prelude is the module of the aliases.
func (m *module) prelude() (*ast.Module, error) {
	var b strings.Builder
	b.WriteString("package spacelift\n")
	for _, a := range aliases {
		if !m.defines(a.name) {
			b.WriteString(a.name + " := " + a.value + "\n")
		}
	}
	return ast.ParseModuleWithOpts("aliases", b.String(), ast.ParserOptions{RegoVersion: ast.RegoV1})
}

// query asks for the two rules alone: what else the policy has is evaluated only
// where they need it. Each is in a list, which is empty if the rule is undefined.
const query = "deny := [x | x := data.spacelift.deny]; sample := [x | x := data.spacelift.sample]"

// prepare compiles the policy.
func (m *module) prepare(ctx context.Context) (rego.PreparedEvalQuery, error) {
	prelude, err := m.prelude()
	if err != nil {
		return rego.PreparedEvalQuery{}, fmt.Errorf("parse the aliases: %w", err)
	}
	options := append([]func(*rego.Rego){
		rego.Query(query),
		rego.ParsedModule(prelude),
		rego.ParsedModule(m.ast),
		rego.Capabilities(capabilities()),
		rego.StrictBuiltinErrors(true),
		rego.EnablePrintStatements(true),
	}, helpers()...)
	q, err := rego.New(options...).PrepareForEval(ctx)
	if err != nil {
		return q, m.uncompiled(err)
	}
	return q, nil
}

func (m *module) uncompiled(err error) error {
	var all ast.Errors
	rule := ""
	if errors.As(err, &all) && len(all) > 0 && all[0].Location != nil {
		first := slices.MinFunc(all, func(a, b *ast.Error) int { return row(a) - row(b) })
		rule = m.ruleAt(row(first))
	}
	return located(m.path, m.version, rule, err)
}

func row(e *ast.Error) int {
	if e.Location == nil {
		return 0
	}
	return e.Location.Row
}

// evaluate asks the policy about an input.
func (m *module) evaluate(ctx context.Context, q rego.PreparedEvalQuery, input json.RawMessage) (*policy.Decision, error) {
	value, err := ast.ValueFromReader(bytes.NewReader(input))
	if err != nil {
		return nil, fault.New(fault.Invalid, "the input is not JSON").Named("policy_input")
	}
	printed := &printer{}
	results, err := q.Eval(ctx, rego.EvalParsedInput(value), rego.EvalPrintHook(printed))
	if err != nil {
		return nil, m.failed(err)
	}
	d := &policy.Decision{Deny: []string{}, Print: printed.lines}
	if len(results) != 1 {
		return nil, fault.New(fault.Invalid, "the policy %s gave no answer", m.path).Named("policy_answer")
	}
	deny, some := results[0].Bindings["deny"].([]any)
	sample, more := results[0].Bindings["sample"].([]any)
	if !some || !more {
		return nil, fault.New(fault.Invalid, "the policy %s gave no answer", m.path).Named("policy_answer")
	}
	for _, set := range deny {
		messages, ok := set.([]any)
		if !ok {
			return nil, fault.New(fault.Invalid, "the policy %s: deny is not a set of messages", m.path).Named("policy_answer")
		}
		for _, message := range messages {
			d.Deny = append(d.Deny, text(message))
		}
		slices.Sort(d.Deny)
	}
	for _, is := range sample {
		var ok bool
		if d.Sample, ok = is.(bool); !ok {
			return nil, fault.New(fault.Invalid, "the policy %s: sample is neither true nor false", m.path).Named("policy_answer")
		}
	}
	return d, nil
}

// text is a message; one that is no string denies all the same.
func text(message any) string {
	if s, ok := message.(string); ok {
		return s
	}
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Sprint(message)
	}
	return string(data)
}

func (m *module) failed(err error) error {
	var e *topdown.Error
	if !errors.As(err, &e) {
		return fault.Wrap(err, fault.Invalid, "the policy %s failed: %v", m.path, err).Named("policy_evaluation")
	}
	where := "the policy " + m.path
	if e.Location != nil && e.Location.File == m.path {
		where += fmt.Sprintf(", line %d", e.Location.Row)
		if rule := m.ruleAt(e.Location.Row); rule != "" {
			where += ", rule " + rule
		}
	}
	return fault.Wrap(err, fault.Invalid, "%s: %s", where, strings.Join(strings.Fields(e.Message), " ")).Named("policy_evaluation")
}

const (
	maxPrinted = 100
	maxLine    = 1024 // bytes
)

// printer keeps what a policy prints, bounded.
type printer struct{ lines []string }

// Print is called by OPA.
func (p *printer) Print(at print.Context, line string) error {
	if len(p.lines) < maxPrinted {
		if at.Location != nil {
			line = fmt.Sprintf("%d: %s", at.Location.Row, line)
		}
		p.lines = append(p.lines, strings.ToValidUTF8(line[:min(len(line), maxLine)], "?"))
	}
	return nil
}
