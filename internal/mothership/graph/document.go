package graph

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Limits of a document before it is validated.
const (
	// maxPairs bounds the work of one rule of the language: fields with the same
	// name, and fragments, are compared two by two. 20,000 tokens of one name
	// would take a processor for a minute, and anybody may send a document.
	// The largest of the public clients have less than a tenth of this.
	maxPairs = 400_000
	// maxCached is the length in bytes of the longest document that is kept
	// parsed: what the caches hold is bounded by it times queryCache.
	maxCached = 32 << 10
)

// documents keeps parsed documents, short ones alone: a caller could otherwise
// fill the memory with long ones.
type documents struct{ *lru.LRU[*ast.QueryDocument] }

var _ graphql.Cache[*ast.QueryDocument] = documents{}

// Add keeps doc if its text is short.
func (d documents) Add(ctx context.Context, text string, doc *ast.QueryDocument) {
	if len(text) <= maxCached {
		d.LRU.Add(ctx, text, doc)
	}
}

// affordable refuses a document that would take long to validate. One that does
// not parse passes: the library says what is wrong with it.
func affordable(text string) *fault.Error {
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, maxTokens)
	if err != nil {
		return nil
	}
	t := tally{times: map[string]int{}}
	for _, operation := range doc.Operations {
		t.count(operation.SelectionSet)
	}
	for _, fragment := range doc.Fragments {
		t.fragments++
		t.count(fragment.SelectionSet)
	}
	pairs := t.fragments * t.fragments
	for _, n := range t.times {
		pairs += n * n
	}
	if pairs > maxPairs {
		return fault.New(fault.Invalid, "the document has the same field or fragment too often").Named("size").
			WithHint("send it in several requests")
	}
	return nil
}

// tally counts what a document says, each as often as it is written.
type tally struct {
	times     map[string]int // by the name in the answer
	fragments int            // defined, used or inline
}

func (t *tally) count(set ast.SelectionSet) {
	for _, selection := range set {
		switch s := selection.(type) {
		case *ast.Field:
			t.times[s.Alias]++
			t.count(s.SelectionSet)
		case *ast.InlineFragment:
			t.fragments++
			t.count(s.SelectionSet)
		case *ast.FragmentSpread:
			t.fragments++
		}
	}
}
