package source

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

const (
	maxDepth      = 8   // of submodules in submodules
	maxSubmodules = 200 // of one run
)

// submodule writes one submodule of the repository at a, whose files are in dst.
func (t *assembly) submodule(ctx context.Context, a address, s submodule, sparse []string, dst string, depth int) error {
	inside, wanted := below(sparse, s.Path)
	if !wanted {
		return nil
	}
	name := printable(s.Path)
	if s.URL == "" {
		t.say("The directory " + name + " is a submodule without an address in .gitmodules: it stays empty")
		return nil
	}
	if t.submodules++; t.submodules > maxSubmodules || depth >= maxDepth {
		return fault.New(fault.Invalid, "the submodule %s is one of more than %d, or more than %d deep", name, maxSubmodules, maxDepth).Named("source_submodule")
	}
	at, err := t.f.submodule(a, s.URL)
	if err != nil {
		return inSubmodule(name, err)
	}
	target, err := plainDir(dst, s.Path)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "the submodule %s cannot be written", name).Named("source_submodule")
	}
	t.say(fmt.Sprintf("Submodule %s from %s", name, printable(at.shown())))
	_, err = t.write(ctx, at, "", s.SHA, inside, target, depth+1)
	return inSubmodule(name, err)
}

// inSubmodule says of a fault which submodule it is about.
func inSubmodule(name string, err error) error {
	f := fault.As(err)
	if f == nil {
		return err
	}
	in := *f
	in.Message = "submodule " + name + ": " + f.Message
	return &in
}

// plainDir returns the directory below dst, made if need be. Nothing on the way may
// be a link: the repository's author could have put one there.
func plainDir(dst, path string) (string, error) {
	if !filepath.IsLocal(path) {
		return "", fmt.Errorf("%q leads out of the repository", path)
	}
	full := dst
	for part := range strings.SplitSeq(filepath.Clean(path), "/") {
		full = filepath.Join(full, part)
		info, err := os.Lstat(full)
		if os.IsNotExist(err) {
			if err := os.Mkdir(full, 0o755); err != nil {
				return "", err
			}
			continue
		}
		if err != nil {
			return "", err
		}
		if !info.IsDir() {
			return "", fmt.Errorf("%s is no directory", full)
		}
	}
	return full, nil
}

// printable is a name of a repository's as a line of a log can hold it.
func printable(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.QuoteToASCII(name)
	}
	return name
}
