package source

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// place splits a file:// repository into what a server serves and its name there.
func place(url string) (root, name string) {
	dir := strings.TrimPrefix(url, "file://")
	return filepath.Dir(dir), "/" + filepath.Base(dir)
}

func TestAPrivateHTTPSRepositoryIsOpenedByItsTokenAlone(t *testing.T) {
	t.Parallel()
	url, commit := repository(t)
	sha := commit(map[string]string{"main.tf": "private"})
	root, name := place(url)
	h := newHTTPS(t, root, canary)
	var looking sync.Mutex
	var leaks []string
	h.before = func(http.ResponseWriter, *http.Request) bool {
		looking.Lock()
		defer looking.Unlock()
		leaks = append(leaks, exposed(canary)...) // while git and its helpers are at work
		return false
	}
	f := h.fetcher(t)
	r := Request{Repository: "https://" + h.host() + name, Branch: "main", Credential: h.credential(canary)}
	dst, got, _, err := fetch(t, f, r)
	if err != nil || got.SHA != sha || read(dst, "main.tf") != "private" {
		t.Fatalf("got %+v, %q, %v", got, read(dst, "main.tf"), err)
	}
	looking.Lock()
	if with, _ := h.authorized(); with == 0 || len(leaks) > 0 {
		t.Errorf("%d requests had a credential; it stood in %q", with, leaks)
	}
	looking.Unlock()
	if found := written(t, f.o.Dir, canary); len(found) > 0 {
		t.Errorf("the token stands in %q", found)
	}

	t.Run("and what it opened is in no other stack's cache", func(t *testing.T) {
		_, _, _, err := fetch(t, f, Request{Repository: r.Repository, Branch: "main", SHA: sha})
		wantFault(t, err, "forbidden.source_credential", "is private or not there, and there is no credential for it: give the stack a VCS integration")
	})
	t.Run("a wrong one is refused by name", func(t *testing.T) {
		_, _, _, err := fetch(t, h.fetcher(t), Request{Repository: r.Repository, Branch: "main", Credential: h.credential(canary + "x")})
		wantFault(t, err, "forbidden.source_credential", h.host()+" refused the user name or token")
	})
	t.Run("one for another host is not sent", func(t *testing.T) {
		before, _ := h.authorized()
		other := h.credential(canary)
		other.Host = "git.example.com"
		_, _, _, err := fetch(t, h.fetcher(t), Request{Repository: r.Repository, Branch: "main", Credential: other})
		wantFault(t, err, "forbidden.source_credential", "there is no credential for it")
		if after, _ := h.authorized(); after != before {
			t.Error("it was sent")
		}
	})
	t.Run("a repository that is not there is named", func(t *testing.T) {
		_, _, _, err := fetch(t, f, Request{Repository: "https://" + h.host() + "/nosuch", Branch: "main", Credential: h.credential(canary)})
		wantFault(t, err, "not_found.source_repository", "there is no repository https://"+h.host()+"/nosuch")
	})
	t.Run("an authority that nobody trusts is named", func(t *testing.T) {
		_, _, _, err := fetch(t, fetcher(t, false), r)
		wantFault(t, err, "forbidden.source_certificate", "the certificate of "+h.host()+" is not trusted")
	})
	t.Run("a commit that was pushed away is named", func(t *testing.T) {
		gone := strings.Repeat("ab", 20)
		_, _, _, err := fetch(t, f, Request{Repository: r.Repository, Branch: "main", SHA: gone, Credential: h.credential(canary)})
		wantFault(t, err, "not_found.source_commit", "has no commit "+gone+" any more: was its branch force-pushed?")
	})
}

