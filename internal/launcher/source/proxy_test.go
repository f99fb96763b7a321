package source

import (
	"net/url"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/testkit"
)

func TestAProxyThatRefusesGitIsSaidWithoutItsPassword(t *testing.T) {
	t.Parallel()
	proxy := testkit.NewProxy(t, url.UserPassword("u", "right"), nil)
	f := fetcher(t, false)
	f.o.Proxies = []string{"https_proxy=http://u:" + canary + "@" + proxy.Listener.Addr().String()}
	f.o.Hide = []string{canary}
	_, err := f.Fetch(t.Context(), Request{Repository: "https://git.invalid/r", Branch: "main"}, t.TempDir(), func(string) {})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "git.invalid cannot be reached through the proxy: ") || !strings.Contains(err.Error(), "407") || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v", err)
	}
	if proxy.Refused() == 0 {
		t.Error("the proxy was not asked")
	}
}
