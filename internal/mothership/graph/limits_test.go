package graph_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestOddDocumentsAreAnsweredSoThatClientsCanReadTheAnswer(t *testing.T) {
	t.Parallel()
	w := setup(t)
	admin, nobody := w.admin(), w.nobody()
	deep := strings.Repeat("{ ofType ", 20) + "{ name" + strings.Repeat(" }", 21)
	wide := "{" + strings.Repeat(` x: stacks { runs { id } }`, 1)
	for i := range 200 {
		wide += fmt.Sprintf(" s%d: stacks { runs { id state title type } }", i)
	}
	wide = strings.Replace(wide, " x: stacks { runs { id } }", "", 1) + " }"
	bomb := "{ ...f0 }"
	for i := range 60 {
		bomb += fmt.Sprintf(" fragment f%d on Query { ...f%d ...f%d }", i, i+1, i+1)
	}
	bomb += " fragment f60 on Query { name }"
	for what, c := range map[string]struct {
		caller *caller
		body   string
		status int
		code   string
	}{
		"an unknown field":               {admin, `{"query":"{ nosuch }"}`, 200, "GRAPHQL_VALIDATION_FAILED"},
		"a document that is none":        {admin, `{"query":"{"}`, 200, "GRAPHQL_PARSE_FAILED"},
		"no JSON":                        {admin, `hello canary`, 400, "invalid"},
		"a missing variable":             {admin, `{"query":"query($id: ID!) { stack(id: $id) { id } }"}`, 200, "GRAPHQL_VALIDATION_FAILED"},
		"one that nests too deep":        {admin, `{"query":"{ __schema { types ` + deep + ` } }"}`, 200, "invalid.depth"},
		"one that costs too much":        {admin, `{"query":"` + wide + `"}`, 200, "COMPLEXITY_LIMIT_EXCEEDED"},
		"fragments in fragments":         {nobody, `{"query":"` + bomb + `"}`, 200, "invalid.size"},
		"the schema, by nobody":          {nobody, `{"query":"{ __schema { types { name } } }"}`, 200, "unauthenticated"},
		"a type, by nobody in fragments": {nobody, `{"query":"{ ...a } fragment a on Query { ... { __type(name: \"Run\") { name } } }"}`, 200, "unauthenticated"},
		"too large a request":            {admin, `{"query":"` + strings.Repeat(" ", 9<<20) + `"}`, 413, "invalid"},
		"too many tokens":                {admin, `{"query":"{` + strings.Repeat("name ", 30_000) + `}"}`, 200, "GRAPHQL_PARSE_FAILED"},
	} {
		a := c.caller.post([]byte(c.body))
		if a.status != c.status || a.code() != c.code {
			t.Errorf("%s: got %d %.300s, want %d %s", what, a.status, a.body, c.status, c.code)
		}
		if strings.Contains(a.body, "canary") {
			t.Errorf("%s: the request is repeated: %s", what, a.body)
		}
	}
	// What the public clients send passes.
	for what, document := range map[string]string{
		"introspection":          introspection,
		"empty argument lists":   `{ workerPools() { id } spaces ( ) { id } }`,
		"the autoscaler's query": `{ workerPools { id pendingRuns workers { id busy drained metadata createdAt availableAt } } }`,
		"a page of stacks":       `{ searchStacks(input: {first: 50, orderBy: {field: "starred", direction: "DESC"}}) { edges { node { id name state labels runs { id state title } } } pageInfo { endCursor hasNextPage } } }`,
	} {
		if a := admin.ask(document, nil); len(a.Errors) > 0 || a.status != 200 {
			t.Errorf("%s: %d %.300s", what, a.status, a.body)
		}
	}
	if a := admin.post(bytes.Repeat([]byte(`[`), 10)); a.status != 400 {
		t.Errorf("a batch: %d %s", a.status, a.body)
	}
}

const introspection = `query IntrospectionQuery { __schema { queryType { name } mutationType { name } types { ...FullType } directives { name locations args { ...InputValue } } } }
fragment FullType on __Type { kind name description fields(includeDeprecated: true) { name args { ...InputValue } type { ...TypeRef } isDeprecated }
	inputFields { ...InputValue } interfaces { ...TypeRef } enumValues(includeDeprecated: true) { name } possibleTypes { ...TypeRef } }
fragment InputValue on __InputValue { name type { ...TypeRef } defaultValue }
fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } }`
