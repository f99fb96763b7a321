package source

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// repository makes a repository and returns its file:// address and a function
// that commits files and returns the hash.
func repository(t *testing.T) (string, func(files map[string]string) string) {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=a@b",
			"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q", "-b", "main")
	return "file://" + dir, func(files map[string]string) string {
		for name, content := range files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		git("add", "-A")
		git("commit", "-q", "-m", "a change")
		return git("rev-parse", "HEAD")
	}
}

func fetcher(t *testing.T, allowFile bool) *Fetcher {
	t.Helper()
	f, err := New(Options{Dir: t.TempDir(), AllowFile: allowFile, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func nothing(string) {}

func TestTheExactCommitIsWritten(t *testing.T) {
	t.Parallel()
	url, commit := repository(t)
	first := commit(map[string]string{"main.tf": "one", "dir/x": "y"})
	commit(map[string]string{"main.tf": "two"})
	f := fetcher(t, true)
	dst := filepath.Join(t.TempDir(), "source")
	got, err := f.Fetch(t.Context(), Request{Repository: url, Branch: "main", SHA: first}, dst, nothing)
	if err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(filepath.Join(dst, "main.tf"))
	if string(data) != "one" || got.SHA != first || got.Author != "Ann" || got.Message != "a change" || got.Timestamp == 0 {
		t.Fatalf("got %+v and %q", got, data)
	}
	if _, err := os.Stat(filepath.Join(dst, ".git")); err == nil {
		t.Fatal("a .git directory was written")
	}
}

// A run that is stopped while its source is fetched kills git at any moment.
func TestAGitThatWasKilledLeavesAUsableCache(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(git string) error{
		"half of a new repository": func(git string) error {
			return errors.Join(os.RemoveAll(git), os.MkdirAll(filepath.Join(git, "refs"), 0o700), os.WriteFile(filepath.Join(git, "HEAD.lock"), nil, 0o600))
		},
		"an unfinished new repository": func(git string) error {
			return errors.Join(os.Rename(git, git+".new"), os.Remove(filepath.Join(git+".new", "HEAD")))
		},
		"the lock of a shallow fetch": func(git string) error { return os.WriteFile(filepath.Join(git, "shallow.lock"), nil, 0o600) },
		"the lock of a reference": func(git string) error {
			refs, _ := filepath.Glob(filepath.Join(git, "refs", "spaceport", "*"))
			return os.WriteFile(refs[0]+".lock", nil, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, commit := repository(t)
			f := fetcher(t, true)
			fetch := func(sha string) error {
				_, err := f.Fetch(t.Context(), Request{Repository: url, Branch: "main", SHA: sha}, filepath.Join(t.TempDir(), "source"), nothing)
				return err
			}
			sha := commit(map[string]string{"main.tf": "one"})
			if err := fetch(sha); err != nil {
				t.Fatal(err)
			}
			caches, _ := filepath.Glob(filepath.Join(f.o.Dir, "*", "git"))
			if len(caches) != 1 {
				t.Fatalf("caches %v", caches)
			}
			notes, _ := filepath.Glob(filepath.Join(filepath.Dir(caches[0]), "have", "*"))
			for _, note := range notes { // it was killed before it could be noted
				if err := os.Remove(note); err != nil {
					t.Fatal(err)
				}
			}
			if err := damage(caches[0]); err != nil {
				t.Fatal(err)
			}
			if err := fetch(sha); err != nil {
				t.Errorf("the same commit: %v", err)
			}
			if err := fetch(commit(map[string]string{"main.tf": "two"})); err != nil {
				t.Errorf("the next commit: %v", err)
			}
		})
	}
}

func TestABranchIsPinnedToItsNewestCommit(t *testing.T) {
	t.Parallel()
	url, commit := repository(t)
	commit(map[string]string{"a": "1"})
	second := commit(map[string]string{"a": "2"})
	got, err := fetcher(t, true).Fetch(t.Context(), Request{Repository: url, Branch: "main"}, filepath.Join(t.TempDir(), "s"), nothing)
	if err != nil || got.SHA != second {
		t.Fatalf("got %+v, %v; want %s", got, err, second)
	}
}

func TestACachedCommitNeedsNoRepository(t *testing.T) {
	t.Parallel()
	url, commit := repository(t)
	sha := commit(map[string]string{"a": "1"})
	f := fetcher(t, true)
	r := Request{Repository: url, Branch: "main", SHA: sha}
	if _, err := f.Fetch(t.Context(), r, filepath.Join(t.TempDir(), "s"), nothing); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(strings.TrimPrefix(url, "file://")); err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "s")
	if _, err := f.Fetch(t.Context(), r, dst, nothing); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(filepath.Join(dst, "a")); string(data) != "1" {
		t.Fatalf("got %q", data)
	}
}

func TestAddressesThatMayNotBeUsedAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url       string
		allowFile bool
		want      string
	}{
		{"file:///srv/x", false, "does not fetch source by a file:// address"},
		{"/srv/x", true, "neither https nor ssh"},
		{"http://example.com/x", true, "plain http from example.com"},
		{"--upload-pack=touch /tmp/x", true, "cannot be used"},
		{"ext::sh -c id", true, "neither https nor ssh"},
		{"ssh://-oProxyCommand=id/x", true, "neither https nor ssh"},
		{"git://host/x", true, "neither https nor ssh"},
		{"file://host/x", true, "neither https nor ssh"},
		{"https://user:canary@/x", true, "holds a password"},
		{"https://user:canary@host/x", true, "https://host/x holds a password"},
		{"private://nosuch/x", true, "no address for private://nosuch"},
	} {
		_, err := fetcher(t, c.allowFile).Fetch(t.Context(), Request{Repository: c.url, Branch: "main"}, t.TempDir(), nothing)
		if f := fault.As(err); f == nil || !strings.Contains(f.Message, c.want) {
			t.Errorf("%s: got %v", c.url, err)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the password stands in %v", c.url, err)
		}
	}
	for _, good := range []string{"https://host/x.git", "git@host:o/n.git", "ssh://git@host/o/n", "http://127.0.0.1:99/x"} {
		if _, err := fetcher(t, false).address(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func TestNothingOfTheRepositoryIsExecuted(t *testing.T) {
	t.Parallel()
	url, commit := repository(t)
	witness := filepath.Join(t.TempDir(), "witness")
	script := fmt.Sprintf("#!/bin/sh\ntouch %s\ncat\n", witness)
	dir := strings.TrimPrefix(url, "file://")
	for _, hook := range []string{"post-checkout", "post-index-change", "reference-transaction", "pre-receive", "post-update"} {
		if err := os.WriteFile(filepath.Join(dir, ".git", "hooks", hook), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sha := commit(map[string]string{
		".gitattributes": "* filter=evil\n", "f": "text", "hooks/post-checkout": script,
		".gitmodules": "[submodule \"x\"]\n\tpath = x\n\turl = " + url + "\n",
	})
	_ = os.Remove(witness) // the commit itself ran hooks
	f := fetcher(t, true)
	// A configuration of the launcher's user must not count either.
	if err := os.WriteFile(filepath.Join(f.o.Dir, "home", ".gitconfig"), []byte("[filter \"evil\"]\n\tsmudge = touch "+witness+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "s")
	if _, err := f.Fetch(t.Context(), Request{Repository: url, Branch: "main", SHA: sha}, dst, nothing); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(witness); err == nil {
		t.Fatal("a hook or filter ran")
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	url, commit := repository(t)
	commit(map[string]string{"a": "1"})
	f := fetcher(t, true)
	_, err := f.Fetch(t.Context(), Request{Repository: url, Branch: "nosuch"}, t.TempDir(), nothing)
	if err == nil || !strings.Contains(err.Error(), "no branch nosuch") {
		t.Errorf("got %v", err)
	}
	sha := strings.Repeat("ab", 20)
	_, err = f.Fetch(t.Context(), Request{Repository: url, Branch: "main", SHA: sha}, t.TempDir(), nothing)
	if err == nil || !strings.Contains(err.Error(), "has no commit "+sha+" any more") {
		t.Errorf("got %v", err)
	}
}
