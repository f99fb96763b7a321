package graph_test

import (
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/testkit/apischema"
)

// The least that a caller must be to do each operation, written from the
// specification. "" is anybody, "login" any caller who is logged in.
var operations = map[string]struct {
	least    string
	document string
}{
	"apiKeyUser":           {"", `mutation { apiKeyUser(id: "none", secret: "none") { jwt } }`},
	"viewer":               {"", `{ viewer { id } }`},
	"name":                 {"login", `{ name }`},
	"tier":                 {"login", `{ tier }`},
	"debugInfo":            {"login", `{ debugInfo { version } }`},
	"publicWorkerPool":     {"login", `{ publicWorkerPool { pendingRuns } }`},
	"space":                {"reader", `{ space(id: "root") { id } }`},
	"spaces":               {"reader", `{ spaces { id } }`},
	"workerPool":           {"reader", `{ workerPool(id: "POOL") { id } }`},
	"workerPools":          {"reader", `{ workerPools { id } }`},
	"searchWorkerPools":    {"reader", `{ searchWorkerPools(input: {}) { edges { node { id } } } }`},
	"stack":                {"reader", `{ stack(id: "STACK") { id } }`},
	"stacks":               {"reader", `{ stacks { id } }`},
	"searchStacks":         {"reader", `{ searchStacks(input: {}) { edges { node { id } } } }`},
	"runStack":             {"reader", `{ runStack(runId: "RUN") { id } }`},
	"runCancel":            {"writer", `mutation { runCancel(stack: "STACK", run: "RUN") { id } }`}, // a tracked run: it blocks
	"runStop":              {"writer", `mutation { runStop(stack: "STACK", run: "RUN", note: "") { id } }`},
	"runRetry":             {"writer", `mutation { runRetry(stack: "STACK", run: "RUN") { id } }`},
	"runTrigger":           {"writer", `mutation { runTrigger(stack: "STACK") { id } }`},
	"taskCreate":           {"writer", `mutation { taskCreate(stack: "STACK", command: "true") { id } }`},
	"runConfirm":           {"writer", `mutation { runConfirm(stack: "STACK", run: "RUN") { id } }`},
	"runDiscard":           {"writer", `mutation { runDiscard(stack: "STACK", run: "RUN") { id } }`},
	"runDiscardAll":        {"writer", `mutation { runDiscardAll(stack: "STACK") { failedDiscarding } }`},
	"runPrioritizeSet":     {"writer", `mutation { runPrioritizeSet(stack: "STACK", run: "RUN", prioritize: true) { id } }`},
	"stackLock":            {"writer", `mutation { stackLock(id: "STACK", note: "") { id } }`},
	"stackUnlock":          {"writer", `mutation { stackUnlock(id: "STACK") { id } }`},
	"stackCreate":          {"admin", `mutation { stackCreate(manageState: true, input: {name: "made", branch: "main", repository: "infra", provider: GIT, repositoryURL: "https://git.example.com/infra.git"}) { id } }`},
	"stackUpdate":          {"admin", `mutation { stackUpdate(id: "STACK", input: {name: "changed", branch: "main", repository: "infra", provider: GIT, repositoryURL: "https://git.example.com/infra.git"}) { id } }`},
	"stackEnable":          {"admin", `mutation { stackEnable(id: "STACK") { id } }`},
	"stackDisable":         {"admin", `mutation { stackDisable(id: "STACK") { id } }`},
	"stackConfigAdd":       {"admin", `mutation { stackConfigAdd(stack: "STACK", config: {id: "NAME", type: ENVIRONMENT_VARIABLE, value: "value", writeOnly: true}) { id } }`},
	"stackConfigDelete":    {"admin", `mutation { stackConfigDelete(stack: "STACK", id: "NAME") { id } }`},
	"stackDelete":          {"admin", `mutation { stackDelete(id: "STACK") { id } }`},
	"workerPoolCreate":     {"admin", `mutation { workerPoolCreate(name: "made", certificateSigningRequest: "none") { id } }`},
	"workerPoolUpdate":     {"admin", `mutation { workerPoolUpdate(id: "POOL", name: "changed") { id } }`},
	"workerPoolReset":      {"admin", `mutation { workerPoolReset(id: "POOL", certificateSigningRequest: "none") { id } }`},
	"workerPoolCycle":      {"admin", `mutation { workerPoolCycle(id: "POOL") }`},
	"workerPoolDelete":     {"admin", `mutation { workerPoolDelete(id: "POOL") { id } }`},
	"workerDrainSet":       {"admin", `mutation { workerDrainSet(workerPool: "POOL", id: "none", drain: true) { id } }`},
	"gitIntegration":       {"reader", `{ gitIntegration(id: "none") { id } }`},
	"gitIntegrations":      {"reader", `{ gitIntegrations { id } }`},
	"gitIntegrationCreate": {"admin", `mutation { gitIntegrationCreate(host: "git.example.com", privateToken: "t", customInput: {name: "made", spaceID: "root"}) { id } }`},
	"gitIntegrationUpdate": {"admin", `mutation { gitIntegrationUpdate(customInput: {id: "none", space: "root"}) { id } }`},
	"gitIntegrationDelete": {"admin", `mutation { gitIntegrationDelete(id: "none") { id } }`},
	"apiKey":               {"admin", `{ apiKey(id: "none") { id } }`},
	"apiKeys":              {"admin", `{ apiKeys { id } }`},
	"apiKeyCreate":         {"admin", `mutation { apiKeyCreate(input: {name: "made", admin: false}) { id } }`},
	"apiKeyDelete":         {"admin", `mutation { apiKeyDelete(id: "none") { id } }`},
}

