package doctor_test

import (
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/launcher/doctor"
	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/launcher/setting"
	"github.com/spaceport-iac/spaceport/internal/testkit"
)

// failing reports whether a mothership is gone.
func failing(m *launchertest.Mothership) bool {
	answer, err := http.Get(m.Token.API.Endpoint)
	if err != nil {
		return true
	}
	_ = answer.Body.Close()
	return false
}

// examine returns the findings of settings by their checks.
func examine(t *testing.T, m *launchertest.Mothership, now time.Time, args []string, environ ...string) map[string]doctor.Finding {
	t.Helper()
	s, _, err := setting.Parse(setting.Input{
		Args: append([]string{"--data", filepath.Join(t.TempDir(), "data")}, args...), ReadFile: os.ReadFile,
		Environ: append([]string{"SPACELIFT_TOKEN=" + m.Token.Encode(), "SPACELIFT_POOL_PRIVATE_KEY=" + m.KeyB64}, environ...),
	})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]doctor.Finding{}
	within := 20 * time.Second
	if failing(m) {
		within = time.Second // nobody will answer
	}
	for _, f := range doctor.Examine(t.Context(), doctor.Options{Settings: s, Log: slog.New(slog.DiscardHandler), Version: "test", Within: within, Now: func() time.Time { return now }}) {
		found[f.Check] = f
		if f.Status == doctor.Fail && f.Fix == "" && f.Check != "mothership" {
			t.Errorf("%s has no fix: %s", f.Check, f.Message)
		}
	}
	return found
}

func want(t *testing.T, found map[string]doctor.Finding, check string, status doctor.Status, words string) {
	t.Helper()
	if f := found[check]; f.Status != status || !strings.Contains(f.Message, words) {
		t.Errorf("%s: got %+v, want %s: %s", check, f, status, words)
	}
}

func TestEachThingThatIsWrongIsFound(t *testing.T) {
	t.Parallel()
	now := time.Now()
	m := launchertest.New(t)
	process := []string{"--backend", "process", "--disk-floor", "0"}

	found := examine(t, m, now, process)
	for _, check := range []string{"token", "key", "mothership", "clock", "data directory", "private authorities"} {
		want(t, found, check, doctor.OK, "")
	}
	want(t, found, "certificate", doctor.Warn, "expires on")
	want(t, found, "mothership", doctor.OK, "directly")
	want(t, found, "broker", doctor.Warn, "the launcher polls")
	want(t, found, "container engine", doctor.Warn, "plain processes")

	found = examine(t, m, now.Add(48*time.Hour), process)
	want(t, found, "certificate", doctor.Fail, "expired on")
	want(t, found, "clock", doctor.Warn, "differs from the mothership's by 48h")

	want(t, examine(t, m, now, []string{"--backend", "process", "--disk-floor", "1048576GiB"}), "data directory", doctor.Fail, "and a run needs")
	want(t, examine(t, m, now, nil, "DOCKER_HOST=unix:///no/such.sock"), "container engine", doctor.Fail, "the socket /no/such.sock does not exist")
	other := launchertest.New(t)
	m.Server.Close()
	want(t, examine(t, m, now, process), "mothership", doctor.Fail, "cannot be reached")

	other.Move(launchertest.Addresses{API: "https://mothership.internal.invalid", Objects: other.Server.URL, Broker: "tls://broker.internal.invalid:8883"})
	proxy := testkit.NewProxy(t, url.UserPassword("u", "right"), nil)
	found = examine(t, other, now, process, "HTTPS_PROXY=http://u:c4n4ry@"+proxy.Listener.Addr().String())
	for _, check := range []string{"mothership", "broker"} {
		if f := found[check]; !strings.Contains(f.Message, "through the proxy http://"+proxy.Listener.Addr().String()) || strings.Contains(f.Message, "c4n4ry") {
			t.Errorf("%s: %+v", check, f)
		}
	}
}
