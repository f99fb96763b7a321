package source

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// in runs git in a repository as its author and returns what it prints.
func in(t *testing.T, url string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "protocol.file.allow=always"}, args...)...)
	cmd.Dir = strings.TrimPrefix(url, "file://")
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=a@b",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// link records a submodule at a path, without fetching it, and commits.
func link(t *testing.T, url, path, sha, address string) string {
	t.Helper()
	in(t, url, "config", "-f", ".gitmodules", "submodule."+path+".path", path)
	if address != "" {
		in(t, url, "config", "-f", ".gitmodules", "submodule."+path+".url", address)
	}
	in(t, url, "add", "--", ".gitmodules")
	in(t, url, "update-index", "--add", "--cacheinfo", "160000,"+sha+","+path)
	in(t, url, "commit", "-q", "-m", "link "+path)
	return in(t, url, "rev-parse", "HEAD")
}

func TestSubmodulesAreWrittenAtTheirCommits(t *testing.T) {
	t.Parallel()
	deepURL, deepCommit := repository(t)
	deep := deepCommit(map[string]string{"deep.tf": "deep"})
	subURL, subCommit := repository(t)
	subCommit(map[string]string{"sub.tf": "sub"})
	link(t, subURL, "nested/deep", deep, "https://elsewhere.invalid/replaced")
	url, commit := repository(t)
	commit(map[string]string{"main.tf": "main"})
	root := filepath.Dir(filepath.Dir(strings.TrimPrefix(url, "file://"))) // of all three
	at := func(url string) string { return strings.TrimPrefix(url, "file://"+root) }

	// The nested one is on another host, which is open.
	open := newHTTPS(t, root, "")
	h := newHTTPS(t, root, canary)
	in(t, subURL, "config", "-f", ".gitmodules", "submodule.nested/deep.url", "https://"+open.host()+at(deepURL))
	in(t, subURL, "add", "--", ".gitmodules")
	in(t, subURL, "commit", "-qm", "the right address")
	sub := in(t, subURL, "rev-parse", "HEAD")
	link(t, url, "modules/sub", sub, "../.."+at(subURL))
	link(t, url, "unnamed", sub, "")
	link(t, url, "unwanted", sub, "https://nosuch.invalid/x")
	in(t, url, "config", "-f", ".gitmodules", "submodule.unwanted.update", "none")
	in(t, url, "add", "--", ".gitmodules")
	in(t, url, "commit", "-qm", "leave one out")

	f := h.fetcher(t)
	both := filepath.Join(t.TempDir(), "both.pem")
	if err := os.WriteFile(both, []byte(read("", h.ca)+read("", open.ca)), 0o600); err != nil {
		t.Fatal(err)
	}
	f.o.CAFile = both
	r := Request{Repository: "https://" + h.host() + at(url), Branch: "main", Credential: h.credential(canary)}
	for range 2 { // the second time from the cache
		dst, _, log, err := fetch(t, f, r)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"main.tf": "main", "modules/sub/sub.tf": "sub", "modules/sub/nested/deep/deep.tf": "deep"} {
			if got := read(dst, name); got != want {
				t.Errorf("%s holds %q", name, got)
			}
		}
		if !strings.Contains(log, "unnamed is a submodule without an address in .gitmodules") || strings.Contains(log, "unwanted") {
			t.Errorf("the log says %s", log)
		}
	}
	if with, all := open.authorized(); with > 0 || all == 0 {
		t.Errorf("the other host got %d requests, %d of them with a credential", all, with)
	}
}

