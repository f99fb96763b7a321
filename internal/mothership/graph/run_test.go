package graph_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestARunThatWaitsSaysWhyAndStandsInItsPoolsQueue(t *testing.T) {
	t.Parallel()
	admin := setup(t).admin()
	pool := admin.pool("pool")
	stack := admin.stack("Stack", vars{"workerPool": pool})
	homeless := admin.stack("Homeless", nil)
	run := admin.trigger(stack)
	lost := admin.trigger(homeless)

	var got struct {
		Stack struct {
			Runs []struct {
				ID, State, Type, StackID string
				WaitingBecause           []string
				Finished, IsMostRecent   bool
				CanRetry                 bool
				History                  []struct {
					State    string
					Username string
					HasLogs  bool
					Terminal bool
				}
			}
			Tasks, ProposedRuns []struct{ ID string }
			RunResourceState    struct {
				State    string
				Finished bool
			}
			Other *struct{ ID string }
		}
		Homeless struct {
			Run struct {
				State          string
				WaitingBecause []string
			}
		}
		WorkerPool struct {
			PendingRuns           int
			SearchSchedulableRuns struct {
				Edges []struct {
					Node struct {
						Position int
						StackID  string
						Run      struct{ ID string }
					}
				}
			}
		}
	}
	admin.must(`query($stack: ID!, $homeless: ID!, $pool: ID!, $run: ID!, $lost: ID!) {
		stack(id: $stack) { runs { id state type stackId waitingBecause finished isMostRecent canRetry history { state username hasLogs terminal } }
			tasks { id } proposedRuns { id } runResourceState(id: $run) { state finished } other: run(id: $lost) { id } }
		homeless: stack(id: $homeless) { run(id: $lost) { state waitingBecause } }
		workerPool(id: $pool) { pendingRuns searchSchedulableRuns(input: {first: 100, orderBy: {field: "position", direction: "ASC"}}) { edges { node { position stackId run { id } } } } } }`,
		vars{"stack": stack, "homeless": homeless, "pool": pool, "run": run, "lost": lost}, &got)
	if len(got.Stack.Runs) != 1 {
		t.Fatalf("runs are %+v", got.Stack.Runs)
	}
	r := got.Stack.Runs[0]
	if r.ID != run || r.State != "READY" || r.Type != "TRACKED" || r.StackID != stack || r.Finished || !r.IsMostRecent || r.CanRetry || len(r.WaitingBecause) == 0 {
		t.Errorf("the run is %+v", r)
	}
	if len(r.History) != 2 || r.History[0].State != "READY" || r.History[1].State != "QUEUED" || r.History[0].Terminal {
		t.Errorf("its history is %+v, want newest first", r.History)
	}
	if got.Stack.RunResourceState.State != "READY" || got.Stack.Other != nil {
		t.Errorf("as a resource it is %+v, and another stack's run is %v", got.Stack.RunResourceState, got.Stack.Other)
	}
	if got.Homeless.Run.State != "QUEUED" || len(got.Homeless.Run.WaitingBecause) == 0 {
		t.Errorf("the run without a pool is %+v", got.Homeless.Run)
	}
	queue := got.WorkerPool.SearchSchedulableRuns.Edges
	if got.WorkerPool.PendingRuns != 1 || len(queue) != 1 || queue[0].Node.Position != 1 || queue[0].Node.Run.ID != run || queue[0].Node.StackID != stack {
		t.Errorf("the queue is %+v with %d pending", queue, got.WorkerPool.PendingRuns)
	}
}

