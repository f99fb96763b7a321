package source

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// contentVersion changes with the meaning of content: a note of another version is
// not believed, and the commit fetched again.
const contentVersion = 2

// content is what is known of a commit once it was fetched, so that a cached one
// needs no second look.
type content struct {
	V          int         `json:"v"`
	Commit     wire.Commit `json:"commit"`
	Submodules []submodule `json:"submodules,omitempty"`
	// LFS is how many files are pointers into Git LFS.
	LFS        int    `json:"lfs,omitempty"`
	LFSExample string `json:"lfs_example,omitempty"`
}

// submodule is another repository's commit below a path of this one. URL is as
// .gitmodules has it; empty if it says nothing of the path.
type submodule struct {
	Path string `json:"path"`
	SHA  string `json:"sha"`
	URL  string `json:"url"`
}

const (
	modeFile      = "100644"
	modeGitlink   = "160000"
	modulesFile   = ".gitmodules"
	attributeFile = ".gitattributes"
)

// inspect looks through a commit.
func (c *cache) inspect(ctx context.Context) (content, error) {
	found := content{V: contentVersion}
	var err error
	if found.Commit, err = c.commit(ctx); err != nil {
		return found, err
	}
	out, err := c.git(ctx, nil, "ls-tree", "-r", "-z", "--full-tree", c.sha)
	if err != nil {
		return found, err
	}
	var modules, attributes bool
	for entry := range strings.SplitSeq(out, "\x00") {
		meta, name, ok := strings.Cut(entry, "\t")
		field := strings.Fields(meta)
		switch {
		case !ok || len(field) != 3:
		case field[0] == modeGitlink:
			found.Submodules = append(found.Submodules, submodule{Path: name, SHA: field[2]})
		case name == modulesFile:
			modules = field[0] == modeFile // nothing else is read, as git does not
		case path.Base(name) == attributeFile:
			attributes = true
		}
	}
	if len(found.Submodules) > 0 && modules {
		if err := c.modules(ctx, &found); err != nil {
			return found, err
		}
	}
	if attributes {
		err = c.pointers(ctx, &found)
	}
	return found, err
}

// modules reads the addresses of submodules. One whose update is none stays away.
func (c *cache) modules(ctx context.Context, found *content) error {
	out, err := c.git(ctx, nil, "config", "-z", "--blob", c.sha+":"+modulesFile, "--get-regexp", `^submodule\..*\.(path|url|update)$`)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "the file %s of commit %s cannot be read", modulesFile, c.sha).Named("source_submodule")
	}
	type module struct{ path, url, update string }
	byName := map[string]*module{}
	for entry := range strings.SplitSeq(out, "\x00") {
		key, value, _ := strings.Cut(entry, "\n")
		dot := strings.LastIndexByte(key, '.')
		if dot < 0 {
			continue
		}
		m := byName[key[:dot]]
		if m == nil {
			m = &module{}
			byName[key[:dot]] = m
		}
		switch key[dot+1:] {
		case "path":
			m.path = path.Clean(value)
		case "url":
			m.url = value
		case "update":
			m.update = value
		}
	}
	kept := found.Submodules[:0]
	for _, s := range found.Submodules {
		skip := false
		for _, m := range byName {
			if m.path == s.Path {
				s.URL, skip = m.url, m.update == "none"
			}
		}
		if !skip {
			kept = append(kept, s)
		}
	}
	found.Submodules = kept
	return nil
}

// pointers counts the files that are kept in Git LFS.
func (c *cache) pointers(ctx context.Context, found *content) error {
	// git grep exits 1 where nothing is found, and says nothing.
	grep := func(args ...string) ([]string, error) {
		out, err := c.git(ctx, nil, append([]string{"grep", "-z", "--files-with-matches", "--full-name"}, args...)...)
		if f := (*failure)(nil); errors.As(err, &f) && f.said == "" {
			return nil, nil
		}
		return strings.Split(strings.TrimSuffix(out, "\x00"), "\x00"), err
	}
	used, err := grep("--fixed-strings", "-e", "filter=lfs", c.sha, "--", attributeFile, ":(glob)**/"+attributeFile)
	if err != nil || len(used) == 0 {
		return err
	}
	files, err := grep("-e", "^version https://git-lfs[.]github[.]com/spec/v1$", c.sha)
	if err != nil || len(files) == 0 {
		return err
	}
	found.LFS, found.LFSExample = len(files), strings.TrimPrefix(files[0], c.sha+":")
	return nil
}

// checkout writes the files. The index is a file of its own, so that nothing of
// an earlier checkout is believed.
func (c *cache) checkout(ctx context.Context, sha string, sparse []string, dst string) error {
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return fault.Wrap(err, fault.Internal, "the source cannot be written: %v", err)
	}
	index := filepath.Join(c.dir, "index")
	_ = os.Remove(index)
	defer os.Remove(index)
	env := []string{"GIT_DIR=" + filepath.Join(c.dir, "git"), "GIT_WORK_TREE=" + dst, "GIT_INDEX_FILE=" + index}
	damaged := func(err error) error {
		_ = os.Remove(c.note(sha)) // the cache is damaged: fetch again next time
		return err
	}
	if _, err := c.git(ctx, env, "read-tree", sha); err != nil {
		return damaged(err)
	}
	do := call{env: env, args: []string{"checkout-index", "--all", "--force", "--quiet"}}
	if len(sparse) > 0 {
		names, err := c.git(ctx, env, append([]string{"--literal-pathspecs", "ls-files", "-z", "--"}, sparse...)...)
		if err != nil {
			return damaged(err)
		}
		if names == "" {
			c.say("No sparse checkout path is in commit " + sha)
			return nil
		}
		do.args, do.stdin = []string{"checkout-index", "--force", "--quiet", "-z", "--stdin"}, strings.NewReader(names)
	}
	if _, err := c.run(ctx, do); err != nil {
		return damaged(err)
	}
	return nil
}

// cleanPaths puts sparse paths into their shortest form. The whole repository is
// no path.
func cleanPaths(paths []string) []string {
	var clean []string
	for _, p := range paths {
		p = path.Clean(filepath.ToSlash(p))
		if p == "." {
			return nil
		}
		clean = append(clean, p)
	}
	slices.Sort(clean)
	return slices.Compact(clean)
}

// below tells what of sparse lies in dir: all if nothing is left out there.
func below(sparse []string, dir string) (inside []string, any bool) {
	if len(sparse) == 0 {
		return nil, true
	}
	for _, p := range sparse {
		if p == dir || strings.HasPrefix(dir, p+"/") {
			return nil, true
		}
		if rest, ok := strings.CutPrefix(p, dir+"/"); ok {
			inside = append(inside, rest)
		}
	}
	return inside, len(inside) > 0
}
