package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/lease"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// cache is the bare repository of one address.
type cache struct {
	f           *Fetcher
	dir         string
	at          address
	branch, sha string // sha may be empty until it is resolved
	credential  credential
	say         func(string)
}

// write fetches the commit unless it is there, and writes its files.
func (c *cache) write(ctx context.Context, sparse []string, dst string) (content, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return content{}, unusable(err)
	}
	defer unlock()
	if c.sha == "" {
		if c.sha, err = c.resolve(ctx); err != nil {
			return content{}, err
		}
	}
	found, have := c.known(c.sha)
	if have {
		c.say("Source at commit " + c.sha + " is cached")
	} else {
		c.say("Fetching source at commit " + c.sha)
		if found, err = c.fetch(ctx); err != nil {
			return content{}, err
		}
	}
	kept, key := trees{dir: filepath.Join(c.dir, "trees"), boot: lease.BootID()}, treeKey(c.sha, sparse)
	if have && kept.copyTo(key, dst) {
		return found, nil
	}
	if err := c.checkout(ctx, c.sha, sparse, dst); err != nil {
		return content{}, err
	}
	kept.keep(key, dst)
	return found, nil
}

// treeKey names the tree of a commit, or of the paths of it that are written.
func treeKey(sha string, sparse []string) string {
	if len(sparse) == 0 {
		return sha
	}
	sum := sha256.Sum256([]byte(strings.Join(sparse, "\x00")))
	return sha + "-" + hex.EncodeToString(sum[:16])
}

// lockRetry is how long a fetch by somebody else is left alone before it is asked
// for again.
const lockRetry = 20 * time.Millisecond

// lock makes this the only one that works on the cache.
func (c *cache) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Join(c.dir, "have"), 0o700); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(c.dir, "lock"), flock.SetFlag(os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW))
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return nil, fmt.Errorf("wait for the cache of the repository: %w", err)
	}
	return func() { _ = lock.Unlock() }, nil // the end of the process unlocks too
}

func (c *cache) note(sha string) string { return filepath.Join(c.dir, "have", sha) }

// known tells whether a commit was fetched as a whole. The note is written
// after the fetch, so that an interrupted one does not count.
func (c *cache) known(sha string) (found content, ok bool) {
	data, err := os.ReadFile(c.note(sha))
	return found, err == nil && json.Unmarshal(data, &found) == nil && found.V == contentVersion && found.Commit.SHA == sha
}

func (c *cache) resolve(ctx context.Context) (string, error) {
	out, err := c.remote(ctx, func(url string) []string {
		return []string{"ls-remote", "--", url, "refs/heads/" + c.branch}
	})
	if err != nil {
		return "", err
	}
	sha, _, _ := strings.Cut(out, "\t")
	if !shaForm.MatchString(sha) {
		return "", fault.New(fault.NotFound, "the repository %s has no branch %s", c.at.shown(), c.branch).Named("source_branch")
	}
	return sha, nil
}

func (c *cache) fetch(ctx context.Context) (content, error) {
	sha := c.sha
	if err := c.repository(ctx); err != nil {
		return content{}, err
	}
	options := []string{"fetch", "--progress", "--no-tags", "--no-recurse-submodules", "--no-auto-gc", "--force"}
	_, err := c.remote(ctx, func(url string) []string {
		return append(options, "--depth=1", "--", url, sha+":refs/spaceport/"+sha)
	})
	if f := (*failure)(nil); errors.As(err, &f) && unoffered.MatchString(f.said) && branchForm.MatchString(c.branch) {
		// A server may refuse to be asked for a bare hash; the branch's history has it.
		ref := "refs/heads/" + c.branch
		if _, err = c.remote(ctx, func(url string) []string { return append(options, "--", url, ref+":"+ref) }); err != nil {
			if errors.As(err, &f) && strings.Contains(f.said, "couldn't find remote ref") {
				return content{}, fault.Wrap(err, fault.NotFound, "the repository %s has neither commit %s nor a branch %s", c.at.shown(), sha, c.branch).Named("source_commit")
			}
			return content{}, err
		}
		_, err = c.git(ctx, nil, "update-ref", "refs/spaceport/"+sha, sha)
	}
	if f := (*failure)(nil); errors.As(err, &f) && (unoffered.MatchString(f.said) || f.verb == "update-ref") {
		return content{}, fault.Wrap(err, fault.NotFound, "the repository %s has no commit %s any more", c.at.shown(), sha).Named("source_commit").
			WithHint("was its branch force-pushed? trigger a run on a commit that is there")
	}
	if err != nil {
		return content{}, err
	}
	found, err := c.inspect(ctx)
	if err != nil {
		return content{}, err
	}
	data, err := json.Marshal(found)
	if err != nil {
		return content{}, err
	}
	return found, os.WriteFile(c.note(sha), data, 0o600)
}

