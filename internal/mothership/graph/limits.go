package graph

import (
	"context"
	"strings"

	"github.com/99designs/gqlgen/graphql"
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
	maxDepth      = 18
	maxComplexity = 60_000
	queryCache    = 500 // parsed documents kept
)

// guard is what is checked of each operation before it runs.
type guard struct{}

var _ interface {
	graphql.HandlerExtension
	graphql.OperationParameterMutator
	graphql.OperationContextMutator
} = guard{}

// ExtensionName names the extension to the library.
func (guard) ExtensionName() string { return "Guard" }

// Validate accepts every schema.
func (guard) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationParameters makes documents of public clients legal.
func (guard) MutateOperationParameters(_ context.Context, p *graphql.RawParams) *gqlerror.Error {
	p.Query = dropEmptyArguments(p.Query)
	return nil
}

// MutateOperationContext refuses what nests too deep, and shows the schema only
// to callers who are logged in.
func (guard) MutateOperationContext(ctx context.Context, op *graphql.OperationContext) *gqlerror.Error {
	op.DisableIntrospection = false
	if _, known := access.From(ctx); !known && introspects(op.Operation.SelectionSet, 0) {
		op.DisableIntrospection = true
		err := gqlerror.Errorf("unauthorized: the schema is shown to callers who are logged in")
		extend(err, "code", string(fault.Unauthenticated))
		return err
	}
	if d := depth(op.Operation.SelectionSet, 0); d > maxDepth {
		err := gqlerror.Errorf("the operation nests deeper than %d levels", maxDepth)
		extend(err, "code", string(fault.Invalid)+".depth")
		return err
	}
	return nil
}

// introspects reports whether a root field asks for the schema.
func introspects(set ast.SelectionSet, level int) bool {
	if level > maxDepth {
		return true // fragments in fragments: refused for their depth below
	}
	for _, selection := range set {
		found := false
		switch s := selection.(type) {
		case *ast.Field:
			found = s.Name == "__schema" || s.Name == "__type"
		case *ast.InlineFragment:
			found = introspects(s.SelectionSet, level+1)
		case *ast.FragmentSpread:
			found = introspects(s.Definition.SelectionSet, level+1)
		}
		if found {
			return true
		}
	}
	return false
}

// depth counts levels, and gives up where the limit is passed: fragments that use
// each other cannot make it slow. Cycles of fragments are refused before.
func depth(set ast.SelectionSet, level int) int {
	deepest := level
	if level > maxDepth {
		return level
	}
	for _, selection := range set {
		d := level
		switch s := selection.(type) {
		case *ast.Field:
			d = depth(s.SelectionSet, level+1)
		case *ast.InlineFragment:
			d = depth(s.SelectionSet, level)
		case *ast.FragmentSpread:
			d = depth(s.Definition.SelectionSet, level)
		}
		if d > deepest {
			deepest = d
		}
		if deepest > maxDepth {
			break
		}
	}
	return deepest
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