func TestActionsOnARunThatDoNotFitAreConflictsWithASentence(t *testing.T) {
	t.Parallel()
	admin := setup(t).admin()
	pool := admin.pool("pool")
	stack := admin.stack("Stack", vars{"workerPool": pool})
	other := admin.stack("Other", vars{"workerPool": pool})
	run := admin.trigger(stack)
	v := vars{"stack": stack, "run": run}
	act := func(mutation string) answer {
		return admin.ask(`mutation($stack: ID!, $run: ID!) { `+mutation+`(stack: $stack, run: $run) { id state finished canRetry } }`, v)
	}
	if a := act("runConfirm"); a.code() != "conflict" || !strings.Contains(a.Errors[0].Message, "READY") {
		t.Errorf("confirming a run that waits: %s", a.body)
	}
	if a := act("runRetry"); a.code() != "conflict" {
		t.Errorf("retrying a run that waits: %s", a.body)
	}
	if a := admin.ask(`mutation($stack: ID!, $run: ID!) { runDiscard(stack: $stack, run: $run) { id } }`, vars{"stack": other, "run": run}); a.code() != "not_found" {
		t.Errorf("discarding another stack's run: %s", a.body)
	}
	for range 2 { // repeated, it gives the run as it is
		if a := act("runDiscard"); !strings.Contains(a.body, `"state":"DISCARDED","finished":true,"canRetry":true`) {
			t.Errorf("discarding: %s", a.body)
		}
	}
	if a := act("runCancel"); a.code() != "conflict" {
		t.Errorf("cancelling a discarded run: %s", a.body)
	}
	if a := act("runRetry"); !strings.Contains(a.body, `"state":"READY"`) || strings.Contains(a.body, run) {
		t.Errorf("retrying: %s", a.body)
	}
	var got struct {
		RunDiscardAll struct {
			DiscardedRuns    []struct{ State string }
			FailedDiscarding []string
		}
	}
	admin.must(`mutation($stack: ID!) { runDiscardAll(stack: $stack) { discardedRuns { state } failedDiscarding } }`, vars{"stack": stack}, &got)
	if len(got.RunDiscardAll.DiscardedRuns) != 1 || got.RunDiscardAll.DiscardedRuns[0].State != "DISCARDED" || len(got.RunDiscardAll.FailedDiscarding) != 0 {
		t.Errorf("discarding all: %+v", got)
	}
	for what, document := range map[string]string{
		"not_found":  `mutation($stack: ID!) { runTrigger(stack: "none") { id } s: runTrigger(stack: $stack) { id } }`,
		"invalid":    `mutation($stack: ID!) { runTrigger(stack: $stack, runType: TESTING) { id } }`,
		"not_found ": `query($stack: ID!) { runStack(runId: "none") { id } stack(id: $stack) { id } }`,
	} {
		if a := admin.ask(document, vars{"stack": stack}); a.code() != strings.TrimSpace(what) {
			t.Errorf("%s: %s", document, a.body)
		}
	}
	if a := admin.ask(`{ runStack(runId: "none") { id } }`, nil); a.Errors[0].Message != "not found" {
		t.Errorf("one client compares this text: %s", a.body)
	}
}

func TestWhatAPersonSaysOfARunTravelsInAHeader(t *testing.T) {
	t.Parallel()
	w := setup(t)
	admin := w.admin()
	stack := admin.stack("Stack", nil)
	w.http.Transport = header{w.http.Transport, "Spacelift-User-Provided-Run-Metadata", `{"ticket":1}`}
	run := admin.trigger(stack)
	var got struct {
		Stack struct{ Run struct{ Metadata []string } }
	}
	admin.must(`query($stack: ID!, $run: ID!) { stack(id: $stack) { run(id: $run) { metadata } } }`, vars{"stack": stack, "run": run}, &got)
	if !slices.Equal(got.Stack.Run.Metadata, []string{`{"ticket":1}`}) {
		t.Errorf("the run's metadata is %q", got.Stack.Run.Metadata)
	}
}

