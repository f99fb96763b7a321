package worker

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/rootca"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// believe writes a bundle of the image's certificates and the launcher's into path
// and returns the image's variables with those that tell programs of it. The image's
// own bundle goes in too: a variable replaces what a program would read otherwise.
// What the job's environment says is stronger, as it always is.
func believe(job *wire.WorkerJob, image []string, path string) ([]string, error) {
	if job.RootCAs == "" {
		return image, nil
	}
	named := map[string]string{}
	var kept []string
	for _, kv := range image {
		name, value, _ := strings.Cut(kv, "=")
		if slices.Contains(rootca.BundleNames, name) {
			named[name] = value
		} else {
			kept = append(kept, kv)
		}
	}
	bundles := [][]byte{rootca.SystemBundle("")}
	var seen []string
	for _, name := range rootca.BundleNames {
		if value := named[name]; value != "" && !slices.Contains(seen, value) {
			seen = append(seen, value)
			bundles = append(bundles, rootca.SystemBundle(value))
		}
		kept = append(kept, name+"="+path)
	}
	bundles = append(bundles, []byte(job.RootCAs))
	if err := os.WriteFile(path, rootca.Join(bundles...), 0o644); err != nil {
		return nil, fmt.Errorf("write the certificates that the run believes: %w", err)
	}
	return kept, nil
}