func TestASubmoduleReachesNothingThatItsRepositoryMayNot(t *testing.T) {
	t.Parallel()
	f := fetcher(t, true)
	f.o.PrivateVCS = map[string]string{"corp": "http://10.0.0.1", "lab": "https://lab.example.com"}
	for _, c := range []struct{ base, sub, want string }{
		{"https://host/o/a.git", "../b.git", "https://host/o/b.git"},
		{"https://host/o/a.git/", "./../../x/b", "https://host/x/b"},
		{"https://host/o/a.git", "../../../b", "leads out"},
		{"https://host/o/a.git", "../../../../evil.example.com/b", "leads out"},
		{"https://host/o/a.git", "https://other/b", "https://other/b"},
		{"https://host/o/a.git", "git@other:o/b.git", "git@other:o/b.git"},
		{"https://host/o/a.git", "file:///srv/b", "cannot have a submodule at file:///srv/b"},
		{"https://host/o/a.git", "http://127.0.0.1:8500/v1", "cannot have a submodule at http://127.0.0.1:8500/v1"},
		{"https://host/o/a.git", "private://corp/b", "cannot have a submodule at private://corp/b"},
		{"https://host/o/a.git", "/srv/b", "neither https nor ssh"},
		{"https://host/o/a.git", "https://u:" + canary + "@host/b", "holds a password"},
		{"https://host/o/a.git", "-upload-pack=x", "cannot be used"},
		{"git@host:o/a.git", "../b.git", "git@host:o/b.git"},
		{"git@host:a.git", "../b.git", "git@host:b.git"},
		{"git@host:a.git", "../../b.git", "leads out"},
		{"ssh://git@host:2222/o/a.git", "../b.git", "ssh://git@host:2222/o/b.git"},
		{"private://corp/o/a.git", "../b.git", "http://10.0.0.1/o/b.git"},
		{"private://corp/o/a.git", "private://lab/b", "cannot have a submodule"},
		{"file:///srv/a", "../b", "file:///srv/b"},
		{"http://127.0.0.1:99/a", "http://127.0.0.1:98/b", "cannot have a submodule"},
	} {
		base, err := f.address(c.base)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.submodule(base, c.sub)
		said := got.url
		if err != nil {
			said = err.Error()
		}
		if !strings.Contains(said, c.want) || (err == nil && said != c.want) || strings.Contains(said, canary) {
			t.Errorf("%s in %s: got %s, want %s", c.sub, c.base, said, c.want)
		}
	}
}

