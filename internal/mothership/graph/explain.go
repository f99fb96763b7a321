package graph

import (
	"fmt"
	"strings"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// maxErrors is how many errors of one document are told.
const maxErrors = 10

// Rules of the language that a document of a client breaks which asks for what
// this version does not have, the one that says most about it first.
var unknownRules = []string{"FieldsOnCorrectTypeWithoutSuggestions", "FieldsOnCorrectType", "KnownArgumentNames", "KnownTypeNames"}

// explain says what is wrong with a document so that a person can tell what to
// do. Public clients print the first message and nothing else: it is the one that
// names an operation which is missing here, if there is one.
func explain(list gqlerror.List) gqlerror.List {
	first, rank := -1, len(unknownRules)
	for i, e := range list {
		for r, rule := range unknownRules {
			if e.Rule == rule && r < rank {
				first, rank = i, r
			}
		}
	}
	if first > 0 {
		list[0], list[first] = list[first], list[0]
	}
	if more := len(list) - maxErrors; more > 0 {
		list = append(list[:maxErrors:maxErrors], invalid(fmt.Sprintf("and %d more errors", more)))
	}
	for i, e := range list {
		code, _ := e.Extensions["code"].(string)
		switch {
		case code == "COMPLEXITY_LIMIT_EXCEEDED":
			extend(e, "code", string(fault.Invalid)+".complexity")
			e.Message += ": ask for fewer lists within lists, or for shorter pages"
			continue
		case !strings.HasPrefix(code, "GRAPHQL_"):
			continue // one of ours
		}
		extend(e, "code", string(fault.Invalid)+".document")
		if i == 0 && first >= 0 {
			extend(e, "code", string(fault.Unsupported)+".operation")
			e.Message = strings.TrimSuffix(e.Message, ".") + ": this version of Spaceport does not offer it"
		}
		// The path of a variable is part of the sentence: who reads it sees no more.
		if len(e.Path) > 1 && e.Path.String() != "" && strings.HasPrefix(e.Path.String(), "variable.") {
			e.Message = "$" + strings.TrimPrefix(e.Path.String(), "variable.") + ": " + e.Message
		}
	}
	return list
}
