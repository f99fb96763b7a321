package graph_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// What public clients ask of a stack. The names, the types of variables and which
// of them may be null are the protocol; each selection is at least what the
// clients read.
const (
	clientVendor = ` vendorConfig { __typename
		... on StackConfigVendorAnsible { playbook }
		... on StackConfigVendorCloudFormation { entryTemplateFile region stackName templateBucket }
		... on StackConfigVendorKubernetes { namespace kubectlVersion kubernetesWorkflowTool }
		... on StackConfigVendorOpenTofu { concise externalStateAccessEnabled useSmartSanitization version openTofuWorkflowTool: workflowTool workspace }
		... on StackConfigVendorPulumi { loginURL stackName }
		... on StackConfigVendorTerraform { useSmartSanitization version workflowTool workspace externalStateAccessEnabled }
		... on StackConfigVendorTerragrunt { terraformVersion terragruntVersion useRunAll useSmartSanitization useStateManagement prefixResourceNamesWithModuleName skipReplanWhenRunAll skipReplan tool } } `
	clientHooks = ` beforeInit afterInit beforePlan afterPlan beforeApply afterApply beforePerform afterPerform beforeDestroy afterDestroy `
	// The provider's, which looks into integrations without asking.
	providerStack = ` id administrative afterRun` + clientHooks + `autodeploy autoretry branch deleting description isDisabled githubActionDeploy
		integrations { aws { assumedRoleArn assumeRolePolicyStatement externalID generateCredentialsInWorker durationSeconds region }
			driftDetection { ignoreState reconcile schedule timezone } gcp { serviceAccountEmail tokenScopes }
			webhooks { id enabled endpoint secret retryOnFailure } }
		labels localPreviewEnabled enableWellKnownSecretMasking enableSensitiveOutputUpload managesStateFile name namespace projectRoot
		additionalProjectGlobs gitSparseCheckoutPaths protectFromDeletion provider repository repositoryURL runnerImage space
		spaceDetails { id description name inheritEntities parentSpace labels } terraformVersion vcsIntegration { id isDefault }` +
		clientVendor + `workerPool { id } `
	// The command line's list.
	listedStack = ` id administrative autodeploy autoretry blocker { id }` + clientHooks + `branch canWrite createdAt deleted deleting description
		labels localPreviewEnabled lockedBy managesStateFile name namespace projectRoot provider repository runnerImage starred state
		stateSetAt terraformVersion spaceDetails { id name description parentSpace }
		trackedCommit { authorLogin authorName hash message timestamp url } trackedCommitSetBy vendorConfig { __typename } workerPool { id name } `
	clientConfig = ` id checksum type value writeOnly description `
	clientPool   = ` id config name description labels space driftDetectionRunLimit `
	pageInfo     = ` pageInfo { endCursor hasNextPage hasPreviousPage } `
)

// step is one request of a client. Texts of its variables in <> stand for what an
// earlier step kept.
type step struct {
	name     string
	document string
	vars     string // JSON
	has      string // what the answer has to contain
	keep     string // name under which the id of the answer's only root field is kept
}

