package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

var (
	shaForm    = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)
	branchForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./@+=-]*$`)
)

// Options configure a Fetcher.
type Options struct {
	Dir       string // of the caches
	Git       string // git's path; looked up in Path if empty
	Path      string // PATH of git and ssh
	Proxies   []string
	AllowFile bool
	Timeout   time.Duration // of one git command; ten minutes if zero
	Log       *slog.Logger
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
		o.Timeout = 10 * time.Minute
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
}

// Fetch writes the files of a commit into dst, a directory that is empty or
// doesn't exist and that no run has seen, and returns the commit. say gets short
// lines for the run's log. Faults: forbidden or invalid.source_*.
func (f *Fetcher) Fetch(ctx context.Context, r Request, dst string, say func(string)) (wire.Commit, error) {
	if err := checkAddress(r.Repository, f.o.AllowFile); err != nil {
		return wire.Commit{}, err
	}
	if r.SHA != "" && !shaForm.MatchString(r.SHA) {
		return wire.Commit{}, fault.New(fault.Invalid, "%q is not a full commit hash", r.SHA).Named("source_commit")
	}
	if r.SHA == "" && (!branchForm.MatchString(r.Branch) || strings.Contains(r.Branch, "..")) {
		return wire.Commit{}, fault.New(fault.Invalid, "%q is not the name of a branch", r.Branch).Named("source_branch")
	}
	sum := sha256.Sum256([]byte(r.Repository))
	c := &cache{f: f, dir: filepath.Join(f.o.Dir, hex.EncodeToString(sum[:])), request: r}
	unlock, err := c.lock()
	if err != nil {
		return wire.Commit{}, fault.Wrap(err, fault.Internal, "the source cache cannot be used: %v", err)
	}
	defer unlock()
	if r.SHA == "" {
		if r.SHA, err = c.resolve(ctx); err != nil {
			return wire.Commit{}, err
		}
		c.request.SHA = r.SHA
	}
	commit, have := c.known(r.SHA)
	if !have {
		say("Fetching source at commit " + r.SHA)
		if commit, err = c.fetch(ctx); err != nil {
			return wire.Commit{}, err
		}
	} else {
		say("Source at commit " + r.SHA + " is cached")
	}
	kept := trees{dir: filepath.Join(c.dir, "trees"), boot: bootID()}
	if have && kept.copyTo(r.SHA, dst) {
		return commit, nil
	}
	if err := c.checkout(ctx, r.SHA, dst); err != nil {
		return commit, err
	}
	kept.keep(r.SHA, dst)
	return commit, nil
}

// cache is the bare repository of one address.
type cache struct {
	f       *Fetcher
	dir     string
	request Request
}

func (c *cache) lock() (func(), error) {
	if err := os.MkdirAll(filepath.Join(c.dir, "have"), 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(c.dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return func() { lock.Close() }, nil
}

func (c *cache) note(sha string) string { return filepath.Join(c.dir, "have", sha) }

// known tells whether a commit was fetched as a whole. The note is written
// after the fetch, so that an interrupted one does not count.
func (c *cache) known(sha string) (commit wire.Commit, ok bool) {
	data, err := os.ReadFile(c.note(sha))
	return commit, err == nil && json.Unmarshal(data, &commit) == nil && commit.SHA == sha
}

func (c *cache) resolve(ctx context.Context) (string, error) {
	out, err := c.git(ctx, nil, "ls-remote", "--", c.request.Repository, "refs/heads/"+c.request.Branch)
	if err != nil {
		return "", err
	}
	sha, _, _ := strings.Cut(out, "\t")
	if !shaForm.MatchString(sha) {
		return "", fault.New(fault.NotFound, "the repository has no branch %s", c.request.Branch).Named("source_branch")
	}
	return sha, nil
}

func (c *cache) fetch(ctx context.Context) (wire.Commit, error) {
	sha := c.request.SHA
	if _, err := os.Stat(filepath.Join(c.dir, "git", "HEAD")); err != nil {
		if _, err := c.git(ctx, nil, "init", "--quiet", "--bare", "--template=", filepath.Join(c.dir, "git")); err != nil {
			return wire.Commit{}, err
		}
	}
	options := []string{"fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-gc", "--force"}
	_, err := c.git(ctx, nil, append(options, "--depth=1", "--", c.request.Repository, sha+":refs/spaceport/"+sha)...)
	if err != nil && ctx.Err() == nil && branchForm.MatchString(c.request.Branch) {
		// A server may refuse to be asked for a bare hash; the branch's history has it.
		ref := "refs/heads/" + c.request.Branch
		if _, err2 := c.git(ctx, nil, append(options, "--", c.request.Repository, ref+":"+ref)...); err2 != nil {
			return wire.Commit{}, err
		}
		_, err = c.git(ctx, nil, "update-ref", "refs/spaceport/"+sha, sha)
	}
	if err != nil {
		return wire.Commit{}, fault.Wrap(err, fault.NotFound, "commit %s cannot be fetched: %v", sha, err).Named("source_commit")
	}
	out, err := c.git(ctx, nil, "log", "-1", "--no-show-signature", "--format=%H%x00%an%x00%ct%x00%s", sha+"^{commit}", "--")
	if err != nil {
		return wire.Commit{}, err
	}
	part := strings.SplitN(strings.TrimSuffix(out, "\n"), "\x00", 4)
	if len(part) != 4 || part[0] != sha {
		return wire.Commit{}, fault.New(fault.Invalid, "git answered with another commit than %s", sha).Named("source_commit")
	}
	commit := wire.Commit{SHA: sha, Author: part[1], Message: part[3]}
	commit.Timestamp, _ = strconv.ParseInt(part[2], 10, 64)
	data, err := json.Marshal(commit)
	if err != nil {
		return wire.Commit{}, err
	}
	return commit, os.WriteFile(c.note(sha), data, 0o600)
}

// checkout writes the files. The index is a file of its own, so that nothing of
// an earlier checkout is believed.
func (c *cache) checkout(ctx context.Context, sha, dst string) error {
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return fault.Wrap(err, fault.Internal, "the source cannot be written: %v", err)
	}
	index := filepath.Join(c.dir, "index")
	_ = os.Remove(index)
	defer os.Remove(index)
	env := []string{"GIT_DIR=" + filepath.Join(c.dir, "git"), "GIT_WORK_TREE=" + dst, "GIT_INDEX_FILE=" + index}
	if _, err := c.git(ctx, env, "read-tree", sha); err != nil {
		_ = os.Remove(c.note(sha)) // the cache is damaged: fetch again next time
		return err
	}
	if _, err := c.git(ctx, env, "checkout-index", "--all", "--force", "--quiet"); err != nil {
		_ = os.Remove(c.note(sha))
		return err
	}
	return nil
}
