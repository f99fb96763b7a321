package graph

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/graph/gen"
)

const (
	defaultPage = 50
	maxPage     = 100
)

func pageSize(in gen.SearchInput) int {
	switch {
	case in.First == nil || *in.First <= 0:
		return defaultPage
	case *in.First > maxPage:
		return maxPage
	}
	return *in.First
}

// searchable says how things of one kind are searched.
type searchable[T any] struct {
	id    func(T) string
	texts func(T) []string // what a full text search looks through
	// strings and booleans are the fields that a predicate may name.
	strings  map[string]func(T) []string
	booleans map[string]func(T) bool
	// orders are the fields to order by; equal ones keep the order given.
	orders map[string]func(a, b T) int
}

// page is one page of a search.
type page[T any] struct {
	items  []T
	before int // items of the result before this page
	info   *gen.PageInfo
}

// search filters, orders and cuts all. A field that cannot be searched is refused:
// to leave its predicate out would answer too much.
func (s searchable[T]) search(all []T, in gen.SearchInput) (page[T], error) {
	found := slices.Clone(all)
	if words := strings.ToLower(strings.TrimSpace(text(in.FullTextSearch))); words != "" {
		found = slices.DeleteFunc(found, func(one T) bool {
			return !slices.ContainsFunc(s.texts(one), func(t string) bool { return strings.Contains(strings.ToLower(t), words) })
		})
	}
	for _, p := range in.Predicates {
		match, err := s.predicate(p)
		if err != nil {
			return page[T]{}, err
		}
		exclude := yes(p.Exclude)
		found = slices.DeleteFunc(found, func(one T) bool { return match(one) == exclude })
	}
	if in.OrderBy != nil {
		compare, ok := s.orders[in.OrderBy.Field]
		if !ok {
			return page[T]{}, fault.New(fault.Unsupported, "results cannot be ordered by %q", in.OrderBy.Field)
		}
		slices.SortStableFunc(found, func(a, b T) int {
			if strings.EqualFold(in.OrderBy.Direction, "DESC") {
				return compare(b, a)
			}
			return compare(a, b)
		})
	}
	return s.cut(found, in)
}

func (s searchable[T]) predicate(p *gen.QueryPredicate) (func(T) bool, error) {
	if p.Constraint == nil {
		return nil, fault.New(fault.Invalid, "the predicate of %q has no constraint", p.Field)
	}
	if field, ok := s.booleans[p.Field]; ok {
		return func(one T) bool { return slices.Contains(p.Constraint.BooleanEquals, field(one)) }, nil
	}
	field, ok := s.strings[p.Field]
	if !ok {
		return nil, fault.New(fault.Unsupported, "results cannot be searched by %q", p.Field)
	}
	wanted := slices.Concat(p.Constraint.StringMatches, p.Constraint.EnumEquals)
	return func(one T) bool {
		return slices.ContainsFunc(field(one), func(v string) bool { return slices.Contains(wanted, v) })
	}, nil
}

// cut takes the page after the cursor: the id of the last item of the page before.
func (s searchable[T]) cut(found []T, in gen.SearchInput) (page[T], error) {
	start := 0
	if after := text(in.After); after != "" {
		id, err := base64.RawURLEncoding.DecodeString(after)
		if err != nil {
			return page[T]{}, fault.New(fault.Invalid, "%q is no cursor of a page", after)
		}
		at := slices.IndexFunc(found, func(one T) bool { return s.id(one) == string(id) })
		if at < 0 {
			// It went away between two pages: to begin anew would repeat the first.
			start = len(found)
		} else {
			start = at + 1
		}
	}
	end := min(start+pageSize(in), len(found))
	info := &gen.PageInfo{HasNextPage: end < len(found), HasPreviousPage: start > 0}
	if end > start {
		info.EndCursor = some(base64.RawURLEncoding.EncodeToString([]byte(s.id(found[end-1]))))
	}
	return page[T]{items: found[start:end], before: start, info: info}, nil
}
