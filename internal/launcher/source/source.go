package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

var (
	shaForm    = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)
	branchForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./@+=-]*$`)
)

// Options configure a Fetcher.
type Options struct {
	Dir       string   // of the caches
	Git       string   // git's path; looked up in Path if empty
	Path      string   // PATH of git and ssh
	Proxies   []string // variables that name proxies
	Hide      []string // what is never shown of what git says, such as a proxy's password
	AllowFile bool
	// PrivateVCS are the base addresses behind private://NAME, by name.
	PrivateVCS map[string]string
	// KnownHosts are lines of SSH host keys that the operator vouches for.
	KnownHosts string
	// CAFile is a PEM file of the authorities that https hosts are judged by; the
	// host's own if empty.
	CAFile  string
	Timeout time.Duration // of one git command; half an hour if zero
	// ProgressEvery is how often a long fetch tells how far it is; five seconds if zero.
	ProgressEvery time.Duration
	Now           func() time.Time
	Log           *slog.Logger
}

// Fetcher fetches source. It is safe for concurrent use, also by several
// launchers over one directory.
type Fetcher struct{ o Options }

// New makes a Fetcher.
func New(o Options) (*Fetcher, error) {
	if o.Dir == "" || o.Log == nil {
		return nil, errors.New("source: an option is missing")
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Minute
	}
	if o.ProgressEvery == 0 {
		o.ProgressEvery = progressEvery
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Path == "" {
		o.Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, "home"), 0o700); err != nil {
		return nil, fmt.Errorf("make the source cache: %w", err)
	}
	return &Fetcher{o: o}, nil
}

// Request names what to fetch. SHA may be empty: then it is the branch's newest
// commit, and the answer says which.
type Request struct {
	Repository, Branch, SHA string
	// Sparse are the paths that are written, with all below them; everything if
	// empty.
	Sparse []string
	// Credential is for the host that it names, and may be nil.
	Credential *wire.SourceCredential
}

// Fetch writes the files of a commit and of its submodules into dst, a directory
// that is empty or doesn't exist and that no run has seen, and returns the commit.
// say gets short lines for the run's log. Faults: *.source_*.
func (f *Fetcher) Fetch(ctx context.Context, r Request, dst string, say func(string)) (wire.Commit, error) {
	at, err := f.address(r.Repository)
	if err != nil {
		return wire.Commit{}, err
	}
	if r.SHA != "" && !shaForm.MatchString(r.SHA) {
		return wire.Commit{}, fault.New(fault.Invalid, "%q is not a full commit hash", r.SHA).Named("source_commit")
	}
	if r.SHA == "" && (!branchForm.MatchString(r.Branch) || strings.Contains(r.Branch, "..")) {
		return wire.Commit{}, fault.New(fault.Invalid, "%q is not the name of a branch", r.Branch).Named("source_branch")
	}
	for _, path := range r.Sparse {
		if !filepath.IsLocal(path) {
			return wire.Commit{}, fault.New(fault.Invalid, "the sparse checkout path %q is not below the repository", path).Named("source_sparse")
		}
	}
	t := &assembly{f: f, credential: r.Credential, say: say}
	return t.write(ctx, at, r.Branch, r.SHA, cleanPaths(r.Sparse), dst, 0)
}

// assembly is one repository with its submodules, as it is put together.
type assembly struct {
	f          *Fetcher
	credential *wire.SourceCredential
	say        func(string)
	submodules int // written so far
}

// write puts one commit into dst, and then its submodules, depth below the stack's
// own repository.
func (t *assembly) write(ctx context.Context, at address, branch, sha string, sparse []string, dst string, depth int) (wire.Commit, error) {
	c := t.f.cache(at, branch, sha, credentialFor(t.credential, at), t.say)
	content, err := c.write(ctx, sparse, dst)
	if err != nil {
		return wire.Commit{}, c.explain(err)
	}
	t.tellLFS(content)
	for _, s := range content.Submodules {
		if err := t.submodule(ctx, at, s, sparse, dst, depth); err != nil {
			return wire.Commit{}, err
		}
	}
	return content.Commit, nil
}

// tellLFS says which files are not what they seem.
func (t *assembly) tellLFS(c content) {
	if c.LFS == 0 {
		return
	}
	t.say(fmt.Sprintf("%d files, such as %s, are kept in Git LFS, which is not fetched: their pointers stand in their place", c.LFS, printable(c.LFSExample)))
}

// cache names the cache of an address. What a credential opened is kept apart, so
// that a stack without it cannot have a private repository's files from the cache.
func (f *Fetcher) cache(at address, branch, sha string, cred credential, say func(string)) *cache {
	name := at.url
	if id := cred.id(); id != "" {
		name += "\x00" + id
	}
	sum := sha256.Sum256([]byte(name))
	return &cache{f: f, dir: filepath.Join(f.o.Dir, hex.EncodeToString(sum[:])), at: at, branch: branch, sha: sha, credential: cred, say: say}
}
