package attempt

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/launcher/park"
	"github.com/spaceport-iac/spaceport/internal/launcher/setting"
	"github.com/spaceport-iac/spaceport/internal/mask"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// reserved names are what the launcher, the mothership or the worker sets; nothing
// that a run changed of them crosses into the next container.
func reserved(name string) bool {
	for _, prefix := range []string{"SPACELIFT_", "TF_VAR_spacelift_", "TF_HTTP_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// environment is what a container is given.
type environment struct {
	vars    []wire.Variable
	unset   []string
	secrets []string
}

// sourceProxy marks, while variables are merged, what the proxy settings gave.
const sourceProxy = "proxy"

// resolve merges, from weak to strong: what is computed, what the launcher passes
// on, what the job brings, and, except where the delivered value must stand, what
// the containers before have changed. A name with ro_ or wo_ is delivered without
// it, in containers of that class alone, and is stronger than the plain name from
// the same place.
func resolve(j *wire.Job, s *setting.Settings, workspaceRoot string, carried *park.Carry) environment {
	all := map[string]wire.Variable{}
	pinned := map[string]bool{} // delivered by prefix: the value is the class's own
	put := func(v wire.Variable) { all[v.Name] = v }

	for name, value := range computed(j, workspaceRoot) {
		put(wire.Variable{Name: name, Value: value, Source: "computed"})
	}
	proxies := s.Proxy.Environ()
	for name, value := range proxies {
		put(wire.Variable{Name: name, Value: value, Source: sourceProxy})
	}
	masked := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(s.MaskEnvs, n) })
	}
	for _, p := range s.PassEnvs {
		if !granted(p.In, j.Class) {
			continue
		}
		prefix := map[setting.Access]string{setting.ReadOnly: "ro_", setting.WriteOnly: "wo_"}[p.In]
		value, ok := s.Environ(prefix + p.Name)
		if !ok {
			value, ok = s.Environ(p.Name)
		}
		if !ok {
			continue
		}
		if have, prefixed := all[p.Name], pinned[p.Name]; prefixed && have.Source == "launcher" && p.In == setting.Always {
			continue
		}
		put(wire.Variable{Name: p.Name, Value: value, Secret: masked(p.Name, prefix+p.Name), Source: "launcher"})
		pinned[p.Name] = p.In != setting.Always
	}
	for _, plain := range []bool{true, false} {
		for _, v := range j.Environment {
			name, in := setting.Prefixed(v.Name)
			if (in == setting.Always) != plain || !granted(in, j.Class) || name == "" {
				continue
			}
			v.Name = name
			v.Secret = v.Secret || masked(name)
			put(v)
			pinned[name] = !plain
		}
	}

	// Programs differ in which of the two spellings they heed: whoever sets one
	// means both.
	for name := range proxies {
		small := strings.ToLower(name)
		if name == small || (all[name].Source == sourceProxy) == (all[small].Source == sourceProxy) {
			continue
		}
		if all[name].Source == sourceProxy {
			delete(all, name)
		} else {
			delete(all, small)
		}
	}
	for _, name := range sortedKeys(proxies) {
		if v := all[name]; v.Source == sourceProxy {
			v.Source = "launcher"
			all[name] = v
		}
	}

	var e environment
	// A secret of the other class is not delivered, and masked all the same.
	for _, v := range j.Environment {
		if v.Secret {
			e.secrets = append(e.secrets, v.Value)
		}
	}
	e.secrets = append(e.secrets, maskedValues(s)...)
	for _, f := range j.Files {
		if f.Secret {
			e.secrets = append(e.secrets, string(f.Content))
		}
	}
	if carried != nil {
		for name, value := range carried.Set {
			if !reserved(name) && !pinned[name] {
				put(wire.Variable{Name: name, Value: value, Secret: all[name].Secret, Source: "runtime"})
			}
		}
		for _, name := range carried.Unset {
			if !reserved(name) && !pinned[name] {
				delete(all, name)
				e.unset = append(e.unset, name)
			}
		}
		e.secrets = append(e.secrets, carried.Masks...)
	}
	for _, name := range sortedKeys(all) {
		if v := all[name]; v.Secret {
			e.secrets = append(e.secrets, v.Value)
		}
		e.vars = append(e.vars, all[name])
	}
	return e
}

// maskedValues are the values of the launcher's own environment that never appear
// in logs.
func maskedValues(s *setting.Settings) (values []string) {
	values = append(values, s.Proxy.Secrets()...)
	for _, name := range s.MaskEnvs {
		for _, n := range []string{name, "ro_" + name, "wo_" + name} {
			if value, ok := s.Environ(n); ok {
				values = append(values, value)
			}
		}
	}
	return values
}

// unmasked lists, by name, what is secret and too short to be masked.
func unmasked(j *wire.Job, s *setting.Settings) []string {
	short := map[string]bool{}
	note := func(name, value string) {
		if value != "" && !mask.Maskable(value) {
			short[name] = true
		}
	}
	for _, v := range j.Environment {
		if bare, _ := setting.Prefixed(v.Name); v.Secret || slices.Contains(s.MaskEnvs, bare) {
			note(v.Name, v.Value)
		}
	}
	for _, f := range j.Files {
		if f.Secret {
			note(f.Path, string(f.Content))
		}
	}
	for _, name := range s.MaskEnvs {
		for _, n := range []string{name, "ro_" + name, "wo_" + name} {
			value, _ := s.Environ(n)
			note(n, value)
		}
	}
	return sortedKeys(short)
}

func granted(in setting.Access, c run.Class) bool {
	return in == setting.Always || (in == setting.ReadOnly) == (c == run.Read)
}

// computed are the variables that tell a run about itself.
func computed(j *wire.Job, workspaceRoot string) map[string]string {
	labels := j.Stack.Labels
	if labels == nil {
		labels = []string{}
	}
	list, err := json.Marshal(labels) // also HCL's form of a list of strings
	if err != nil {
		list = []byte("[]")
	}
	// ${ and %{ begin templates in HCL.
	hcl := strings.NewReplacer("${", "$${", "%{", "%%{").Replace(string(list))
	vars := map[string]string{
		"account_name": j.Account, "commit_branch": j.Branch, "commit_sha": j.Commit.SHA, "local_preview": "false",
		"project_root": j.ProjectRoot, "repository": j.Repository, "run_id": j.Run, "run_state": string(j.State),
		"run_trigger": j.TriggeredBy, "run_type": string(j.Type), "space_id": j.Stack.Space, "stack_branch": j.Branch,
		"stack_id": j.Stack.Slug, "stack_labels": strings.Join(labels, ","), "stack_labels_list": hcl, "workspace_root": workspaceRoot,
	}
	out := make(map[string]string, len(vars))
	for name, value := range vars {
		out["TF_VAR_spacelift_"+name] = value
	}
	return out
}