// clientStory is what the command line and the Terraform provider of Spacelift
// send, in an order in which each can succeed.
var clientStory = []step{
	{name: "self-hosted version", document: `{ debugInfo { selfHostedVersion } }`, has: `selfHostedVersion`},
	{name: "viewer", document: `{ viewer { id name } }`, has: `"name":"admin"`},
	{
		name: "pool without a description", document: `mutation($csr: String!, $description: String, $drift_detection_run_limit: Int!, $labels: [String!], $name: String!, $space: ID) {
			workerPoolCreate(name: $name, certificateSigningRequest: $csr, description: $description, labels: $labels, space: $space, driftDetectionRunLimit: $drift_detection_run_limit) {` + clientPool + `} }`,
		vars: `{"csr": "<csr>", "description": null, "drift_detection_run_limit": -1, "labels": null, "name": "plain", "space": null}`,
		has:  `"driftDetectionRunLimit":-1`,
	},
	{
		name: "pool", document: `mutation($csr: String!, $description: String!, $drift_detection_run_limit: Int!, $labels: [String!], $name: String!, $space: ID) {
			workerPoolCreate(name: $name, certificateSigningRequest: $csr, description: $description, labels: $labels, space: $space, driftDetectionRunLimit: $drift_detection_run_limit) {` + clientPool + `} }`,
		vars: `{"csr": "<csr>", "description": "of the test", "drift_detection_run_limit": -1, "labels": ["one"], "name": "pool", "space": null}`,
		has:  `"labels":["one"]`, keep: "pool",
	},
	{
		name: "pool read", document: `query($id: ID!) { workerPool(id: $id) {` + clientPool + `} }`, vars: `{"id": "<pool>"}`,
		has: `"description":"of the test"`,
	},
	{name: "pools, by the provider", document: `{ workerPools() {` + clientPool + `} }`, has: `"name":"pool"`},
	{
		name: "pool changed", document: `mutation($description: String!, $drift_detection_run_limit: Int!, $id: ID!, $labels: [String!], $name: String!, $space: ID) {
			workerPoolUpdate(id: $id, name: $name, description: $description, labels: $labels, space: $space, driftDetectionRunLimit: $drift_detection_run_limit) {` + clientPool + `} }`,
		vars: `{"description": "changed", "drift_detection_run_limit": -1, "id": "<pool>", "labels": ["one"], "name": "pool", "space": "root"}`,
		has:  `"description":"changed"`,
	},
	{
		name: "stack", document: `mutation($input: StackInput!, $manageState: Boolean!, $slug: String, $stackObjectID: String) {
			stackCreate(input: $input, manageState: $manageState, stackObjectID: $stackObjectID, slug: $slug) {` + providerStack + `} }`,
		vars: `{"input": <stack>, "manageState": true, "slug": null, "stackObjectID": null}`, has: `"id":"web"`, keep: "web",
	},
	{name: "stack read", document: `query($id: ID!) { stack(id: $id) {` + providerStack + `} }`, vars: `{"id": "web"}`, has: `"webhooks":[]`},
	{name: "no such stack", document: `query($id: ID!) { stack(id: $id) {` + providerStack + `} }`, vars: `{"id": "none"}`, has: `"stack":null`},
	{name: "stack changed", document: `mutation($id: ID!, $input: StackInput!) { stackUpdate(id: $id, input: $input) {` + providerStack + `} }`, vars: `{"id": "web", "input": <stack>}`, has: `"id":"web"`},
	{
		name: "stacks, by the provider", document: `query($input: SearchInput!) { searchStacks(input: $input) { edges { node {` + providerStack + `} }` + pageInfo + `} }`,
		vars: `{"input": {"first": 50, "after": null, "fullTextSearch": null, "predicates": [], "orderBy": null}}`, has: `"hasNextPage":false`,
	},
	{
		name: "stacks, by the command line", document: `query($input: SearchInput!) { searchStacks(input: $input) { edges { node {` + listedStack + `} }` + pageInfo + `} }`,
		vars: `{"input": {"first": 30, "after": null, "fullTextSearch": null, "predicates": null, "orderBy": {"field": "starred", "direction": "DESC"}}}`, has: `"id":"web"`,
	},
	{name: "stack, by the command line", document: `query($id: ID!) { stack(id: $id) {` + listedStack + `} }`, vars: `{"id": "web"}`, has: `"StackConfigVendorTerraform"`},
	{
		name: "stack shown", document: `query($stackId: ID!) { stack(id: $stackId) { id attachedContexts { contextId contextName priority config { id checksum runtime type writeOnly } }
			attachedPolicies { policyId policyName policyType } config { id checksum runtime type writeOnly } additionalProjectGlobs
			moduleVersionsUsed { id number module { id name owner } } blocker { id } stateSetAt trackedCommit { hash }` + clientVendor + `workerPool { id name } } }`,
		vars: `{"stackId": "web"}`, has: `"moduleVersionsUsed":[]`,
	},
	{name: "stack's dependencies", document: `query($id: ID!) { stack(id: $id) { id labels space name dependsOn { stack { id name } dependsOnStack { id name } } isDependedOnBy { stack { id name } dependsOnStack { id name } } } }`, vars: `{"id": "web"}`, has: `"dependsOn":[]`},
	{
		name: "variable", document: `mutation($config: ConfigInput!, $stack: ID!) { stackConfigAdd(stack: $stack, config: $config) {` + clientConfig + `} }`,
		vars: `{"stack": "web", "config": {"id": "NAME", "type": "ENVIRONMENT_VARIABLE", "value": "shown", "writeOnly": false, "description": null}}`, has: `"value":"shown"`,
	},
	{
		name: "secret file", document: `mutation($config: ConfigInput!, $stack: ID!) { stackConfigAdd(stack: $stack, config: $config) {` + clientConfig + `} }`,
		vars: `{"stack": "web", "config": {"id": "dir/file", "type": "FILE_MOUNT", "value": "aGVsbG8=", "writeOnly": true, "description": ""}}`, has: `"value":null`,
	},
	{name: "variable read", document: `query($id: ID!, $stack: ID!) { stack(id: $stack) { configElement(id: $id) {` + clientConfig + `} } }`, vars: `{"id": "NAME", "stack": "web"}`, has: `"value":"shown"`},
	{name: "no such variable", document: `query($id: ID!, $stack: ID!) { stack(id: $stack) { configElement(id: $id) {` + clientConfig + `} } }`, vars: `{"id": "OTHER", "stack": "web"}`, has: `"configElement":null`},
	{
		name: "environment listed", document: `query($stack: ID!) { stack(id: $stack) { runtimeConfig { context { id contextName } element { id checksum createdAt runtime type value writeOnly } }
			attachedContexts { contextId contextName priority isAutoattached config { id checksum createdAt runtime type value writeOnly } } } }`,
		vars: `{"stack": "web"}`, has: `"id":"dir/file"`,
	},
	{name: "variable deleted", document: `mutation($id: ID!, $stack: ID!) { stackConfigDelete(stack: $stack, id: $id) {` + clientConfig + `} }`, vars: `{"id": "NAME", "stack": "web"}`, has: `"id":"NAME"`},
	{name: "locked", document: `mutation($note: String!, $stack: ID!) { stackLock(id: $stack, note: $note) { id } }`, vars: `{"note": "", "stack": "web"}`, has: `"id":"web"`},
	{name: "unlocked", document: `mutation($stack: ID!) { stackUnlock(id: $stack) { id } }`, vars: `{"stack": "web"}`, has: `"id":"web"`},
	{name: "disabled", document: `mutation($stack: ID!) { stackDisable(id: $stack) { id isDisabled } }`, vars: `{"stack": "web"}`, has: `"isDisabled":true`},
	{name: "enabled", document: `mutation($stack: ID!) { stackEnable(id: $stack) { id isDisabled } }`, vars: `{"stack": "web"}`, has: `"isDisabled":false`},
	{
		name: "deployed", document: `mutation($forceApply: ForceApplyMode, $runtimeConfig: RuntimeConfigInput, $sha: String, $stack: ID!, $type: RunType) {
			runTrigger(stack: $stack, commitSha: $sha, runType: $type, runtimeConfig: $runtimeConfig, forceApply: $forceApply) { id } }`,
		vars: `{"forceApply": null, "runtimeConfig": null, "sha": null, "stack": "web", "type": "TRACKED"}`, has: `"id"`, keep: "run",
	},
	{
		name: "previewed", document: `mutation($runtimeConfig: RuntimeConfigInput, $sha: String, $stack: ID!, $type: RunType) {
			runTrigger(stack: $stack, commitSha: $sha, runType: $type, runtimeConfig: $runtimeConfig) { id } }`,
		vars: `{"runtimeConfig": null, "sha": null, "stack": "web", "type": "PROPOSED"}`, has: `"id"`,
	},
	{name: "task", document: `mutation($command: String!, $noinit: Boolean, $stack: ID!) { taskCreate(stack: $stack, command: $command, skipInitialization: $noinit) { id } }`, vars: `{"command": "true", "noinit": true, "stack": "web"}`, has: `"id"`},
	{
		name: "runs", document: `query($before: ID, $stackId: ID!) { stack(id: $stackId) { runs(before: $before) { id branch canRetry comments { body createdAt username } commit { authorLogin authorName hash } createdAt
			delta { addCount changeCount deleteCount resources } driftDetection expired isMostRecent needsApproval state title triggeredBy } } }`,
		vars: `{"before": null, "stackId": "web"}`, has: `"id":"<run>"`,
	},
	{name: "history", document: `query($run: ID!, $stack: ID!) { stack(id: $stack) { run(id: $run) { history { hasLogs note state stateVersion terminal timestamp username } } } }`, vars: `{"run": "<run>", "stack": "web"}`, has: `"state":"QUEUED"`},
	{
		name: "logs", document: `query($run: ID!, $stack: ID!, $state: RunState!, $stateVersion: Int!, $token: String) { stack(id: $stack) { run(id: $run) {
			logs(state: $state, token: $token, stateVersion: $stateVersion) { exists finished hasMore messages { message } nextToken } } } }`,
		vars: `{"run": "<run>", "stack": "web", "state": "QUEUED", "stateVersion": 1, "token": null}`, has: `"messages":[]`,
	},
	{name: "changes", document: `query($run: ID!, $stack: ID!) { stack(id: $stack) { run(id: $run) { changesV3(input: {}) { resources { address previousAddress metadata { type } } } } } }`, vars: `{"run": "<run>", "stack": "web"}`, has: `"changesV3":[]`},
	{name: "prioritised", document: `mutation($prioritize: Boolean!, $runId: ID!, $stackId: ID!) { runPrioritizeSet(stack: $stackId, run: $runId, prioritize: $prioritize) { id } }`, vars: `{"prioritize": true, "runId": "<run>", "stackId": "web"}`, has: `"id":"<run>"`},
	{name: "cancelled", document: `mutation($run: ID!, $stack: ID!) { runCancel(stack: $stack, run: $run) { id } }`, vars: `{"run": "<run>", "stack": "web"}`, has: `"id":"<run>"`},
	{name: "stopped, as it is already", document: `mutation($note: String!, $run: ID!, $stack: ID!) { runStop(stack: $stack, run: $run, note: $note) { id } }`, vars: `{"note": "Stopped by spacectl", "run": "<run>", "stack": "web"}`, has: `"id":"<run>"`},
	{name: "retried", document: `mutation($run: ID!, $stack: ID!) { runRetry(stack: $stack, run: $run) { id } }`, vars: `{"run": "<run>", "stack": "web"}`, has: `"id"`, keep: "again"},
	{name: "discarded", document: `mutation($run: ID!, $stack: ID!) { runDiscard(stack: $stack, run: $run) { id } }`, vars: `{"run": "<again>", "stack": "web"}`, has: `"id":"<again>"`},
	{name: "all discarded", document: `mutation($stack: ID!) { runDiscardAll(stack: $stack) { discardedRuns { id } failedDiscarding } }`, vars: `{"stack": "web"}`, has: `"failedDiscarding":[]`},
	{name: "outputs", document: `query($stackId: ID!) { stack(id: $stackId) { id name outputs { id sensitive description value } } }`, vars: `{"stackId": "web"}`, has: `"outputs":[]`},
	{name: "pools, by the command line", document: `{ workerPools { id name description pendingRuns busyWorkers workers { id } } }`, has: `"pendingRuns":0`},
	{name: "workers", document: `query($workerPool: ID!) { workerPool(id: $workerPool) { workers { id busy drained metadata } } }`, vars: `{"workerPool": "<pool>"}`, has: `"workers":[]`},
	{name: "cycled", document: `mutation($workerPoolId: ID!) { workerPoolCycle(id: $workerPoolId) }`, vars: `{"workerPoolId": "<pool>"}`, has: `"workerPoolCycle":true`},
	{name: "stack deleted", document: `mutation($id: ID!) { stackDelete(id: $id, destroyResources: false) { deleted deleting } }`, vars: `{"id": "web"}`, has: `"deleted":true`},
	{name: "pool deleted", document: `mutation($id: ID!) { workerPoolDelete(id: $id) { id } }`, vars: `{"id": "<pool>"}`, has: `"id":"<pool>"`},
}

