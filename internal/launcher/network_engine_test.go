//go:build docker

package launcher_test

import (
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/testkit"
)

func TestAToolInAContainerGoesThroughTheProxyAndBelievesAPrivateAuthority(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatalf("the tests need curl: %v", err)
	}
	w := setupEngine(t, buildLauncher(t), map[string]string{"hello": "world\n"})
	w.image = testkit.RunnerImage(t, curl)
	c := setupClosed(t, w.world, url.UserPassword("runner", proxyPassword))
	git := "https://" + strings.TrimSuffix(gitHost, ":443") + "/.git"
	j := w.job("cat hello; curl -sS -o /dev/null -w 'answered %{http_code}\\n' '" + git + "/info/refs?service=git-upload-pack'")
	j.Repository = git
	r := w.Enqueue(&launchertest.Run{Job: j})
	// The container has the host's network, since the proxy is on this host alone.
	l := w.launch("HTTPS_PROXY="+c.proxy.Address(), c.documented(), "SPACELIFT_WORKER_NETWORK=host")
	w.fine(r)
	if text := w.text(r); !strings.Contains(text, "world\n") || !strings.Contains(text, "answered 200\n") {
		t.Errorf("the log is %s", text)
	}
	c.reached(apiHost, objectHost, gitHost, brokerHost)
	if all := w.text(r) + l.log.String(); strings.Contains(all, "c4n4ry") {
		t.Errorf("the proxy's password stands in a log:\n%s", all)
	}
	w.refusesToStart([]string{"HTTPS_PROXY: this is not the address of a proxy"}, "HTTPS_PROXY=ftp://u:c4n4ry@h")
	w.refusesToStart([]string{"ADDITIONAL_ROOT_CAS: this has no certificate in PEM"}, "ADDITIONAL_ROOT_CAS=bm9uZQ==")
}
