package evaluator

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Names of Rego's versions, as they are shown.
const (
	versionV0 = "v0"
	versionV1 = "v1"
)

// module is a parsed policy.
type module struct {
	path    string
	version string
	ast     *ast.Module
}

// parse reads a policy as Rego v1, and if it is none, as v0. A text that is valid
// in both and means the same rules in both is v1; one whose deny or sample is of
// the wrong kind in v1 is tried as v0 too, where deny["x"] adds to a set.
func parse(path, text string) (*module, error) {
	v1, err1 := parseAs(path, text, versionV1, ast.RegoV1)
	if err1 == nil {
		return v1, nil
	}
	v0, err0 := parseAs(path, text, versionV0, ast.RegoV0)
	if err0 == nil {
		return v0, nil
	}
	if writtenInV0(text) {
		return nil, err0
	}
	return nil, err1
}

func parseAs(path, text, version string, rego ast.RegoVersion) (*module, error) {
	parsed, err := ast.ParseModuleWithOpts(path, text, ast.ParserOptions{RegoVersion: rego, Capabilities: capabilities()})
	if err != nil && strings.TrimSpace(text) != "" {
		return nil, located(path, version, "", err)
	}
	if parsed == nil || parsed.Package == nil {
		return nil, fault.New(fault.Invalid, "the policy %s is empty", path).Named("policy_syntax")
	}
	m := &module{path: path, version: version, ast: parsed}
	return m, m.check()
}

// headV0 is the head of a rule as v1 does not have it: without "if".
var headV0 = regexp.MustCompile(`(?m)^\s*(deny\s*\[[^\]]*\]|sample|[a-z_]+\([^)]*\))\s*\{`)

// writtenInV0 guesses which version's error the author can use.
func writtenInV0(text string) bool {
	return !strings.Contains(text, "import rego.v1") && headV0.MatchString(text)
}

// located makes one sentence of what the parser or compiler found first.
func located(path, version, rule string, err error) error {
	var all ast.Errors
	if !errors.As(err, &all) {
		var one *ast.Error
		if !errors.As(err, &one) {
			return fault.Wrap(err, fault.Invalid, "the policy %s cannot be used: %v", path, err).Named("policy_syntax")
		}
		all = ast.Errors{one}
	}
	slices.SortStableFunc(all, func(a, b *ast.Error) int {
		if a.Location == nil || b.Location == nil {
			return 0
		}
		return a.Location.Row - b.Location.Row
	})
	e := all[0]
	where := "the policy " + path
	if e.Location != nil {
		where += fmt.Sprintf(", line %d", e.Location.Row)
	}
	if rule != "" {
		where += ", rule " + rule
	}
	message := strings.Join(strings.Fields(e.Message), " ")
	f := fault.New(fault.Invalid, "%s: %s (read as Rego %s)", where, message, version).Named("policy_syntax")
	for _, name := range forbidden {
		if strings.Contains(message, "undefined function "+name) {
			f = f.WithHint("%s is not available to a run initialization policy", name)
		}
	}
	if more := len(all) - 1; more > 0 && f.Hint == "" {
		f = f.WithHint("%d more after it", more)
	}
	return f
}

// check refuses what would compile and never deny, or not mean what it seems to.
func (m *module) check() error {
	if got := m.ast.Package.Path.String(); got != "data.spacelift" {
		return m.wrong(m.ast.Package.Location, "", "the package is "+strings.TrimPrefix(got, "data.")+", so its rules would never be asked").
			WithHint("begin it with: package spacelift")
	}
	for _, r := range m.ast.Rules {
		name := string(r.Head.Name)
		if len(r.Head.Ref()) > 0 {
			name = strings.Trim(r.Head.Ref()[0].Value.String(), `"`)
		}
		set := r.Head.RuleKind() == ast.MultiValue && len(r.Head.Ref()) == 1
		switch {
		case name == "deny" && (!set || r.Default || len(r.Head.Args) > 0):
			return m.wrong(r.Location, name, "deny must be a set of messages").WithHint("%s", m.denyForm())
		case name == "sample" && (r.Head.RuleKind() != ast.SingleValue || len(r.Head.Ref()) != 1 || len(r.Head.Args) > 0):
			return m.wrong(r.Location, name, "sample must be true or false").WithHint("%s", m.sampleForm())
		}
	}
	return nil
}

func (m *module) denyForm() string {
	if m.version == versionV0 {
		return `write: deny["message"] { condition }`
	}
	return `write: deny contains "message" if condition`
}

func (m *module) sampleForm() string {
	if m.version == versionV0 {
		return "write: sample { condition }"
	}
	return "write: sample if condition"
}

func (m *module) wrong(at *ast.Location, rule, what string) *fault.Error {
	where := "the policy " + m.path
	if at != nil {
		where += fmt.Sprintf(", line %d", at.Row)
	}
	if rule != "" {
		where += ", rule " + rule
	}
	return fault.New(fault.Invalid, "%s: %s (read as Rego %s)", where, what, m.version).Named("policy_rule")
}

// ruleAt names the rule that stands around a line.
func (m *module) ruleAt(row int) string {
	name, at := "", 0
	for _, r := range m.ast.Rules {
		if r.Location != nil && r.Location.Row <= row && r.Location.Row >= at {
			name, at = string(r.Head.Name), r.Location.Row
			if name == "" && len(r.Head.Ref()) > 0 {
				name = r.Head.Ref()[0].Value.String()
			}
		}
	}
	return name
}

// defines reports whether the policy has a rule of that name.
func (m *module) defines(name string) bool {
	return slices.ContainsFunc(m.ast.Rules, func(r *ast.Rule) bool {
		ref := r.Head.Ref()
		return len(ref) > 0 && strings.Trim(ref[0].Value.String(), `"`) == name
	})
}

// warnings say what may not be as the author thinks.
func (m *module) warnings() []string {
	var w []string
	if !m.defines("deny") {
		w = append(w, "the policy has no rule deny, so it denies nothing")
	}
	for _, name := range []string{"allow", "warn"} {
		if m.defines(name) {
			w = append(w, "the policy's rule "+name+" decides nothing: only deny and sample are asked")
		}
	}
	return w
}

func cut(code string) (kind, name string, ok bool) { return strings.Cut(code, ".") }
