package graph

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/graph/gen"
)

func TestEmptyArgumentListsGoAndNothingElseDoes(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		`{ workerPools() { id } }`:                                        `{ workerPools { id } }`,
		"{ spaces ( \n , ) { id } }":                                      `{ spaces  { id } }`,
		`{ stack(id: "a()") { id } }`:                                     `{ stack(id: "a()") { id } }`,
		`{ stack(id: "\"()") { contexts() } }`:                            `{ stack(id: "\"()") { contexts } }`,
		"{ a # ()\n b() }":                                                "{ a # ()\n b }",
		`{ a(x: """ () \""" () """) b() }`:                                `{ a(x: """ () \""" () """) b }`,
		`{ a(x: "unended () }`:                                            `{ a(x: "unended () }`,
		`query($id: ID!) { stack(id: $id) { runs(before: "x") { id } } }`: `query($id: ID!) { stack(id: $id) { runs(before: "x") { id } } }`,
	} {
		if got := dropEmptyArguments(given); got != want {
			t.Errorf("%q gives %q, want %q", given, got, want)
		}
	}
}

// number is a thing that is searched.
type number int

var numbers = searchable[number]{
	id:    func(n number) string { return strconv.Itoa(int(n)) },
	texts: func(n number) []string { return []string{"Number " + strconv.Itoa(int(n))} },
	strings: map[string]func(number) []string{
		"digit": func(n number) []string { return []string{strconv.Itoa(int(n) % 10)} },
	},
	booleans: map[string]func(number) bool{"even": func(n number) bool { return n%2 == 0 }},
	orders:   map[string]func(a, b number) int{"value": func(a, b number) int { return int(a - b) }},
}

func TestPredicatesAreJoinedAndTheirValuesAreAlternatives(t *testing.T) {
	t.Parallel()
	var all []number
	for n := range number(30) {
		all = append(all, n)
	}
	yes := true
	words := "NUMBER 1"
	for what, c := range map[string]struct {
		in   gen.SearchInput
		want []number
	}{
		"alternatives": {gen.SearchInput{Predicates: []*gen.QueryPredicate{{Field: "digit", Constraint: &gen.QueryFieldConstraint{StringMatches: []string{"3", "7"}}}}}, []number{3, 7, 13, 17, 23, 27}},
		"joined": {gen.SearchInput{FullTextSearch: &words, Predicates: []*gen.QueryPredicate{
			{Field: "even", Constraint: &gen.QueryFieldConstraint{BooleanEquals: []bool{true}}},
			{Field: "digit", Exclude: &yes, Constraint: &gen.QueryFieldConstraint{EnumEquals: []string{"2", "4"}}},
		}}, []number{10, 16, 18}},
		"ordered": {gen.SearchInput{FullTextSearch: &words, OrderBy: &gen.QueryOrder{Field: "value", Direction: "DESC"}}, []number{19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 1}},
	} {
		got, err := numbers.search(all, c.in)
		if err != nil || !slices.Equal(got.items, c.want) {
			t.Errorf("%s: got %v, %v; want %v", what, got.items, err, c.want)
		}
	}
	for what, in := range map[string]gen.SearchInput{
		"a field":  {Predicates: []*gen.QueryPredicate{{Field: "nosuch", Constraint: &gen.QueryFieldConstraint{}}}},
		"an order": {OrderBy: &gen.QueryOrder{Field: "nosuch"}},
	} {
		if _, err := numbers.search(all, in); !fault.Is(err, fault.Unsupported) {
			t.Errorf("%s that is not there: %v", what, err)
		}
	}
}

func TestPagesJoinedAreTheWholeAndEnd(t *testing.T) {
	t.Parallel()
	var all, got []number
	for n := range number(25) {
		all = append(all, n)
	}
	first := 10
	in := gen.SearchInput{First: &first}
	for page := 0; ; page++ {
		found, err := numbers.search(all, in)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, found.items...)
		if found.info.HasPreviousPage != (page > 0) || page > 3 {
			t.Fatalf("page %d: %+v", page, found.info)
		}
		if !found.info.HasNextPage {
			break
		}
		in.After = found.info.EndCursor
	}
	if !slices.Equal(got, all) {
		t.Errorf("got %v", got)
	}
	gone := "bm9zdWNo" // the last item of the page before has been deleted
	if found, err := numbers.search(all, gen.SearchInput{After: &gone}); err != nil || len(found.items) > 0 || found.info.HasNextPage {
		t.Errorf("after an item that is gone: %v, %v", found.items, err)
	}
}

// Callers choose what is sent: without a bound on each, the caches would hold as much
// as somebody likes.
func TestOnlyShortDocumentsAreKept(t *testing.T) {
	t.Parallel()
	short := "{ name }"
	long := short + strings.Repeat(" ", maxCached)
	parsed := documents{lru.New[*ast.QueryDocument](queryCache)}
	g := newGuard()
	for text, want := range map[string]bool{short: true, long: false} {
		parsed.Add(t.Context(), text, &ast.QueryDocument{})
		if _, kept := parsed.Get(t.Context(), text); kept != want {
			t.Errorf("parsed, %d bytes: kept %v", len(text), kept)
		}
		if err := g.MutateOperationParameters(t.Context(), &graphql.RawParams{Query: text}); err != nil {
			t.Fatal(err)
		}
		if _, kept := g.affordable.Get(t.Context(), text); kept != want {
			t.Errorf("checked, %d bytes: kept %v", len(text), kept)
		}
	}
	for i := range queryCache + 10 {
		parsed.Add(t.Context(), strconv.Itoa(i), &ast.QueryDocument{})
	}
	if _, kept := parsed.Get(t.Context(), short); kept {
		t.Error("more documents are kept than there is room for")
	}
}
