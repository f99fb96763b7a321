package setting

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Mount is a path of the host that run containers see.
type Mount struct {
	Source, Target string // absolute and clean
	In             Access
	ReadOnly       bool
	Setting        string // the name of the setting that it comes from
}

// mounts reads a list of /host:/container or /host:/container:ro.
func mounts(in Access, setting string) func(*Settings, string, Input) error {
	return func(s *Settings, value string, _ Input) error {
		for _, item := range list(value) {
			m := Mount{In: in, Setting: setting}
			parts := strings.Split(item, ":")
			if len(parts) == 3 && (parts[2] == "ro" || parts[2] == "rw") {
				m.ReadOnly = parts[2] == "ro"
				parts = parts[:2]
			}
			if len(parts) != 2 || !filepath.IsAbs(parts[0]) || !filepath.IsAbs(parts[1]) {
				return fmt.Errorf("%q is not of the form /host:/container or /host:/container:ro", item)
			}
			m.Source, m.Target = filepath.Clean(parts[0]), filepath.Clean(parts[1])
			if err := s.mountable(m); err != nil {
				return fmt.Errorf("%q cannot be mounted: %w", item, err)
			}
			s.Mounts = append(s.Mounts, m)
		}
		return nil
	}
}

// mountable refuses a target that is the run's own, or that is taken already.
func (s *Settings) mountable(m Mount) error {
	below := func(dir, path string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
	switch {
	case m.Target == "/":
		return fmt.Errorf("it would replace the whole container")
	case below(wire.ContainerRoot, m.Target):
		return fmt.Errorf("%s belongs to the launcher", wire.ContainerRoot)
	// The workspace is sealed and goes from worker to worker; a mount in it, or
	// over it, would not.
	case below(wire.ContainerWorkspace, m.Target), below(m.Target, wire.ContainerWorkspace):
		return fmt.Errorf("%s is the run's workspace", wire.ContainerWorkspace)
	}
	for _, other := range s.Mounts {
		if other.Target == m.Target && (other.In == Always || m.In == Always || other.In == m.In) {
			return fmt.Errorf("%s of %s has that place in the container already", other.Source, other.Setting)
		}
	}
	return nil
}