var ranks = map[string]int{"": 0, "login": 1, "reader": 2, "writer": 3, "admin": 4}

func TestEveryOperationIsDeniedToWhoeverIsLessThanItAsksFor(t *testing.T) {
	t.Parallel()
	schema := apischema.Load(t)
	for _, root := range []*ast.Definition{schema.Query, schema.Mutation} {
		for _, field := range root.Fields {
			if _, listed := operations[field.Name]; !listed && !strings.HasPrefix(field.Name, "__") {
				t.Errorf("%s is not in the table of who may do it", field.Name)
			}
		}
	}
	w := setup(t)
	admin := w.admin()
	pool := admin.pool("pool")
	stack := admin.stack("stack", vars{"workerPool": pool})
	run := admin.trigger(stack)
	fill := strings.NewReplacer("POOL", pool, "STACK", stack, "RUN", run)
	for _, who := range []struct {
		rank   string
		caller *caller
	}{
		{"", w.nobody()},
		{"login", w.role("")},
		{"reader", w.role(access.Reader)},
		{"writer", w.role(access.Writer)},
		{"admin", w.role(access.Admin)},
	} {
		for name, operation := range operations {
			if ranks[operation.least] <= ranks[who.rank] {
				// What is allowed is shown to be: it may fail for another reason.
				if name == "apiKeyUser" || who.rank == "admin" && (strings.HasSuffix(name, "Delete") || name == "stackDisable") {
					continue // it would take away what the rest of the table needs
				}
				a := who.caller.ask(fill.Replace(operation.document), nil)
				if code := a.code(); code == "forbidden" || code == "unauthenticated" {
					t.Errorf("%q may not do %s: %s", who.rank, name, a.body)
				}
				continue
			}
			a := who.caller.ask(fill.Replace(operation.document), nil)
			want := "forbidden"
			if who.rank == "" {
				want = "unauthenticated"
			}
			if a.code() != want || !strings.Contains(a.Errors[0].Message, "unauthorized") || a.status != 200 {
				t.Errorf("%q did %s and got %d %s, want %s", who.rank, name, a.status, a.body, want)
			}
		}
	}
}

func TestATokenThatIsNotGoodMakesACallerWhoIsNotLoggedIn(t *testing.T) {
	t.Parallel()
	w := setup(t)
	admin := w.admin()
	for what, jwt := range map[string]string{
		"no JWT": "hello", "another signature": admin.jwt[:len(admin.jwt)-4] + "AAAA",
		"no algorithm": "eyJhbGciOiJub25lIn0." + strings.Split(admin.jwt, ".")[1] + ".",
	} {
		a := (&caller{w, jwt}).ask(`{ workerPools { id } }`, nil)
		if a.status != 200 || a.code() != "unauthenticated" {
			t.Errorf("%s: got %d %s", what, a.status, a.body)
		}
		if a := (&caller{w, jwt}).ask(`{ viewer { id } }`, nil); a.body != `{"data":{"viewer":null}}` {
			t.Errorf("%s: the viewer is %s", what, a.body)
		}
	}
	var got struct{ APIKeyCreate struct{ ID, Secret string } }
	admin.must(`mutation { apiKeyCreate(input: {name: "short", admin: true}) { id secret } }`, nil, &got)
	var session struct{ APIKeyUser struct{ JWT string } }
	w.nobody().must(`mutation($id: ID!, $secret: String!) { apiKeyUser(id: $id, secret: $secret) { jwt } }`,
		vars{"id": got.APIKeyCreate.ID, "secret": got.APIKeyCreate.Secret}, &session)
	short := &caller{w, session.APIKeyUser.JWT}
	short.must(`{ workerPools { id } }`, nil, nil)
	admin.must(`mutation($id: ID!) { apiKeyDelete(id: $id) { deleted } }`, vars{"id": got.APIKeyCreate.ID}, nil)
	if a := short.ask(`{ workerPools { id } }`, nil); a.code() != "unauthenticated" {
		t.Errorf("a deleted key still reads: %s", a.body)
	}
	wrong := w.nobody().ask(`mutation($id: ID!) { apiKeyUser(id: $id, secret: "wrong") { jwt } }`, vars{"id": got.APIKeyCreate.ID})
	if wrong.code() != "unauthenticated.api_key" || !strings.Contains(wrong.Errors[0].Message, "unauthorized") {
		t.Errorf("a wrong secret: %s", wrong.body)
	}
}

func TestThePoolsTokenIsEmptyForWhoMayNotUpdateIt(t *testing.T) {
	t.Parallel()
	w := setup(t)
	admin := w.admin()
	pool := admin.pool("pool")
	for who, c := range map[string]*caller{"reader": w.role(access.Reader), "writer": w.role(access.Writer)} {
		a := c.ask(`query($id: ID!) { workerPool(id: $id) { config } }`, vars{"id": pool})
		if a.body != `{"data":{"workerPool":{"config":""}}}` {
			t.Errorf("%s: got %s", who, a.body)
		}
	}
}
