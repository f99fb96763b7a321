package graph_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
)

func TestAFieldThatWouldHaveNoEffectIsRefusedByItsName(t *testing.T) {
	t.Parallel()
	admin := setup(t).admin()
	vendor := func(name string, config vars) vars { return vars{"vendorConfig": vars{name: config}} }
	for field, changes := range map[string]vars{
		"StackInput.additionalProjectGlobs":                            {"additionalProjectGlobs": []string{"modules/**"}},
		"StackInput.administrative":                                    {"administrative": true},
		"StackInput.autoretry":                                         {"autoretry": true},
		"StackInput.localPreviewEnabled":                               {"localPreviewEnabled": true},
		"StackInput.provider GITHUB without a repositoryURL":           {"provider": "GITHUB", "repositoryURL": nil},
		"StackInput.vendorConfig.ansible":                              vendor("ansible", vars{"playbook": "p"}),
		"StackInput.vendorConfig.cloudFormation":                       vendor("cloudFormation", vars{"entryTemplateFile": "f", "region": "r", "stackName": "s", "templateBucket": "b"}),
		"StackInput.vendorConfig.kubernetes":                           vendor("kubernetes", vars{"namespace": "n"}),
		"StackInput.vendorConfig.pulumi":                               vendor("pulumi", vars{"loginURL": "u", "stackName": "s"}),
		"StackInput.vendorConfig.terragrunt":                           vendor("terragrunt", vars{"useRunAll": false, "useSmartSanitization": false}),
		"StackInput.vendorConfig.terraform.externalStateAccessEnabled": vendor("terraform", vars{"externalStateAccessEnabled": true}),
		"StackInput.vendorConfig.opentofu.externalStateAccessEnabled":  vendor("opentofu", vars{"externalStateAccessEnabled": true}),
		"StackInput.vendorConfig.opentofu.concise false":               vendor("opentofu", vars{"concise": false}),
	} {
		for _, document := range []string{createStack, `mutation($input: StackInput!) { stackUpdate(id: "none", input: $input) { id } }`} {
			v := vars{"input": input("refused", changes)}
			if document == createStack {
				v["manage"] = true
			}
			a := admin.ask(document, v)
			if a.code() != "unsupported" || !strings.HasPrefix(a.Errors[0].Message, field+" is not supported") {
				t.Errorf("%s: got %s", field, a.body)
			}
		}
	}
	stack := admin.stack("Plain", nil)
	for field, document := range map[string]string{
		"stackCreate.stackObjectID":    `mutation { stackCreate(manageState: true, stackObjectID: "x", input: {name: "n", branch: "b", repository: "r"}) { id } }`,
		"stackDelete.destroyResources": `mutation { stackDelete(id: "` + stack + `", destroyResources: true) { id } }`,
		"runTrigger.runtimeConfig":     `mutation { runTrigger(stack: "` + stack + `", runtimeConfig: {}) { id } }`,
		"runTrigger.forceApply":        `mutation { runTrigger(stack: "` + stack + `", forceApply: SINGLE) { id } }`,
		"ApiKeyInput.oidc":             `mutation { apiKeyCreate(input: {name: "n", admin: false, oidc: {clientId: "c", issuer: "i", subjectExpression: "s"}}) { id } }`,
		"ApiKeyInput.teams":            `mutation { apiKeyCreate(input: {name: "n", admin: false, teams: ["t"]}) { id } }`,
	} {
		if a := admin.ask(document, nil); a.code() != "unsupported" || !strings.HasPrefix(a.Errors[0].Message, field+" is not supported") {
			t.Errorf("%s: got %s", field, a.body)
		}
	}
}

const stackBack = `query($id: ID!) { stack(id: $id) { name branch repository repositoryURL projectRoot runnerImage description labels namespace
	provider autodeploy protectFromDeletion githubActionDeploy enableSensitiveOutputUpload beforeInit afterRun beforePlan managesStateFile stateMode
	retryLost space workerPool { id } terraformVersion
	vendorConfig { __typename ... on StackConfigVendorTerraform { version workspace workflowTool useSmartSanitization }
		... on StackConfigVendorOpenTofu { tofuVersion: version workspace openTofuWorkflowTool: workflowTool concise useSmartSanitization } }
	integrations { aws { assumedRoleArn } driftDetection { timezone } gcp { tokenScopes } webhooks { id } } } }`

