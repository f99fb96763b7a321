package launcher

import (
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spaceport-iac/spaceport/internal/durable"
	"github.com/spaceport-iac/spaceport/internal/rootca"
)

// bundle returns the path of a file with the certificates of this system and those
// of the settings, for programs that take one file; "" if the settings have none.
func (l *Launcher) bundle() (string, error) {
	roots := l.o.Settings.Roots
	if roots == nil {
		return "", nil
	}
	path := filepath.Join(l.id.Dir(), "ca-certificates.crt")
	if err := durable.WriteFile(path, rootca.Join(rootca.SystemBundle(os.Getenv("SSL_CERT_FILE")), roots.PEM())); err != nil {
		return "", unusable(l.o.Settings.DataDir, err)
	}
	return path, nil
}

// assignments are variables in the form of an environment.
func assignments(values map[string]string) []string {
	all := make([]string, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		all = append(all, name+"="+values[name])
	}
	return all
}