// repository makes the bare repository, unless it is there, and makes it usable after
// a git that was killed, as a stopped run's is: half of a new repository, or a lock file
// that nobody holds, would fail every later run. Whoever calls it holds the cache.
func (c *cache) repository(ctx context.Context) error {
	dir := filepath.Join(c.dir, "git")
	if _, err := os.Stat(filepath.Join(dir, "HEAD")); err == nil {
		return unlocked(dir)
	}
	// A whole repository appears, or none.
	fresh := dir + ".new"
	for _, path := range []string{dir, fresh} {
		if err := os.RemoveAll(path); err != nil {
			return unusable(err)
		}
	}
	if _, err := c.git(ctx, []string{"GIT_DIR=" + fresh}, "init", "--quiet", "--bare", "--template=", fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return unusable(err)
	}
	return nil
}

// unlocked removes the lock files of a repository in which no git works. Objects need
// none.
func unlocked(dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() && path == filepath.Join(dir, "objects"):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ".lock"):
			return os.Remove(path)
		}
		return nil
	})
	if err != nil {
		return unusable(err)
	}
	return nil
}

// unoffered is how git says that a server does not give out a commit by its hash.
var unoffered = regexp.MustCompile(`not our ref|unadvertised object|couldn't find remote ref|did not send all necessary objects`)

// commit reads what is shown of a commit.
func (c *cache) commit(ctx context.Context) (wire.Commit, error) {
	out, err := c.git(ctx, nil, "log", "-1", "--no-show-signature", "--format=%H%x00%an%x00%ct%x00%s", c.sha+"^{commit}", "--")
	if err != nil {
		return wire.Commit{}, err
	}
	part := strings.SplitN(strings.TrimSuffix(out, "\n"), "\x00", 4)
	if len(part) != 4 || part[0] != c.sha {
		return wire.Commit{}, fault.New(fault.Invalid, "git answered with another commit than %s", c.sha).Named("source_commit")
	}
	commit := wire.Commit{SHA: c.sha, Author: part[1], Message: part[3]}
	commit.Timestamp, _ = strconv.ParseInt(part[2], 10, 64)
	return commit, nil
}

// maxRedirects is how often a repository may have moved on its own host.
const maxRedirects = 3

// remote runs a command that reaches the repository's host. Where the repository
// has moved on that host, it is followed; where it is said to be on another one, it
// is not: a credential, and what a run is made of, are one host's matter.
func (c *cache) remote(ctx context.Context, args func(url string) []string) (string, error) {
	for range maxRedirects {
		out, err := c.run(ctx, call{args: args(c.at.url), remote: true, say: c.say})
		if f := (*failure)(nil); !errors.As(err, &f) || !f.redirected() {
			return out, err
		}
		if err := c.follow(ctx); err != nil {
			return "", err
		}
	}
	return "", fault.New(fault.Invalid, "the repository %s is redirected again and again", c.at.shown()).Named("source_redirect")
}

var location = regexp.MustCompile(`(?im)recv header[^:]*: location: *([^\s]+)$`)

// discovery is what git adds to a repository's address to ask what there is.
const discovery = "/info/refs"

// follow asks where the repository has moved to.
func (c *cache) follow(ctx context.Context) error {
	_, err := c.run(ctx, call{args: []string{"ls-remote", "--", c.at.url}, remote: true, trace: true})
	f := (*failure)(nil)
	if !errors.As(err, &f) {
		return err
	}
	elsewhere := fault.New(fault.Invalid, "the repository %s is redirected to where no repository is", c.at.shown()).Named("source_redirect").
		WithHint("use the address that it has now")
	found := location.FindAllStringSubmatch(f.said, -1)
	if len(found) == 0 {
		return elsewhere
	}
	from, err := url.Parse(c.at.url)
	if err != nil {
		return elsewhere
	}
	to, err := from.Parse(found[len(found)-1][1])
	if err != nil {
		return elsewhere
	}
	if scheme, host := wire.RepositoryHost(to.String()); scheme != c.at.scheme || host != c.at.host {
		return fault.New(fault.Forbidden, "%s redirects the repository to %s://%s, which was not followed", c.at.host, printable(to.Scheme), printable(to.Host)).
			Named("source_redirect").WithHint("use the address that it has now")
	}
	path, ok := strings.CutSuffix(to.Path, discovery)
	if !ok {
		return elsewhere
	}
	moved := *from
	moved.Path, moved.RawPath, moved.RawQuery = path, "", ""
	c.at.url = moved.String()
	return nil
}
