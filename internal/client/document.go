package client

// The documents that are sent. A test validates each against the schema.
const (
	loginDocument = `mutation($id: ID!, $secret: String!) { apiKeyUser(id: $id, secret: $secret) { jwt validUntil } }`

	poolFields = `id name config description space workersCount busyWorkers pendingRuns`

	createPoolDocument = `mutation($name: String!, $csr: String!, $description: String, $labels: [String!], $space: ID, $limit: Int!) {
		workerPoolCreate(name: $name, certificateSigningRequest: $csr, description: $description, labels: $labels, space: $space, driftDetectionRunLimit: $limit) { ` + poolFields + ` } }`
	poolsDocument   = `{ workerPools { ` + poolFields + ` } }`
	workersDocument = `query($id: ID!) { workerPool(id: $id) { workers { id busy drained status draining metadata version createdAt currentRun { id stackId } } } }`
	drainDocument   = `mutation($pool: ID!, $id: ID!, $drain: Boolean!) { workerDrainSet(workerPool: $pool, id: $id, drain: $drain) { id busy drained status draining metadata version createdAt } }`

	createStackDocument = `mutation($input: StackInput!, $manage: Boolean!, $slug: String) { stackCreate(input: $input, manageState: $manage, slug: $slug) { id ulid name } }`
	updateStackDocument = `mutation($id: ID!, $input: StackInput!) { stackUpdate(id: $id, input: $input) { id ulid name } }`
	stackDocument       = `query($id: ID!) { stack(id: $id) { id ulid name } }`
	setConfigDocument   = `mutation($stack: ID!, $config: ConfigInput!) { stackConfigAdd(stack: $stack, config: $config) { id warning } }`
	outputsDocument     = `query($stack: ID!) { stack(id: $stack) { outputs { id value sensitive } } }`

	integrationFields         = `id host username sshPublicKey isDefault`
	integrationDocument       = `query($id: ID!) { gitIntegration(id: $id) { ` + integrationFields + ` } }`
	integrationsDocument      = `{ gitIntegrations { ` + integrationFields + ` } }`
	createIntegrationDocument = `mutation($host: String!, $username: String, $token: String, $key: String, $known: String, $custom: CustomVCSInput!) {
		gitIntegrationCreate(host: $host, username: $username, privateToken: $token, sshPrivateKey: $key, knownHosts: $known, customInput: $custom) { ` + integrationFields + ` } }`
	updateIntegrationDocument = `mutation($username: String, $token: String, $key: String, $known: String, $default: Boolean, $custom: CustomVCSUpdateInput!) {
		gitIntegrationUpdate(username: $username, privateToken: $token, sshPrivateKey: $key, knownHosts: $known, isDefault: $default, customInput: $custom) { ` + integrationFields + ` } }`
	deleteIntegrationDocument = `mutation($id: ID!) { gitIntegrationDelete(id: $id) { id } }`

	runFields = `id type state stateVersion finished reason waitingBecause commit { hash message } delta { addCount changeCount deleteCount resources }
		history { state stateVersion note username timestamp hasLogs terminal }`

	triggerDocument = `mutation($stack: ID!, $commit: String, $type: RunType) { runTrigger(stack: $stack, commitSha: $commit, runType: $type) { ` + runFields + ` } }`
	taskDocument    = `mutation($stack: ID!, $command: String!, $skip: Boolean) { taskCreate(stack: $stack, command: $command, skipInitialization: $skip) { ` + runFields + ` } }`
	runDocument     = `query($stack: ID!, $run: ID!) { stack(id: $stack) { run(id: $run) { ` + runFields + ` } } }`
	confirmDocument = `mutation($stack: ID!, $run: ID!) { runConfirm(stack: $stack, run: $run) { ` + runFields + ` } }`
	discardDocument = `mutation($stack: ID!, $run: ID!) { runDiscard(stack: $stack, run: $run) { ` + runFields + ` } }`
	logsDocument    = `query($stack: ID!, $run: ID!, $state: RunState!, $version: Int, $token: String) { stack(id: $stack) { run(id: $run) {
		logs(state: $state, stateVersion: $version, token: $token) { exists finished hasMore nextToken messages { message } } } } }`
)

// documents lists all of them for the test.
func documents() map[string]string {
	return map[string]string{
		"login": loginDocument, "create pool": createPoolDocument, "pools": poolsDocument, "workers": workersDocument,
		"drain": drainDocument, "create stack": createStackDocument, "update stack": updateStackDocument, "stack": stackDocument, "set config": setConfigDocument,
		"outputs": outputsDocument, "trigger": triggerDocument, "task": taskDocument, "run": runDocument,
		"integration": integrationDocument, "integrations": integrationsDocument, "create integration": createIntegrationDocument,
		"update integration": updateIntegrationDocument, "delete integration": deleteIntegrationDocument,
		"confirm": confirmDocument, "discard": discardDocument, "logs": logsDocument,
	}
}