func TestWhatAClientWritesToAStackIsWhatItReadsBack(t *testing.T) {
	t.Parallel()
	admin := setup(t).admin()
	pool := admin.pool("pool")
	stack := admin.stack("Test stack AbC", vars{
		"projectRoot": "infra/live", "runnerImage": "example.com/runner:1", "description": "what", "labels": []string{"a", "b"}, "namespace": "acme",
		"autodeploy": true, "protectFromDeletion": true, "githubActionDeploy": true, "enableSensitiveOutputUpload": true,
		"beforeInit": []string{"one", "two"}, "afterRun": []string{"three"}, "workerPool": pool, "stateMode": "SEALED", "retryLost": false,
		"vendorConfig": vars{"terraform": vars{"version": "~> 1.11", "workspace": "live", "workflowTool": "CUSTOM", "useSmartSanitization": true}},
	})
	if stack != "test-stack-abc" {
		t.Errorf("the stack's id is %q", stack)
	}
	want := `{"stack":{"name":"Test stack AbC","branch":"main","repository":"infra","repositoryURL":"https://git.example.com/infra.git",` +
		`"projectRoot":"infra/live","runnerImage":"example.com/runner:1","description":"what","labels":["a","b"],"namespace":"acme","provider":"GIT",` +
		`"autodeploy":true,"protectFromDeletion":true,"githubActionDeploy":true,"enableSensitiveOutputUpload":true,"beforeInit":["one","two"],"afterRun":["three"],` +
		`"beforePlan":[],"managesStateFile":true,"stateMode":"SEALED","retryLost":false,"space":"root","workerPool":{"id":"` + pool + `"},"terraformVersion":"~> 1.11",` +
		`"vendorConfig":{"__typename":"StackConfigVendorTerraform","version":"~> 1.11","workspace":"live","workflowTool":"CUSTOM","useSmartSanitization":true},` +
		`"integrations":{"aws":{"assumedRoleArn":null},"driftDetection":{"timezone":"UTC"},"gcp":{"tokenScopes":[]},"webhooks":[]}}}`
	if got := string(admin.ask(stackBack, vars{"id": stack}).Data); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	// A client that does not know our own fields leaves them as they are.
	admin.must(`mutation($id: ID!, $input: StackInput!) { stackUpdate(id: $id, input: $input) { id } }`, vars{"id": stack, "input": input("Renamed", vars{
		"vendorConfig": vars{"opentofu": vars{"version": "1.9.0"}},
	})}, nil)
	var got struct {
		Stack struct {
			Name, StateMode string
			RetryLost       bool
			VendorConfig    struct {
				Typename             string `json:"__typename"`
				TofuVersion          string
				OpenTofuWorkflowTool string
				Concise              bool
				UseSmartSanitization bool
			}
		}
	}
	admin.must(stackBack, vars{"id": stack}, &got)
	s := got.Stack
	if s.Name != "Renamed" || s.StateMode != "SEALED" || s.RetryLost || s.VendorConfig.Typename != "StackConfigVendorOpenTofu" ||
		s.VendorConfig.TofuVersion != "1.9.0" || s.VendorConfig.OpenTofuWorkflowTool != "OPENTOFU" || !s.VendorConfig.Concise || !s.VendorConfig.UseSmartSanitization {
		t.Errorf("after the update: %+v", s)
	}
}

func TestWhoManagesTheStateIsSaidOnceAndNotTwice(t *testing.T) {
	t.Parallel()
	admin := setup(t).admin()
	for _, c := range []struct {
		name   string
		manage bool
		mode   any
		want   string // the mode, or the code of the refusal
	}{
		{"a", true, nil, "MANAGED"},
		{"b", true, "SEALED", "SEALED"},
		{"c", true, "MANAGED", "MANAGED"},
		{"d", false, nil, "EXTERNAL"},
		{"e", false, "EXTERNAL", "EXTERNAL"},
		{"f", false, "SEALED", "invalid"},
		{"g", true, "EXTERNAL", "invalid"},
	} {
		a := admin.ask(`mutation($input: StackInput!, $manage: Boolean!) { stackCreate(input: $input, manageState: $manage) { stateMode managesStateFile } }`,
			vars{"input": input(c.name, vars{"stateMode": c.mode}), "manage": c.manage})
		var got struct {
			StackCreate struct {
				StateMode        string
				ManagesStateFile bool
			}
		}
		if len(a.Errors) == 0 {
			if err := json.Unmarshal(a.Data, &got); err != nil {
				t.Fatal(err)
			}
		}
		if made := got.StackCreate; made.StateMode+a.code() != c.want || (len(a.Errors) == 0 && made.ManagesStateFile != c.manage) {
			t.Errorf("%+v: got %s", c, a.body)
		}
	}
}

func TestASecretGoesInAndNeverComesOut(t *testing.T) {
	t.Parallel()
	w := setup(t)
	admin := w.admin()
	stack := admin.stack("Stack", nil)
	const canary = "canary-9f3c2a"
	file := base64.StdEncoding.EncodeToString([]byte(canary))
	for _, c := range []struct{ id, kind, value string }{
		{"SECRET", "ENVIRONMENT_VARIABLE", canary},
		{"secret.txt", "FILE_MOUNT", file},
	} {
		a := admin.ask(`mutation($stack: ID!, $config: ConfigInput!) { stackConfigAdd(stack: $stack, config: $config) { id type value checksum writeOnly description runtime } }`,
			vars{"stack": stack, "config": vars{"id": c.id, "type": c.kind, "value": c.value, "writeOnly": true, "description": "hidden"}})
		sum := sha256.Sum256([]byte(c.value))
		want := `{"data":{"stackConfigAdd":{"id":"` + c.id + `","type":"` + c.kind + `","value":null,"checksum":"` + hex.EncodeToString(sum[:]) +
			`","writeOnly":true,"description":"hidden","runtime":false}}}`
		if a.body != want {
			t.Errorf("got %s\nwant %s", a.body, want)
		}
	}
	admin.must(`mutation($stack: ID!) { stackConfigAdd(stack: $stack, config: {id: "PLAIN", type: ENVIRONMENT_VARIABLE, value: "seen", writeOnly: false}) { id } }`, vars{"stack": stack}, nil)
	everything := admin.ask(`query($id: ID!) { stack(id: $id) { config { id value } runtimeConfig { element { id value } }
		secret: configElement(id: "SECRET") { value } file: configElement(id: "secret.txt") { value } plain: configElement(id: "PLAIN") { value } none: configElement(id: "NONE") { value } } }`,
		vars{"id": stack})
	deleted := admin.ask(`mutation($id: ID!) { stackConfigDelete(stack: $id, id: "SECRET") { id value } }`, vars{"id": stack})
	for _, a := range []answer{everything, deleted} {
		if strings.Contains(a.body, canary) || strings.Contains(a.body, file) || len(a.Errors) > 0 {
			t.Errorf("got %s", a.body)
		}
	}
	if !strings.Contains(everything.body, `"secret":{"value":null},"file":{"value":null},"plain":{"value":"seen"},"none":null`) {
		t.Errorf("got %s", everything.body)
	}
}