func TestHistoryNamesAnAPIKeyAsItWasNamedAlsoOnceItIsDeleted(t *testing.T) {
	t.Parallel()
	w := setup(t)
	admin := w.admin()
	stack := admin.stack("Stack", vars{"workerPool": admin.pool("pool")})
	var made struct{ APIKeyCreate struct{ ID, Secret string } }
	admin.must(`mutation { apiKeyCreate(input: {name: "nightly deploys", admin: true}) { id secret } }`, nil, &made)
	var login struct{ APIKeyUser struct{ JWT string } }
	w.nobody().must(`mutation($id: ID!, $secret: String!) { apiKeyUser(id: $id, secret: $secret) { jwt } }`,
		vars{"id": made.APIKeyCreate.ID, "secret": made.APIKeyCreate.Secret}, &login)
	key := &caller{w, login.APIKeyUser.JWT}
	run := key.trigger(stack)
	key.must(`mutation($stack: ID!, $run: ID!) { runDiscard(stack: $stack, run: $run) { id } }`, vars{"stack": stack, "run": run}, nil)
	admin.must(`mutation($id: ID!) { apiKeyDelete(id: $id) { deleted } }`, vars{"id": made.APIKeyCreate.ID}, nil)
	var got struct {
		Stack struct {
			Run struct {
				TriggeredBy string
				History     []struct{ State, Username string }
			}
		}
	}
	admin.must(`query($stack: ID!, $run: ID!) { stack(id: $stack) { run(id: $run) { triggeredBy history { state username } } } }`,
		vars{"stack": stack, "run": run}, &got)
	var told []string
	for _, h := range got.Stack.Run.History {
		told = append(told, h.State+" by "+h.Username)
	}
	if want := []string{"DISCARDED by nightly deploys", "READY by spaceport", "QUEUED by nightly deploys"}; !slices.Equal(told, want) {
		t.Errorf("the history is %q, want %q", told, want)
	}
	if want := "api::" + made.APIKeyCreate.ID; got.Stack.Run.TriggeredBy != want {
		t.Errorf("triggered by %q, want %q, which never changes", got.Stack.Run.TriggeredBy, want)
	}
}

type header struct {
	next        http.RoundTripper
	name, value string
}

func (h header) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(h.name, h.value)
	return h.next.RoundTrip(r)
}

func TestAPoolsTokenStaysTheSameUntilAReset(t *testing.T) {
	t.Parallel()
	admin := setup(t).admin()
	pool := admin.pool("pool")
	config := func() string {
		var got struct{ WorkerPool struct{ Config string } }
		admin.must(`query($id: ID!) { workerPool(id: $id) { config } }`, vars{"id": pool}, &got)
		if got.WorkerPool.Config == "" {
			t.Error("the token is empty")
		}
		return got.WorkerPool.Config
	}
	first := config()
	a := admin.ask(`mutation($id: ID!) { workerPoolUpdate(id: $id, name: "renamed", labels: ["x"], description: "d", driftDetectionRunLimit: 3) {
		id name description labels driftDetectionRunLimit space config } }`, vars{"id": pool})
	var updated struct {
		WorkerPoolUpdate struct {
			ID, Name, Description, Space, Config string
			Labels                               []string
			DriftDetectionRunLimit               *int
		}
	}
	if err := json.Unmarshal(a.Data, &updated); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	three := 3
	if u := updated.WorkerPoolUpdate; u.ID != pool || u.Name != "renamed" || u.Config != first || u.Space != "root" || !reflect.DeepEqual(u.Labels, []string{"x"}) ||
		!reflect.DeepEqual(u.DriftDetectionRunLimit, &three) {
		t.Errorf("after the update: %s", a.body)
	}
	admin.must(`mutation($id: ID!, $csr: String!) { workerPoolReset(id: $id, certificateSigningRequest: $csr) { id } }`, vars{"id": pool, "csr": csr(t)}, nil)
	if config() == first {
		t.Error("a reset left the token as it was")
	}
	stack := admin.stack("Stack", vars{"workerPool": pool})
	remove := `mutation($id: ID!) { workerPoolDelete(id: $id) { id deleted config workers { id } } }`
	if a := admin.ask(remove, vars{"id": pool}); !strings.HasPrefix(a.code(), "conflict") {
		t.Errorf("a pool with a stack was deleted: %s", a.body)
	}
	admin.must(`mutation($id: ID!) { stackDelete(id: $id) { deleted } }`, vars{"id": stack}, nil)
	if a := admin.ask(remove, vars{"id": pool}); !strings.Contains(a.body, `"deleted":true,"config":"","workers":[]`) {
		t.Errorf("deleting: %s", a.body)
	}
	if a := admin.ask(`query($id: ID!) { workerPool(id: $id) { id } }`, vars{"id": pool}); a.body != `{"data":{"workerPool":null}}` {
		t.Errorf("a deleted pool: %s", a.body)
	}
}
