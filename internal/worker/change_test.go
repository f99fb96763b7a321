package worker

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// planOf is a plan in Terraform's JSON format.
func planOf(resources, outputs string) []byte {
	return fmt.Appendf(nil, `{"format_version":"1.2","terraform_version":"1.11.4","resource_changes":[%s],"output_changes":{%s}}`, resources, outputs)
}

func resource(actions, more string) string {
	return fmt.Sprintf(`{"address":"a.b","mode":"managed","type":"a","name":"b",%s"change":{"actions":[%s],"before":null,"after":null}}`, more, actions)
}

func TestAnActionIsNamedAndCounted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		resources, outputs string
		action             string
		delta              wire.Delta
		changed            bool
	}{
		"create":                  {resource(`"create"`, ""), "", "added", wire.Delta{Added: 1}, true},
		"update":                  {resource(`"update"`, ""), "", "changed", wire.Delta{Changed: 1}, true},
		"delete":                  {resource(`"delete"`, ""), "", "deleted", wire.Delta{Deleted: 1}, true},
		"delete, then create":     {resource(`"delete","create"`, ""), "", "replaced", wire.Delta{Added: 1, Deleted: 1}, true},
		"create, then delete":     {resource(`"create","delete"`, ""), "", "replaced", wire.Delta{Added: 1, Deleted: 1}, true},
		"read":                    {resource(`"read"`, ""), "", "read", wire.Delta{}, false},
		"nothing":                 {resource(`"no-op"`, ""), "", "", wire.Delta{}, false},
		"moved":                   {resource(`"no-op"`, `"previous_address":"a.c",`), "", "moved", wire.Delta{}, true},
		"moved and changed":       {resource(`"update"`, `"previous_address":"a.c",`), "", "changed", wire.Delta{Changed: 1}, true},
		"imported":                {`{"address":"a.b","type":"a","name":"b","change":{"actions":["no-op"],"importing":{"id":"x"}}}`, "", "imported", wire.Delta{}, true},
		"forgotten":               {resource(`"forget"`, ""), "", "forgotten", wire.Delta{}, true},
		"an action of the future": {resource(`"transmogrify"`, ""), "", "changed", wire.Delta{Changed: 1}, true},
		"an output is new":        {"", `"o":{"actions":["create"],"after":"x"}`, "added", wire.Delta{Added: 1}, true},
		"an output goes":          {"", `"o":{"actions":["delete"],"before":"x"}`, "deleted", wire.Delta{Deleted: 1}, true},
		"an output stays":         {"", `"o":{"actions":["no-op"],"before":"x","after":"x"}`, "", wire.Delta{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := parsePlan(planOf(c.resources, c.outputs), true)
			if err != nil {
				t.Fatal(err)
			}
			action := ""
			if len(p.Changes) > 0 {
				action = p.Changes[0].Action
			}
			if action != c.action || p.Delta != c.delta || p.Changed != c.changed {
				t.Errorf("action %q, delta %+v, changed %v", action, p.Delta, p.Changed)
			}
		})
	}
}

func TestValuesAreSanitised(t *testing.T) {
	t.Parallel()
	data := planOf(`{"address":"a.b","type":"a","name":"b","change":{"actions":["update"],
		"before":{"s":"hello","n":12345678901234567890,"b":true,"list":["x",{"deep":"y"}],"secret":"canary","all":{"k":"canary"},"mixed":["shown","canary"]},
		"before_sensitive":{"secret":true,"all":true,"mixed":[false,true]},
		"after":"canary","after_sensitive":true}}`, "")
	p, err := parsePlan(data, true)
	if err != nil {
		t.Fatal(err)
	}
	before, after := string(p.Changes[0].Before), string(p.Changes[0].After)
	// "hello" becomes the last 8 bytes of what sha256sum says of it.
	for _, has := range []string{`"n":12345678901234567890`, `"b":true`, `"secret":null`, `"all":null`, `"73043362938b9824"`} {
		if !strings.Contains(before, has) {
			t.Errorf("no %s in %s", has, before)
		}
	}
	for _, hidden := range []string{"canary", "hello", `"x"`, `"y"`, "shown"} {
		if strings.Contains(before+after, hidden) {
			t.Errorf("%s is in %s %s", hidden, before, after)
		}
	}
	if after != "null" {
		t.Errorf("after: %s", after)
	}
	sealed, err := parsePlan(data, false)
	if err != nil || sealed.Changes[0].Before != nil || sealed.Changes[0].After != nil || sealed.Delta.Changed != 1 {
		t.Errorf("sealed: %+v, %v", sealed, err)
	}
}

func TestResourcesAreCountedInAllModules(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/modules.json")
	if err != nil {
		t.Fatal(err)
	}
	p, err := parsePlan(data, true)
	if err != nil || p.Delta.Resources != 3 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestTooManyValuesAreLeftOut(t *testing.T) {
	t.Parallel()
	number := strings.Repeat("1", maxValues)
	p, err := parsePlan(planOf(`{"address":"a.b","type":"a","name":"b","change":{"actions":["create"],"after":{"n":`+number+`}}}`, ""), true)
	if err != nil || len(p.Changes) != 1 || p.Changes[0].After != nil {
		t.Errorf("%d changes, %v", len(p.Changes), err)
	}
}

func TestWhatIsNoPlanIsAnError(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"", "hello", "{}", "[]", `{"format_version":"99.0"}`, `{"format_version":"1.2"`} {
		if p, err := parsePlan([]byte(data), true); err == nil {
			t.Errorf("%q is %+v", data, p)
		}
	}
}

func TestOutputsComeWithoutSensitiveValues(t *testing.T) {
	t.Parallel()
	outputs, err := parseOutputs([]byte(`{"b":{"sensitive":true,"type":"string","value":"canary"},"a":{"sensitive":false,"type":["list","string"],"value":["x"]}}`))
	if err != nil || len(outputs) != 2 || outputs[0].Name != "a" || string(outputs[0].Value) != `["x"]` || string(outputs[0].Type) != `["list","string"]` ||
		outputs[1].Value != nil || !outputs[1].Sensitive {
		t.Errorf("%+v, %v", outputs, err)
	}
	for _, data := range []string{"", "x", "[]"} {
		if _, err := parseOutputs([]byte(data)); err == nil {
			t.Errorf("%q is no error", data)
		}
	}
}
