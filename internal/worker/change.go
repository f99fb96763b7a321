package worker

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// maxValues is how many bytes of values a change list may have in all. A larger
// one keeps its entries and loses the values.
const maxValues = 16 << 20

// parsePlan reads what the tool says about its plan ("show -json"). Without values
// the list has addresses, actions and counts alone: sealed state has nothing that
// the mothership could read.
func parsePlan(data []byte, values bool) (*wire.Plan, error) {
	var p tfjson.Plan
	p.UseJSONNumber(true)
	if err := p.UnmarshalJSON(data); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	plan := &wire.Plan{Changes: []wire.Change{}}
	for _, rc := range p.ResourceChanges {
		if rc == nil || rc.Change == nil {
			continue
		}
		action := resourceAction(rc)
		if action == "" {
			continue
		}
		c := wire.Change{Address: rc.Address, Action: action, Entity: "resource", Type: rc.Type, Name: rc.Name}
		if values {
			c.Before = sanitised(rc.Change.Before, rc.Change.BeforeSensitive)
			c.After = sanitised(rc.Change.After, rc.Change.AfterSensitive)
		}
		count(plan, c)
	}
	names := make([]string, 0, len(p.OutputChanges))
	for name := range p.OutputChanges {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		oc := p.OutputChanges[name]
		if oc == nil {
			continue
		}
		action := changeAction(oc.Actions)
		if action == "" {
			continue
		}
		c := wire.Change{Address: "output." + name, Action: action, Entity: "output", Name: name}
		if values {
			c.Before = sanitised(oc.Before, oc.BeforeSensitive)
			c.After = sanitised(oc.After, oc.AfterSensitive)
		}
		count(plan, c)
	}
	if p.PlannedValues != nil {
		plan.Delta.Resources = countResources(p.PlannedValues.RootModule)
	}
	trim(plan)
	return plan, nil
}

// count adds a change to the list and its counts.
func count(plan *wire.Plan, c wire.Change) {
	plan.Changes = append(plan.Changes, c)
	switch c.Action {
	case "added":
		plan.Delta.Added++
	case "changed":
		plan.Delta.Changed++
	case "deleted":
		plan.Delta.Deleted++
	case "replaced":
		plan.Delta.Added++
		plan.Delta.Deleted++
	case "read":
		return // reading data again is all that an apply would do
	}
	plan.Changed = true
}

// resourceAction returns the action's name, or "" for a resource that stays as it
// is.
func resourceAction(rc *tfjson.ResourceChange) string {
	if action := changeAction(rc.Change.Actions); action != "" {
		return action
	}
	switch {
	case rc.Change.Importing != nil:
		return "imported"
	case rc.PreviousAddress != "" && rc.PreviousAddress != rc.Address:
		return "moved"
	}
	return ""
}

func changeAction(a tfjson.Actions) string {
	switch {
	case a.NoOp():
		return ""
	case a.Create():
		return "added"
	case a.Update():
		return "changed"
	case a.Delete():
		return "deleted"
	case a.Replace():
		return "replaced"
	case a.Read():
		return "read"
	case len(a) == 1 && a[0] == "forget":
		return "forgotten"
	case slices.Contains(a, "forget"):
		return "replaced" // the old object is kept, a new one made
	}
	return "changed" // an action of a later version: certainly no no-op
}

func countResources(m *tfjson.StateModule) int {
	if m == nil {
		return 0
	}
	n := 0
	for _, r := range m.Resources {
		if r.Mode == tfjson.ManagedResourceMode {
			n++
		}
	}
	for _, child := range m.ChildModules {
		n += countResources(child)
	}
	return n
}

// sanitised encodes a value that may be shown: strings as the end of their
// SHA-256, so that equal ones look equal and none can be read; whatever is marked
// sensitive as null, since the hash of a short secret can be guessed.
func sanitised(value, sensitive any) json.RawMessage {
	if value == nil {
		return nil
	}
	data, err := json.Marshal(sanitise(value, sensitive))
	if err != nil {
		return nil
	}
	return data
}

func sanitise(value, sensitive any) any {
	if s, marked := sensitive.(bool); marked && s {
		return nil
	}
	switch v := value.(type) {
	case string:
		sum := sha256.Sum256([]byte(v))
		return hex.EncodeToString(sum[len(sum)-8:])
	case map[string]any:
		marks, _ := sensitive.(map[string]any)
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = sanitise(item, marks[key])
		}
		return out
	case []any:
		marks, _ := sensitive.([]any)
		out := make([]any, len(v))
		for i, item := range v {
			var mark any
			if i < len(marks) {
				mark = marks[i]
			}
			out[i] = sanitise(item, mark)
		}
		return out
	}
	return value
}

// trim drops all values if they are too many.
func trim(plan *wire.Plan) {
	size := 0
	for _, c := range plan.Changes {
		size += len(c.Before) + len(c.After)
	}
	if size <= maxValues {
		return
	}
	for i := range plan.Changes {
		plan.Changes[i].Before, plan.Changes[i].After = nil, nil
	}
}

// parseOutputs reads the tool's outputs ("output -json"). Sensitive ones come
// without their value.
func parseOutputs(data []byte) ([]wire.Output, error) {
	var raw map[string]struct {
		Sensitive bool            `json:"sensitive"`
		Type      json.RawMessage `json:"type"`
		Value     json.RawMessage `json:"value"`
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, fmt.Errorf("read the outputs: there is nothing")
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("read the outputs: %w", err)
	}
	outputs := make([]wire.Output, 0, len(raw))
	for name, o := range raw {
		out := wire.Output{Name: name, Type: o.Type, Value: o.Value, Sensitive: o.Sensitive}
		if o.Sensitive {
			out.Value = nil
		}
		outputs = append(outputs, out)
	}
	slices.SortFunc(outputs, func(a, b wire.Output) int { return strings.Compare(a.Name, b.Name) })
	return outputs, nil
}
