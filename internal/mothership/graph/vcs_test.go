package graph_test

import (
	"strings"
	"testing"
)

const createIntegration = `mutation($token: String, $custom: CustomVCSInput!) {
	gitIntegrationCreate(host: "git.example.com", username: "bot", privateToken: $token, customInput: $custom) {
		id name host username sshPublicKey knownHosts isDefault labels description useGitCheckout space { id } } }`

func TestAnIntegrationIsAnsweredWithoutItsSecret(t *testing.T) {
	t.Parallel()
	admin := setup(t).admin()
	const secret = "c4n4ry-token"
	a := admin.ask(createIntegration, vars{"token": secret, "custom": vars{"name": "corp", "spaceID": "root", "isDefault": true, "labels": []string{"a"}, "description": "what"}})
	want := `{"gitIntegrationCreate":{"id":"corp","name":"corp","host":"git.example.com","username":"bot","sshPublicKey":null,"knownHosts":null,"isDefault":true,` +
		`"labels":["a"],"description":"what","useGitCheckout":true,"space":{"id":"root"}}}`
	if string(a.Data) != want {
		t.Errorf("got %s", a.body)
	}
	byDefault := admin.stack("By default", nil)
	named := admin.stack("Named", vars{"vcsIntegrationId": "corp", "gitSparseCheckoutPaths": []string{"/infra/live/", "modules"}})
	elsewhere := admin.stack("Elsewhere", vars{"repositoryURL": "https://other.example.com/x.git"})
	for stack, want := range map[string]string{
		byDefault: `{"stack":{"gitSparseCheckoutPaths":[],"vcsIntegration":{"id":"corp","isDefault":true}}}`,
		named:     `{"stack":{"gitSparseCheckoutPaths":["infra/live","modules"],"vcsIntegration":{"id":"corp","isDefault":true}}}`,
		elsewhere: `{"stack":{"gitSparseCheckoutPaths":[],"vcsIntegration":null}}`,
	} {
		a := admin.ask(`query($id: ID!) { stack(id: $id) { gitSparseCheckoutPaths vcsIntegration { id isDefault } } }`, vars{"id": stack})
		if string(a.Data) != want {
			t.Errorf("%s: got %s", stack, a.body)
		}
	}
	a = admin.ask(`mutation { gitIntegrationUpdate(isDefault: false, privateToken: "`+secret+`", customInput: {id: "corp", space: "root"}) { id isDefault } }`, nil)
	if string(a.Data) != `{"gitIntegrationUpdate":{"id":"corp","isDefault":false}}` {
		t.Errorf("got %s", a.body)
	}
	if a = admin.ask(`{ gitIntegrations { id host } none: gitIntegration(id: "none") { id } }`, nil); string(a.Data) != `{"gitIntegrations":[{"id":"corp","host":"git.example.com"}],"none":null}` {
		t.Errorf("got %s", a.body)
	}
	if a = admin.ask(`mutation { gitIntegrationDelete(id: "corp") { id } }`, nil); a.code() != "conflict.vcs_used" {
		t.Errorf("got %s", a.body)
	}
	for _, custom := range []vars{
		{"name": "x", "spaceID": "root", "vcsChecks": "INDIVIDUAL"},
		{"name": "x", "spaceID": "root", "useGitCheckout": false},
	} {
		if a := admin.ask(createIntegration, vars{"token": secret, "custom": custom}); a.code() != "unsupported" || !strings.HasPrefix(a.Errors[0].Message, "CustomVCSInput.") {
			t.Errorf("got %s", a.body)
		}
	}
}
