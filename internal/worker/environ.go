package worker

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// environ is the environment of the phases.
type environ struct {
	start map[string]string // what the first phase had
	now   map[string]string // what the next phase gets
	fixed map[string]string // values that no hook can change
	tools string            // our directory in front of PATH, which stays here
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// newEnviron takes the image's variables, then the delivered ones, less those that
// an earlier container unset. own are the vendor's and the state backend's.
func newEnviron(image []string, job *wire.WorkerJob, own map[string]string, tools, home string) *environ {
	e := &environ{start: map[string]string{}, fixed: map[string]string{}, tools: tools}
	for _, kv := range image {
		name, value, _ := strings.Cut(kv, "=")
		if !spokenFor(name) {
			e.start[name] = value
		}
	}
	if e.start["PATH"] == "" {
		e.start["PATH"] = defaultPath
	}
	// A user without a passwd entry has none, and one that the image did not expect
	// may have somebody else's.
	if h := e.start["HOME"]; h == "" || h == "/" || unix.Access(h, unix.W_OK) != nil {
		e.start["HOME"] = home
	}
	for _, v := range job.Environment {
		e.start[v.Name] = v.Value
		if spokenFor(v.Name) {
			e.fixed[v.Name] = v.Value
		}
	}
	for _, name := range job.Unset {
		if !spokenFor(name) {
			delete(e.start, name)
		}
	}
	for name, value := range own {
		e.start[name] = value
		e.fixed[name] = value
	}
	e.now = maps.Clone(e.start)
	return e
}

// spokenFor reports whether a name belongs to the run and never carries over.
func spokenFor(name string) bool {
	switch name {
	case "PWD", "OLDPWD", "SHLVL", "_":
		return true
	}
	return strings.HasPrefix(name, "SPACELIFT_") ||
		strings.HasPrefix(name, "TF_VAR_spacelift_") ||
		strings.HasPrefix(name, "TF_HTTP_")
}

// imageEnvironment is what the first process of a container was given. Outside of
// a container that would be somebody else's: then only what programs need to run.
func imageEnvironment(all []string, first bool) []string {
	if first {
		return all
	}
	var some []string
	for _, kv := range all {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "TF_CLI_CONFIG_FILE":
			some = append(some, kv)
		}
	}
	return some
}

// list returns the environment for a phase, sorted, with more set on top.
func (e *environ) list(more map[string]string) []string {
	env := maps.Clone(e.now)
	maps.Copy(env, more)
	if e.tools != "" {
		env["PATH"] = e.tools + ":" + env["PATH"]
	}
	out := make([]string, 0, len(env))
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	slices.Sort(out)
	return out
}

// isSet reports whether a variable is a yes.
func (e *environ) isSet(name string) bool {
	switch strings.ToLower(e.now[name]) {
	case "1", "true", "yes", "on":
		return true
	}
	return false
}

// take replaces the environment by a dump of what a phase left. Names that speak
// for the run keep their delivered value.
func (e *environ) take(dump []byte) {
	next := map[string]string{}
	for kv := range strings.SplitSeq(string(dump), "\x00") {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || name == "" || spokenFor(name) {
			continue
		}
		next[name] = value
	}
	if e.tools != "" {
		next["PATH"] = withoutDir(next["PATH"], e.tools)
	}
	maps.Copy(next, e.fixed)
	e.now = next
}

func withoutDir(path, dir string) string {
	parts := strings.Split(path, ":")
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == dir }), ":")
}

// carry is what differs from what the first phase had.
func (e *environ) carry() wire.Carry {
	c := wire.Carry{Set: map[string]string{}, Unset: []string{}}
	for name, value := range e.now {
		if was, had := e.start[name]; (!had || was != value) && !spokenFor(name) && plainName(name) {
			c.Set[name] = value
		}
	}
	for name := range e.start {
		if _, has := e.now[name]; !has && !spokenFor(name) {
			c.Unset = append(c.Unset, name)
		}
	}
	slices.Sort(c.Unset)
	return c
}

// plainName reports whether a name is one that any shell can have. A shell's
// exported functions have others, and mean nothing to the next image.
func plainName(name string) bool {
	for i, c := range name {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// EnvDump writes this process's environment to a file, each variable ended by NUL.
// A phase's shell runs it through our own binary. It returns an exit code.
func EnvDump(path string) int {
	var b strings.Builder
	for _, kv := range os.Environ() {
		b.WriteString(kv)
		b.WriteByte(0)
	}
	temp := filepath.Join(filepath.Dir(path), ".new-"+filepath.Base(path))
	if err := os.WriteFile(temp, []byte(b.String()), 0o600); err != nil {
		return 1
	}
	if err := os.Rename(temp, path); err != nil {
		return 1
	}
	return 0
}