func TestPublicClientsAreUnderstood(t *testing.T) {
	t.Parallel()
	w := setup(t)
	admin := w.admin()
	kept := map[string]string{"csr": base64.StdEncoding.EncodeToString([]byte(csr(t)))}
	fill := func(text string) string {
		for name, value := range kept {
			text = strings.ReplaceAll(text, "<"+name+">", value)
		}
		return text
	}
	for _, s := range clientStory {
		if s.vars == "" {
			s.vars = "{}"
		}
		if kept["pool"] != "" {
			in, err := json.Marshal(input("Web", vars{"workerPool": kept["pool"], "labels": []string{"one"}, "vendorConfig": nil, "space": nil, "projectRoot": ""}))
			if err != nil {
				t.Fatal(err)
			}
			kept["stack"] = string(in)
		}
		var v vars
		if err := json.Unmarshal([]byte(fill(s.vars)), &v); err != nil {
			t.Fatalf("%s: %v in %s", s.name, err, fill(s.vars))
		}
		a := admin.ask(s.document, v)
		if a.status != 200 || len(a.Errors) > 0 || !strings.Contains(a.body, fill(s.has)) {
			t.Fatalf("%s: want %s in %d %.500s", s.name, fill(s.has), a.status, a.body)
		}
		if s.keep == "" {
			continue
		}
		var root map[string]struct{ ID string }
		if err := json.Unmarshal(a.Data, &root); err != nil {
			t.Fatalf("%s: %v in %s", s.name, err, a.body)
		}
		for _, made := range root {
			kept[s.keep] = made.ID
		}
	}
}

// What this version does not have is said in the first message: clients show that
// one alone.
func TestAClientIsToldWhatThisVersionDoesNotOffer(t *testing.T) {
	t.Parallel()
	admin := setup(t).admin()
	for document, want := range map[string]string{
		`mutation($decision: RunReviewDecision!, $note: String!, $run: ID, $stack: ID!) { runReview(stack: $stack, run: $run, decision: $decision, note: $note) { id } }`: `"runReview"`,
		`mutation($input: StateDownloadUrlInput!) { stateDownloadUrl(input: $input) { url } }`:                                                                            `"stateDownloadUrl"`,
		`query($input: SearchInput!) { searchModules(input: $input) { edges { node { id } } } }`:                                                                          `"searchModules"`,
		`{ name tier spaceliftAwsAccountId }`: `"spaceliftAwsAccountId"`,
	} {
		a := admin.ask(document, nil)
		if a.status != 200 || a.code() != "unsupported.operation" || !strings.Contains(a.Errors[0].Message, want) ||
			!strings.HasSuffix(a.Errors[0].Message, "this version of Spaceport does not offer it") || strings.Contains(a.body, "Did you mean") {
			t.Errorf("%s: got %d %s", document, a.status, a.body)
		}
	}
}
