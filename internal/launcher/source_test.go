package launcher_test

import (
	"bytes"
	"crypto/rand"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func TestASourceCredentialOpensTheRepositoryAndReachesNeitherRunNorDisk(t *testing.T) {
	t.Parallel()
	canary := rand.Text() // not a constant: this program is kept in the data directory
	w := setup(t, map[string]string{"main.tf": "private", "left/out": "x", ".spacelift/config.yml": "version: 1", "root/a": "b"})
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	git := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + filepath.Dir(w.repo), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	host := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != canary {
			rw.Header().Set("WWW-Authenticate", "Basic")
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		git.ServeHTTP(rw, r)
	}))
	t.Cleanup(host.Close)

	j := w.job(`cat main.tf; ls -A; env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\0' '\n'; echo looked`)
	j.Repository = host.URL + "/" + filepath.Base(w.repo)
	j.Credential = &wire.SourceCredential{ID: "01C", Host: strings.TrimPrefix(host.URL, "http://"), Username: "bot", Token: canary}
	j.Sparse = []string{"main.tf", "root"}
	r := w.Enqueue(&launchertest.Run{Job: j})
	l := w.start(w.data)
	out := w.over(r)
	text := w.text(r)
	if out.Result != wire.ResultOK || !strings.Contains(text, "private.spacelift\nmain.tf\nroot\n") || !strings.Contains(text, "looked") {
		t.Fatalf("got %+v\n%s", out, text)
	}
	if strings.Contains(text, canary) || strings.Contains(l.log.String(), canary) {
		t.Error("the token stands in a log, or was seen by the run")
	}
	err = filepath.WalkDir(w.data, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if bytes.Contains(data, []byte(canary)) {
			t.Errorf("the token stands in %s", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsWrongWithTheSourceIsTheRunsReason(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	j := w.job("true")
	j.Repository = "private://corp/infra.git"
	r := w.Enqueue(&launchertest.Run{Job: j})
	w.start(w.data)
	out := w.over(r)
	if out.Result == wire.ResultOK || !strings.Contains(out.Reason, "this launcher has no address for private://corp") {
		t.Errorf("got %+v\n%s", out, w.text(r))
	}
}
