package graph

import (
	"context"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/graph/gen"
)

// Limits of one request. The introspection query of the public clients nests 13
// deep; a page of 50 stacks with all their settings costs about 5,000.
const (
	maxBody       = 8 << 20 // a mounted file has up to 2 MB before base64
	maxTokens     = 20_000
	maxFields     = 20_000
	maxDepth      = 18
	maxComplexity = 60_000
	queryCache    = 500 // parsed documents kept
	// maxUnknown is how many fields whoever has not logged in may ask for: enough
	// to log in, and too few to try many secrets at once.
	maxUnknown = 20
)

// guard is what is checked of each operation before it runs.
type guard struct {
	affordable *lru.LRU[bool] // short documents that were checked
}

var _ interface {
	graphql.HandlerExtension
	graphql.OperationParameterMutator
	graphql.OperationContextMutator
} = guard{}

func newGuard() guard { return guard{affordable: lru.New[bool](queryCache)} }

// ExtensionName names the extension to the library.
func (guard) ExtensionName() string { return "Guard" }

// Validate accepts every schema.
func (guard) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationParameters makes documents of public clients legal, and refuses
// what would take long to validate.
func (g guard) MutateOperationParameters(ctx context.Context, p *graphql.RawParams) *gqlerror.Error {
	p.Query = dropEmptyArguments(p.Query)
	if checked, _ := g.affordable.Get(ctx, p.Query); checked {
		return nil
	}
	if f := affordable(p.Query); f != nil {
		return refused(string(f.Code), "%s", f.Error())
	}
	if len(p.Query) <= maxCached {
		g.affordable.Add(ctx, p.Query, true)
	}
	return nil
}

// MutateOperationContext refuses what is too large or nests too deep, and shows
// the schema only to callers who are logged in. It comes before everything that
// walks the document again.
func (guard) MutateOperationContext(ctx context.Context, op *graphql.OperationContext) *gqlerror.Error {
	var m measure
	m.walk(op.Operation.SelectionSet, 1)
	_, known := access.From(ctx)
	op.DisableIntrospection = !known
	switch {
	case m.fields > maxFields:
		return refused(string(fault.Invalid)+".size", "the operation has more than %d fields", maxFields)
	case m.deepest > maxDepth:
		return refused(string(fault.Invalid)+".depth", "the operation nests deeper than %d levels", maxDepth)
	case m.introspects && !known:
		return refused(string(fault.Unauthenticated), "unauthorized: the schema is shown to callers who are logged in")
	case m.fields > maxUnknown && !known:
		return refused(string(fault.Unauthenticated), "unauthorized: log in before asking for more than %d fields", maxUnknown)
	}
	return nil
}

func refused(code, sentence string, args ...any) *gqlerror.Error {
	err := gqlerror.Errorf(sentence, args...)
	extend(err, "code", code)
	return err
}

// measure is what a walk through a document finds.
type measure struct {
	fields      int // each as often as a fragment brings it in
	deepest     int
	introspects bool
}

// walk gives up at a limit: a short document of fragments that use each other
// twice has more fields than could ever be counted.
func (m *measure) walk(set ast.SelectionSet, level int) {
	for _, selection := range set {
		if m.fields++; m.fields > maxFields || m.deepest > maxDepth {
			return
		}
		switch s := selection.(type) {
		case *ast.Field:
			m.deepest = max(m.deepest, level)
			m.introspects = m.introspects || s.Name == "__schema" || s.Name == "__type"
			m.walk(s.SelectionSet, level+1)
		case *ast.InlineFragment:
			m.walk(s.SelectionSet, level)
		case *ast.FragmentSpread:
			m.walk(s.Definition.SelectionSet, level)
		}
	}
}

// dropEmptyArguments removes "()" where no string or comment holds it. Some public
// clients write such argument lists, which the language does not allow.
func dropEmptyArguments(q string) string {
	if !strings.Contains(q, "(") {
		return q
	}
	var out strings.Builder
	changed := false
	for i := 0; i < len(q); {
		n := 1
		switch {
		case strings.HasPrefix(q[i:], `"""`):
			n = blockString(q[i:])
		case q[i] == '"':
			n = plainString(q[i:])
		case q[i] == '#':
			if n = strings.IndexByte(q[i:], '\n'); n < 0 {
				n = len(q) - i
			}
		case q[i] == '(':
			rest := strings.TrimLeft(q[i+1:], " \t\r\n,")
			if strings.HasPrefix(rest, ")") {
				i = len(q) - len(rest) + 1
				changed = true
				continue
			}
		}
		out.WriteString(q[i : i+n])
		i += n
	}
	if !changed {
		return q
	}
	return out.String()
}

// blockString returns the length of the block string that s begins with.
func blockString(s string) int {
	for i := 3; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], `\"""`):
			i += 4
		case strings.HasPrefix(s[i:], `"""`):
			return i + 3
		default:
			i++
		}
	}
	return len(s)
}

// plainString returns the length of the string that s begins with.
func plainString(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

// weigh says how much lists cost: as many times their elements as are likely.
func weigh(c *gen.ComplexityRoot) {
	times := func(n int) func(int) int { return func(child int) int { return 1 + n*child } }
	page := func(child int, in gen.SearchInput) int { return 1 + pageSize(in)*child }
	c.Query.Stacks, c.Query.WorkerPools, c.Query.APIKeys = times(20), times(20), times(20)
	c.Query.SearchStacks, c.Query.SearchWorkerPools = page, page
	c.WorkerPool.SearchSchedulableRuns, c.PublicWorkerPool.SearchSchedulableRuns = page, page
	c.WorkerPool.Workers, c.WorkerPool.AllWorkers = times(10), times(10)
	paged := func(child int, _ *string) int { return 1 + 30*child }
	c.Stack.Runs, c.Stack.ProposedRuns, c.Stack.Tasks = paged, paged, paged
}
