package tool

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-version"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// binaries names each vendor's binary. A custom workflow brings its own.
var binaries = map[string]string{"terraform": "terraform", "opentofu": "tofu"}

// spaced finds the borders of a range that is separated by spaces.
var spaced = regexp.MustCompile(`([0-9])\s+([<>=~!])`)

// Options configure a Finder.
type Options struct {
	DataDir string
	Path    string // the host's PATH
	// Images: runs have a runner image, which may have the tool.
	Images bool
}

// Finder finds tools. It is safe for concurrent use.
type Finder struct {
	o     Options
	store *Store

	mu       sync.Mutex
	versions map[string]*version.Version // of host binaries, by content
}

// New makes a Finder over the binaries of a store.
func New(o Options, s *Store) (*Finder, error) {
	if o.DataDir == "" || s == nil {
		return nil, errors.New("tool: an option is missing")
	}
	return &Finder{o: o, store: s, versions: map[string]*version.Version{}}, nil
}

// Tool is a found binary. The zero value means that the image brings it.
type Tool struct {
	Path    string // below the data directory
	Version string
	From    string // tools directory | host
}

// Find returns the newest binary that fits. Faults: invalid.tool_{vendor,version},
// not_found.tool.
func (f *Finder) Find(ctx context.Context, v wire.Vendor) (Tool, error) {
	if v.Name == "custom" {
		return Tool{}, nil
	}
	name, ok := binaries[v.Name]
	if !ok {
		return Tool{}, fault.New(fault.Unsupported, "this launcher does not know the vendor %q", v.Name).Named("tool_vendor")
	}
	fits, err := constraint(v.Version)
	if err != nil {
		return Tool{}, fault.Wrap(err, fault.Invalid, "%q is no version of %s", v.Version, name).Named("tool_version")
	}
	have := f.installed(name)
	for _, c := range have {
		if fits(c) {
			path, err := f.store.Keep(filepath.Join(f.o.DataDir, "tools", name, c.Original(), name))
			return Tool{Path: path, Version: c.String(), From: "tools directory"}, err
		}
	}
	found := make([]string, 0, len(have)+1)
	for _, c := range have {
		found = append(found, c.String()+" in the tools directory")
	}
	if host := lookPath(name, f.o.Path); host != "" {
		path, err := f.store.Keep(host)
		if err != nil {
			return Tool{}, err
		}
		hv, err := f.versionOf(ctx, path)
		if err == nil && fits(hv) {
			return Tool{Path: path, Version: hv.String(), From: "host"}, nil
		}
		if err == nil {
			found = append(found, hv.String()+" on the host")
		}
	}
	if v.Version == "" && f.o.Images {
		return Tool{}, nil
	}
	e := fault.New(fault.NotFound, "%s %s is not on this worker, which has %s", name, orAny(v.Version), orNone(found)).Named("tool")
	return Tool{}, e.WithHint("put it at %s", filepath.Join(f.o.DataDir, "tools", name, "<version>", name))
}

func orAny(v string) string {
	if v == "" {
		return "in any version"
	}
	return v
}

func orNone(found []string) string {
	if len(found) == 0 {
		return "none"
	}
	return strings.Join(found, ", ")
}

// constraint reads an exact version, a range, or nothing.
func constraint(text string) (func(*version.Version) bool, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return func(*version.Version) bool { return true }, nil
	}
	// A range may be separated by spaces, as people write it for npm.
	c, err := version.NewConstraint(text)
	if err != nil {
		c, err = version.NewConstraint(spaced.ReplaceAllString(text, "$1, $2"))
	}
	if err != nil {
		return nil, err
	}
	return func(v *version.Version) bool { return c.Check(v) }, nil
}

// installed lists the versions in the tools directory, newest first.
func (f *Finder) installed(name string) []*version.Version {
	entries, err := os.ReadDir(filepath.Join(f.o.DataDir, "tools", name))
	if err != nil {
		return nil
	}
	var have []*version.Version
	for _, e := range entries {
		v, err := version.NewVersion(e.Name())
		if err != nil {
			continue
		}
		if info, err := os.Stat(filepath.Join(f.o.DataDir, "tools", name, e.Name(), name)); err == nil && info.Mode().IsRegular() {
			have = append(have, v)
		}
	}
	slices.SortFunc(have, func(a, b *version.Version) int { return b.Compare(a) })
	return have
}

// versionOf asks a binary for its version. It runs the operator's own program
// of the host, with an empty environment.
func (f *Finder) versionOf(ctx context.Context, path string) (*version.Version, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := f.versions[path]; v != nil {
		return v, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "version", "-json")
	cmd.Env = []string{"PATH=" + f.o.Path, "HOME=/nonexistent", "CHECKPOINT_DISABLE=1"}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var answer struct {
		Version string `json:"terraform_version"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, err
	}
	v, err := version.NewVersion(answer.Version)
	if err == nil {
		f.versions[path] = v
	}
	return v, err
}

func lookPath(name, path string) string {
	for dir := range strings.SplitSeq(path, ":") {
		full := filepath.Join(dir, name)
		if info, err := os.Stat(full); dir != "" && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return full
		}
	}
	return ""
}