func TestAnSSHRepositoryIsOpenedByItsKeyAlone(t *testing.T) {
	t.Parallel()
	url, commit := repository(t)
	sha := commit(map[string]string{"main.tf": "by ssh"})
	path := strings.TrimPrefix(url, "file://")
	h := newSSH(t)
	f := fetcher(t, false)
	dst, got, _, err := fetch(t, f, Request{Repository: h.url(path), Branch: "main", Credential: h.credential()})
	if err != nil || got.SHA != sha || read(dst, "main.tf") != "by ssh" {
		t.Fatalf("got %+v, %q, %v", got, read(dst, "main.tf"), err)
	}
	inner := strings.Split(h.key, "\n")[2]
	if found := written(t, f.o.Dir, inner); len(found) > 0 {
		t.Errorf("the key stands in %q", found)
	}

	otherKey, otherPublic := newKey(t)
	for name, c := range map[string]struct {
		change func(*wire.SourceCredential)
		path   string
		code   fault.Code
		text   string
	}{
		"unknown host": {func(c *wire.SourceCredential) { c.KnownHosts = "" }, path, "forbidden.source_host_key", "the SSH host key of " + h.addr + " is not known"},
		"changed host": {
			func(c *wire.SourceCredential) {
				c.KnownHosts = strings.Fields(h.known)[0] + " " + strings.TrimSpace(marshal(otherPublic)) + "\n"
			}, path, "forbidden.source_host_key", "another than the known one, so nothing was sent to it",
		},
		"wrong key":          {func(c *wire.SourceCredential) { c.SSHKey = otherKey }, path, "forbidden.source_credential", h.addr + " refused the SSH key"},
		"other host's key":   {func(c *wire.SourceCredential) { c.Host = "git.example.com" }, path, "forbidden.source_host_key", "is not known"},
		"no key at all":      {func(c *wire.SourceCredential) { c.SSHKey = canary }, path, "invalid.source_credential", "cannot be used"},
		"missing repository": {func(*wire.SourceCredential) {}, "/nosuch/x.git", "not_found.source_repository", "there is no repository ssh://" + h.addr + "/nosuch/x.git"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			credential := h.credential()
			c.change(credential)
			if name == "no key at all" {
				credential.SSHKey = "-----BEGIN OPENSSH PRIVATE KEY-----\n" + "YWJj" + "\n-----END OPENSSH PRIVATE KEY-----\n"
			}
			_, _, _, err := fetch(t, fetcher(t, false), Request{Repository: h.url(c.path), Branch: "main", Credential: credential})
			wantFault(t, err, c.code, c.text)
		})
	}
	t.Run("the operator's own host keys count too", func(t *testing.T) {
		t.Parallel()
		f := fetcher(t, false)
		f.o.KnownHosts = h.known
		credential := h.credential()
		credential.KnownHosts = ""
		if _, _, _, err := fetch(t, f, Request{Repository: h.url(path), Branch: "main", Credential: credential}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestARedirectIsFollowedOnItsOwnHostOnly(t *testing.T) {
	t.Parallel()
	url, commit := repository(t)
	sha := commit(map[string]string{"a": "moved"})
	root, name := place(url)
	h, other := newHTTPS(t, root, canary), newHTTPS(t, root, canary)
	h.before = func(w http.ResponseWriter, r *http.Request) bool {
		path, query := r.URL.Path, "?"+r.URL.RawQuery
		switch {
		case strings.HasPrefix(path, "/old"):
			http.Redirect(w, r, name+strings.TrimPrefix(path, "/old")+query, http.StatusMovedPermanently)
		case strings.HasPrefix(path, "/away"):
			http.Redirect(w, r, "https://"+other.host()+name+strings.TrimPrefix(path, "/away")+query, http.StatusFound)
		case strings.HasPrefix(path, "/login"):
			http.Redirect(w, r, "/sign-in", http.StatusFound)
		case strings.HasPrefix(path, "/loop"):
			http.Redirect(w, r, r.URL.String(), http.StatusFound)
		default:
			return false
		}
		return true
	}
	f := h.fetcher(t)
	get := func(path string) (string, error) {
		dst, _, _, err := fetch(t, f, Request{Repository: "https://" + h.host() + path, Branch: "main", SHA: sha, Credential: h.credential(canary)})
		return read(dst, "a"), err
	}
	if text, err := get("/old"); err != nil || text != "moved" {
		t.Errorf("got %q, %v", text, err)
	}
	_, err := get("/away")
	wantFault(t, err, "forbidden.source_redirect", fmt.Sprintf("%s redirects the repository to https://%s, which was not followed", h.host(), other.host()))
	if _, all := other.authorized(); all > 0 {
		t.Errorf("the other host got %d requests", all)
	}
	_, err = get("/login")
	wantFault(t, err, "invalid.source_redirect", "to where no repository is")
	_, err = get("/loop")
	wantFault(t, err, "invalid.source_redirect", "again and again")
}

func TestAHostThatIsSilentOrGoneIsNamed(t *testing.T) {
	t.Parallel()
	h := newHTTPS(t, t.TempDir(), "")
	gone := make(chan struct{})
	h.before = func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-r.Context().Done():
		case <-gone:
		}
		return true
	}
	t.Cleanup(func() { close(gone) })
	f := h.fetcher(t)
	f.o.Timeout = time.Second
	r := Request{Repository: "https://" + h.host() + "/x", Branch: "main"}
	_, _, _, err := fetch(t, f, r)
	wantFault(t, err, "unavailable.source_timeout", "git ls-remote took longer than 1s with https://"+h.host()+"/x")

	closed := newHTTPS(t, t.TempDir(), "")
	closed.Close()
	_, _, _, err = fetch(t, closed.fetcher(t), Request{Repository: "https://" + closed.host() + "/x", Branch: "main"})
	wantFault(t, err, "unavailable.source_unreachable", closed.host()+" cannot be reached")
	_, _, _, err = fetch(t, fetcher(t, false), Request{Repository: "https://nosuch.invalid/x", Branch: "main"})
	wantFault(t, err, "unavailable.source_unreachable", "the name of nosuch.invalid cannot be resolved")
}

func TestPrivateAddressesAreTranslatedByTheLaunchersOwnMap(t *testing.T) {
	t.Parallel()
	url, commit := repository(t)
	sha := commit(map[string]string{"a": "mapped"})
	root, name := place(url)
	h := newHTTPS(t, root, canary)
	f := h.fetcher(t)
	f.o.PrivateVCS = map[string]string{"corp": "https://" + h.host() + "/"}
	credential := h.credential(canary)
	credential.Host = "private://corp"
	dst, got, _, err := fetch(t, f, Request{Repository: "private://corp" + name, Branch: "main", Credential: credential})
	if err != nil || got.SHA != sha || read(dst, "a") != "mapped" {
		t.Fatalf("got %+v, %v", got, err)
	}
	_, _, _, err = fetch(t, f, Request{Repository: "private://other/x", Branch: "main", Credential: credential})
	wantFault(t, err, "not_found.source_private", "no address for private://other: its operator sets SPACELIFT_PRIVATEVCS_MAPPING_NAME_<n>=other")
	for _, bad := range []string{"private://corp", "private://corp/../x", "private://u@corp/x", "private://corp/x?y"} {
		_, _, _, err = fetch(t, f, Request{Repository: bad, Branch: "main"})
		wantFault(t, err, "invalid.source_address", "cannot be used")
	}
}

func TestGitGetsNothingOfTheLaunchersEnvironment(t *testing.T) {
	t.Setenv("SPACELIFT_POOL_PRIVATE_KEY", canary)
	t.Setenv("GIT_ASKPASS", "/bin/false")
	t.Setenv("SSH_AUTH_SOCK", "/nosuch")
	dir := t.TempDir()
	witness, git := filepath.Join(dir, "env"), filepath.Join(dir, "git")
	if err := os.WriteFile(git, []byte("#!/bin/sh\ntr '\\0' '\\n' </proc/$$/environ >"+witness+"\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	f := fetcher(t, false)
	f.o.Git = git
	h := &wire.SourceCredential{ID: "1", Host: "git.example.com", Username: "bot", Token: canary}
	if _, _, _, err := fetch(t, f, Request{Repository: "https://git.example.com/x", Branch: "main", Credential: h}); err == nil {
		t.Fatal("a git that fails was taken for one that does not")
	}
	allowed := []string{
		"PATH", "HOME", "LC_ALL", "GIT_DIR", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL", "GIT_ATTR_NOSYSTEM", "GIT_TERMINAL_PROMPT",
		"GIT_ALLOW_PROTOCOL", "GIT_LFS_SKIP_SMUDGE", "GIT_NO_REPLACE_OBJECTS", "GIT_ADVICE", "GIT_OPTIONAL_LOCKS",
	}
	text := read(dir, "env")
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		if name, _, _ := strings.Cut(line, "="); !slices.Contains(allowed, name) {
			t.Errorf("git got %s", line)
		}
	}
	if !strings.Contains(text, "GIT_TERMINAL_PROMPT=0\n") || !strings.Contains(text, "GIT_ALLOW_PROTOCOL=https\n") {
		t.Errorf("git may ask, or use any protocol: %s", text)
	}
}