func TestALinkOnTheWayToASubmoduleIsNotFollowed(t *testing.T) {
	t.Parallel()
	dst, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dst, "link")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"link", "link/sub", "../x", "/etc"} {
		if got, err := plainDir(dst, path); err == nil {
			t.Errorf("%s led to %s", path, got)
		}
	}
	if got, err := plainDir(dst, "a/b"); err != nil || got != filepath.Join(dst, "a", "b") {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestASparseCheckoutWritesItsPathsAlone(t *testing.T) {
	t.Parallel()
	url, commit := repository(t)
	commit(map[string]string{"top": "1", "a/x": "2", "a/b/y": "3", "ab/z": "4", "c/*": "5", "c/d": "6"})
	get := func(paths ...string) (string, string) {
		dst, _, log, err := fetch(t, fetcher(t, true), Request{Repository: url, Branch: "main", Sparse: paths})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		_ = filepath.WalkDir(dst, func(name string, d os.DirEntry, _ error) error {
			if !d.IsDir() {
				rel, _ := filepath.Rel(dst, name)
				names = append(names, rel)
			}
			return nil
		})
		return strings.Join(names, " "), log
	}
	for paths, want := range map[string]string{
		"a": "a/b/y a/x", "a/b/,top": "a/b/y top", "c/*": "c/*", ".": "a/b/y a/x ab/z c/* c/d top", "": "a/b/y a/x ab/z c/* c/d top", "nosuch": "",
	} {
		got, log := get(strings.FieldsFunc(paths, func(r rune) bool { return r == ',' })...)
		if got != want || (want == "") != strings.Contains(log, "No sparse checkout path is in commit") {
			t.Errorf("%q wrote %q: %s", paths, got, log)
		}
	}
	_, _, _, err := fetch(t, fetcher(t, true), Request{Repository: url, Branch: "main", Sparse: []string{"../x"}})
	wantFault(t, err, "invalid.source_sparse", "is not below the repository")
}

func TestASparseCheckoutFetchesTheSubmodulesThatItNeeds(t *testing.T) {
	t.Parallel()
	subURL, subCommit := repository(t)
	sub := subCommit(map[string]string{"x/1": "one", "y/2": "two"})
	url, commit := repository(t)
	commit(map[string]string{"top": "1"})
	link(t, url, "m/sub", sub, subURL)
	link(t, url, "other", sub, "https://nosuch.invalid/x")
	dst, _, _, err := fetch(t, fetcher(t, true), Request{Repository: url, Branch: "main", Sparse: []string{"m/sub/x"}})
	if err != nil {
		t.Fatal(err)
	}
	if read(dst, "m/sub/x/1") != "one" || !strings.Contains(read(dst, "m/sub/y/2"), "no such file") {
		t.Errorf("got %q and %q", read(dst, "m/sub/x/1"), read(dst, "m/sub/y/2"))
	}
	_, _, _, err = fetch(t, fetcher(t, true), Request{Repository: url, Branch: "main"})
	wantFault(t, err, "unavailable.source_unreachable", "submodule other: the name of nosuch.invalid cannot be resolved")
}

func TestFilesInGitLFSAreTold(t *testing.T) {
	t.Parallel()
	url, commit := repository(t)
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
	commit(map[string]string{"plain": pointer})
	f := fetcher(t, true)
	if _, _, log, err := fetch(t, f, Request{Repository: url, Branch: "main"}); err != nil || strings.Contains(log, "LFS") {
		t.Errorf("got %v, %s", err, log)
	}
	commit(map[string]string{"img/.gitattributes": "*.bin filter=lfs diff=lfs\n", "img/a.bin": pointer})
	for range 2 {
		_, _, log, err := fetch(t, f, Request{Repository: url, Branch: "main"})
		if err != nil || !strings.Contains(log, "2 files, such as img/a.bin, are kept in Git LFS, which is not fetched") {
			t.Errorf("got %v, %s", err, log)
		}
	}
}

func TestACommitThatWasPushedOverIsFetchedWhileTheServerHasIt(t *testing.T) {
	t.Parallel()
	url, commit := repository(t)
	commit(map[string]string{"a": "1"})
	old := commit(map[string]string{"a": "2"})
	commit(map[string]string{"a": "3"})
	// An older server gives out the tips of branches alone; the history has the rest.
	in(t, url, "config", "uploadpack.allowAnySHA1InWant", "false")
	h := newHTTPS(t, filepath.Dir(strings.TrimPrefix(url, "file://")), "")
	_, name := place(url)
	dst, got, _, err := fetch(t, h.fetcher(t), Request{Repository: "https://" + h.host() + name, Branch: "main", SHA: old})
	if err != nil || got.SHA != old || read(dst, "a") != "2" {
		t.Errorf("got %+v, %v", got, err)
	}
	_, _, _, err = fetch(t, h.fetcher(t), Request{Repository: "https://" + h.host() + name, Branch: "gone", SHA: strings.Repeat("cd", 20)})
	wantFault(t, err, "not_found.source_commit", "has neither commit")
}

func TestProgressIsToldNowAndThen(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	var said []string
	o := &output{say: func(s string) { said = append(said, s) }, every: 5 * time.Second, now: func() time.Time { return now }}
	for i := range 12 {
		_, _ = fmt.Fprintf(o, "Receiving objects:  %d%% (%d/12), 1.00 MiB | 1.00 MiB/s\r", i, i)
		now = now.Add(time.Second)
	}
	_, _ = fmt.Fprint(o, "remote: Receiving objects: 1% (1/1)\x1b[31m\nReceiving objects: 1% (1/2)\x1b[31m\nfatal: it bro")
	_, _ = fmt.Fprint(o, "ke\n")
	if got := strings.Join(said, "|"); got != "Receiving objects:  5% (5/12), 1.00 MiB | 1.00 MiB/s|Receiving objects:  10% (10/12), 1.00 MiB | 1.00 MiB/s" {
		t.Errorf("said %q", got)
	}
	if lastLine(o.text()) != "it broke" {
		t.Errorf("kept %q", o.text())
	}
	for range 10_000 { // a server that talks much
		_, _ = fmt.Fprint(o, strings.Repeat("remote: x", 1000)+"\n")
	}
	_, _ = fmt.Fprint(o, "fatal: the end\n")
	if text := o.text(); len(text) > maxLines*(maxLine+1) || lastLine(text) != "the end" {
		t.Errorf("%d bytes were kept, ending in %q", len(text), lastLine(text))
	}
}

func TestALongFetchTellsHowFarItIs(t *testing.T) {
	t.Parallel()
	url, commit := repository(t)
	files := map[string]string{}
	for i := range 150 { // git is silent about fewer
		files[fmt.Sprint("file", i)] = fmt.Sprint(i)
	}
	commit(files)
	f := fetcher(t, true)
	f.o.ProgressEvery = -1 // each time
	if _, _, log, err := fetch(t, f, Request{Repository: url, Branch: "main"}); err != nil || !strings.Contains(log, "Receiving objects: 100%") {
		t.Errorf("got %v, %s", err, log)
	}
}
