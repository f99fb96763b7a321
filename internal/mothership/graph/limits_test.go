package graph_test

import (
	"bytes"
	"fmt"
	"net/http"
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
	logins := ""
	for i := range 30 {
		logins += fmt.Sprintf(` a%d: apiKeyUser(id: \"x\", secret: \"y\") { jwt }`, i)
	}
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
		"an unknown field":               {admin, `{"query":"{ nosuch }"}`, 200, "unsupported.operation"},
		"a document that is none":        {admin, `{"query":"{"}`, 200, "invalid.document"},
		"no operation":                   {admin, `{"query":"fragment a on Query { name }"}`, 200, "invalid.document"},
		"one of two operations":          {admin, `{"query":"query A { name } query B { tier }"}`, 200, "invalid.document"},
		"nothing":                        {admin, ``, 400, "invalid"},
		"null":                           {admin, `null`, 400, "invalid"},
		"no query":                       {admin, `{}`, 400, "invalid"},
		"two requests":                   {admin, `{"query":"{ name }"} {"query":"{ name }"}`, 400, "invalid"},
		"a list of requests":             {admin, `[{"query":"{ name }"}]`, 400, "invalid"},
		"variables that are a list":      {admin, `{"query":"{ name }","variables":["canary"]}`, 400, "invalid"},
		"a query that is a number":       {admin, `{"query":1}`, 400, "invalid"},
		"a null for what must be there":  {admin, `{"query":"mutation($id: ID!) { stackDelete(id: $id) { id } }","variables":{"id":null}}`, 200, "invalid.document"},
		"an object for an id":            {admin, `{"query":"mutation($id: ID!) { stackDelete(id: $id) { id } }","variables":{"id":{"a":"canary"}}}`, 200, "invalid.document"},
		"a field that an input has not":  {admin, `{"query":"mutation($i: ApiKeyInput!) { apiKeyCreate(input: $i) { id } }","variables":{"i":{"name":"n","admin":false,"canarie":1}}}`, 200, "invalid.document"},
		"the same field over and over":   {nobody, `{"query":"{` + strings.Repeat(" viewer { id }", 1500) + `}"}`, 200, "invalid.size"},
		"fragments beside fragments":     {nobody, `{"query":"{ viewer {` + strings.Repeat(" ... { id }", 1500) + ` } }"}`, 200, "invalid.size"},
		"many secrets at once":           {nobody, `{"query":"mutation {` + logins + ` }"}`, 200, "unauthenticated"},
		"no JSON":                        {admin, `hello canary`, 400, "invalid"},
		"a missing variable":             {admin, `{"query":"query($id: ID!) { stack(id: $id) { id } }"}`, 200, "invalid.document"},
		"one that nests too deep":        {admin, `{"query":"{ __schema { types ` + deep + ` } }"}`, 200, "invalid.depth"},
		"one that costs too much":        {admin, `{"query":"` + wide + `"}`, 200, "invalid.complexity"},
		"fragments in fragments":         {nobody, `{"query":"` + bomb + `"}`, 200, "invalid.size"},
		"the schema, by nobody":          {nobody, `{"query":"{ __schema { types { name } } }"}`, 200, "unauthenticated"},
		"a type, by nobody in fragments": {nobody, `{"query":"{ ...a } fragment a on Query { ... { __type(name: \"Run\") { name } } }"}`, 200, "unauthenticated"},
		"too large a request":            {admin, `{"query":"` + strings.Repeat(" ", 9<<20) + `"}`, 413, "invalid"},
		"too many tokens":                {admin, `{"query":"{` + strings.Repeat("name ", 30_000) + `}"}`, 200, "invalid.document"},
	} {
		a := c.caller.post([]byte(c.body))
		if a.status != c.status || a.code() != c.code {
			t.Errorf("%s: got %d %.300s, want %d %s", what, a.status, a.body, c.status, c.code)
		}
		if strings.Contains(a.body, "canary") {
			t.Errorf("%s: the request is repeated: %s", what, a.body)
		}
	}
	// Whoever reads the first message alone learns which variable is meant, and
	// of many errors not all are told.
	if a := admin.post([]byte(`{"query":"query($id: ID!) { stack(id: $id) { id } }"}`)); a.Errors[0].Message != "$id: must be defined" {
		t.Errorf("a missing variable: %s", a.body)
	}
	many := ""
	for i := range 500 {
		many += fmt.Sprintf(" x%d", i)
	}
	if a := admin.post([]byte(`{"query":"{` + many + ` }"}`)); len(a.Errors) != 11 {
		t.Errorf("%d errors are told of many", len(a.Errors))
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

func TestTheAPITakesNothingThatAPageOfAnotherSiteCanSend(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for what, c := range map[string]struct {
		method, media string
		status        int
	}{
		"a link":              {http.MethodGet, "", 405},
		"a preflight request": {http.MethodOptions, "", 405},
		"a form":              {http.MethodPost, "application/x-www-form-urlencoded", 415},
		"plain text":          {http.MethodPost, "text/plain", 415},
		"a file":              {http.MethodPost, "multipart/form-data; boundary=x", 415},
		"no type":             {http.MethodPost, "", 415},
	} {
		request, err := http.NewRequest(c.method, w.url+"/graphql?query={viewer{id}}", strings.NewReader(`{"query":"{ viewer { id } }"}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Origin", "https://elsewhere.example.com")
		if c.media != "" {
			request.Header.Set("Content-Type", c.media)
		}
		response, err := w.http.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != c.status || response.Header.Get("Access-Control-Allow-Origin") != "" || response.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %s %v", what, response.Status, response.Header)
		}
	}
}
