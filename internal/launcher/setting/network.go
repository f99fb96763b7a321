package setting

import (
	"fmt"
	"maps"
	"net"
	"slices"

	"github.com/spaceport-iac/spaceport/internal/launcher/egress"
	"github.com/spaceport-iac/spaceport/internal/rootca"
)

func proxy(field func(*Settings) *string) func(*Settings, string, Input) error {
	return func(s *Settings, value string, _ Input) (err error) {
		*field(s), err = egress.ParseProxy(value)
		return err
	}
}

func readRoots(s *Settings, value string, in Input) (err error) {
	s.Roots, err = rootca.Parse(value, in.ReadFile)
	return err
}

// notForContainers names a proxy of this host alone: in a container the same address
// is the container.
func (s *Settings) notForContainers() []string {
	if s.Backend == "process" || s.Network == "host" {
		return nil
	}
	var warnings []string
	all := s.Proxy.URLs()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		host := all[name].Hostname()
		if ip := net.ParseIP(host); host == "localhost" || (ip != nil && ip.IsLoopback()) {
			warnings = append(warnings, fmt.Sprintf("%s is %s, which run containers cannot reach: give it an address that they can, or override it in the stacks' environment", name, egress.Shown(all[name])))
		}
	}
	return warnings
}
