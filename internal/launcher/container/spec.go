package container

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/container/supervise"
)

// layout is what a backend knows about its part of the file system.
type layout struct {
	// data is the launcher's data directory, runs the directory of run
	// directories below it. Both are absolute and clean.
	data, runs string
}

func newLayout(data, runs string) (layout, error) {
	for _, dir := range []string{data, runs} {
		if !filepath.IsAbs(dir) {
			return layout{}, fault.New(fault.Invalid, "the directory %q is not an absolute path", dir).Named("data_dir")
		}
	}
	l := layout{data: filepath.Clean(data), runs: filepath.Clean(runs)}
	if !supervise.Within(l.data, l.runs) {
		return layout{}, fault.New(fault.Invalid, "the run directories at %q are not below the data directory %q", runs, data).Named("data_dir")
	}
	return l, nil
}

// runDir is the directory of a container.
func (l layout) runDir(id string) string { return filepath.Join(l.runs, id) }

// check refuses a spec that breaks the rules of the interface. They are rules
// between our own packages, so a breach is our mistake and not a person's; yet
// this is the last place before a path reaches an engine that runs as root.
func (l layout) check(s Spec) error {
	if err := checkID(s.ULID); err != nil {
		return err
	}
	wrong := func(what string, args ...any) error {
		return fault.New(fault.Invalid, "container "+s.ULID+": "+what, args...).Named("container_spec")
	}
	if s.RunDir != l.runDir(s.ULID) {
		return wrong("its run directory is %q, expected %q", s.RunDir, l.runDir(s.ULID))
	}
	if !filepath.IsAbs(s.Binary) {
		return wrong("the binary %q is not an absolute path", s.Binary)
	}
	if s.UID < 0 || s.GID < 0 || s.Memory < 0 || s.Pids < 0 {
		return wrong("an id or a limit is negative")
	}
	if s.WorkDir != "" && !filepath.IsAbs(s.WorkDir) {
		return wrong("the working directory %q is not an absolute path", s.WorkDir)
	}
	var targets []string
	for _, m := range s.Mounts {
		switch {
		case !cleanAbs(m.Source) || !cleanAbs(m.Target):
			return wrong("the mount of %q at %q needs clean absolute paths", m.Source, m.Target)
		case m.Target == "/":
			return wrong("a mount may not replace the root")
		case slices.Contains(targets, m.Target):
			return wrong("two mounts are at %q", m.Target)
		case !m.Operator && !supervise.Within(l.data, m.Source):
			return wrong("the mount source %q is outside the data directory", m.Source)
		case !m.Operator && supervise.Within(filepath.Join(s.RunDir, "private"), m.Source):
			// private/ holds the journal and the bearer of the launcher.
			return wrong("private/ is never mounted")
		}
		targets = append(targets, m.Target)
	}
	return nil
}

// checkID refuses anything but a ULID in its canonical spelling, since it
// becomes a path element and part of a URL.
func checkID(id string) error {
	u, err := ulid.ParseStrict(id)
	if err != nil || u.String() != id {
		return fault.New(fault.Invalid, "%q does not name a container", id).Named("container_id")
	}
	return nil
}

func cleanAbs(p string) bool {
	return filepath.IsAbs(p) && filepath.Clean(p) == p && !strings.ContainsRune(p, 0)
}

func errMissing(id string) error {
	return fault.New(fault.NotFound, "container %s does not exist", id).Named("container")
}

func errNotStarted(id string) error {
	return fault.New(fault.Conflict, "container %s was never started", id).Named("container_not_started")
}

func errStarted(id string) error {
	return fault.New(fault.Conflict, "container %s was started before", id).Named("container_started")
}

func errNotRunning(id string) error {
	return fault.New(fault.Conflict, "container %s is not running", id).Named("container_not_running")
}
