package mothership

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spaceport-iac/spaceport/internal/client"
	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/apikey"
	"github.com/spaceport-iac/spaceport/internal/mothership/id"
	"github.com/spaceport-iac/spaceport/internal/mothership/installation"
	"github.com/spaceport-iac/spaceport/internal/mothership/setting"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func settings(t *testing.T, change func(*setting.Settings)) setting.Resolved {
	t.Helper()
	s := setting.Settings{
		Data: filepath.Join(t.TempDir(), "data"), HTTP: "127.0.0.1:0", MQTT: "127.0.0.1:0", Health: "127.0.0.1:0", BrokerType: "builtin",
		ObjectStorage: "local", Database: "sqlite", Encryption: "local", Account: "acme", LogLevel: "info", LeaseScale: "1",
	}
	if change != nil {
		change(&s)
	}
	r, err := s.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start runs a mothership until the returned function is called.
func start(t *testing.T, s setting.Resolved) (*Mothership, func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	m, err := New(ctx, Options{Settings: s, Log: quiet()})
	if err != nil {
		stop()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	return m, func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
		if err := m.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestAMothershipIsReadyTellsItsAddressesAndEndsInOrder(t *testing.T) {
	t.Parallel()
	s := settings(t, nil)
	m, stop := start(t, s)
	if code, said := get(t, "http://"+m.Addresses.Health+"/readiness"); code != 200 {
		t.Errorf("readiness: %d %s", code, said)
	}
	if code, said := get(t, "http://"+m.Addresses.Health+"/metrics"); code != 200 || !strings.Contains(said, "spaceport_build_info{") {
		t.Errorf("metrics: %d %.200s", code, said)
	}
	if code, _ := get(t, m.Addresses.API+"/objects/none"); code/100 != 4 {
		t.Errorf("an unsigned object URL was answered %d", code)
	}
	var written Addresses
	content, err := os.ReadFile(filepath.Join(s.Data, AddressFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &written); err != nil || written != m.Addresses || strings.Contains(string(content), ":0\"") {
		t.Errorf("written is %s, %v; it has %+v", content, err, m.Addresses)
	}
	stop()
	for _, address := range []string{m.Addresses.HTTP, m.Addresses.MQTT, m.Addresses.Health} {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			t.Errorf("%s still answers", address)
		}
	}
	// The directory is free again.
	_, stop = start(t, s)
	stop()
}

func TestASecondServerAndATakenPortAreNamed(t *testing.T) {
	t.Parallel()
	s := settings(t, nil)
	m, stop := start(t, s)
	defer stop()
	if _, err := New(context.Background(), Options{Settings: s, Log: quiet()}); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), s.Data) {
		t.Errorf("a second server on the directory: %v", err)
	}
	other := settings(t, func(s *setting.Settings) { s.MQTT = m.Addresses.MQTT })
	if _, err := New(context.Background(), Options{Settings: other, Log: quiet()}); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), m.Addresses.MQTT+" of the broker") {
		t.Errorf("a taken port: %v", err)
	}
	// What failed to start holds nothing.
	other.MQTT = "127.0.0.1:0"
	_, stopOther := start(t, other)
	stopOther()
}

func TestTheAddressesToldAreThoseOfTheSettingsOrOnesThatCanBeReached(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change      func(*setting.Settings)
		api, broker string // with PORT for a port that was chosen
	}{
		{nil, "http://127.0.0.1:PORT", "127.0.0.1:PORT"},
		{func(s *setting.Settings) { s.HTTP, s.MQTT = "0.0.0.0:0", "[::]:0" }, "http://127.0.0.1:PORT", "127.0.0.1:PORT"},
		{func(s *setting.Settings) {
			s.Domain, s.BrokerEndpoint = "spaceport.example.com", "tls://mqtt.example.com:1984"
		}, "https://spaceport.example.com", "mqtt.example.com:1984"},
	} {
		m, err := New(context.Background(), Options{Settings: settings(t, c.change), Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		port := func(text, address string) string {
			_, port, _ := net.SplitHostPort(address)
			return strings.ReplaceAll(text, "PORT", port)
		}
		if want := port(c.api, m.Addresses.HTTP); m.Addresses.API != want {
			t.Errorf("the API is at %s, want %s", m.Addresses.API, want)
		}
		if want := port(c.broker, m.Addresses.MQTT); m.Addresses.Broker != want {
			t.Errorf("the broker is at %s, want %s", m.Addresses.Broker, want)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOurOwnClientAndTheFiguresSeeWhatWasMade(t *testing.T) {
	t.Parallel()
	s := settings(t, nil)
	m, stop := start(t, s)
	defer stop()
	ctx := context.Background()
	d, err := installation.OpenDatabase(ctx, s.Data)
	if err != nil {
		t.Fatal(err)
	}
	key, err := apikey.CreateOffline(ctx, d, time.Now, id.Maker(time.Now, rand.Reader), apikey.Input{Name: "test", Admin: true})
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c, err := client.New(client.Options{Endpoint: m.Addresses.API, ID: key.ID, Secret: key.Secret, HTTP: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.CreatePool(ctx, client.PoolInput{Name: "workers", CSR: request(t), Labels: []string{"one"}})
	if err != nil || made.Config == "" {
		t.Fatalf("the pool is %+v, %v", made, err)
	}
	stack, err := c.CreateStack(ctx, client.StackInput{
		Name: "Stack", Provider: "GIT", Repository: "infra", RepositoryURL: "https://git.example.com/infra.git", Branch: "main",
		WorkerPool: made.ID, StateMode: "SEALED",
	}, "chosen")
	if err != nil || stack.ID != "chosen" || len(stack.ULID) != 26 {
		t.Fatalf("the stack is %+v, %v", stack, err)
	}
	for value, short := range map[string]bool{"value": false, "no": true} {
		warning, err := c.SetConfig(ctx, stack.ID, client.ConfigInput{ID: "NAME", Type: "ENVIRONMENT_VARIABLE", Value: value, WriteOnly: true})
		if err != nil || strings.Contains(warning, "NAME is too short to be hidden in logs") != short {
			t.Errorf("saving %q: warning %q, %v", value, warning, err)
		}
	}
	run, err := c.Trigger(ctx, stack.ID, "TRACKED", "")
	if err != nil || run.State != "READY" || len(run.WaitingBecause) == 0 {
		t.Fatalf("the run is %+v, %v", run, err)
	}
	_, figures := get(t, "http://"+m.Addresses.Health+"/metrics")
	for _, line := range []string{
		`spaceport_queue_waiting{pool="` + made.ID + `",pool_name="workers"} 1`,
		`spaceport_workers{pool="` + made.ID + `",pool_name="workers",status="IDLE"} 0`,
		`spaceport_runs{state="READY"} 1`,
	} {
		if !strings.Contains(figures, line+"\n") {
			t.Errorf("the figures lack %s", line)
		}
	}
	if logs, err := c.Logs(ctx, stack.ID, run.ID, "PREPARING", 0, ""); err != nil || logs.Exists || logs.Finished {
		t.Errorf("the log of a state to come is %+v, %v", logs, err)
	}
	if workers, err := c.Workers(ctx, made.ID); err != nil || len(workers) != 0 {
		t.Errorf("workers are %v, %v", workers, err)
	}
	if outputs, err := c.Outputs(ctx, stack.ID); err != nil || len(outputs) != 0 {
		t.Errorf("outputs are %v, %v", outputs, err)
	}
	if run, err = c.Discard(ctx, stack.ID, run.ID); err != nil || !run.Finished {
		t.Errorf("discarded it is %+v, %v", run, err)
	}
	if _, err := c.Run(ctx, stack.ID, "none"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a run that is not there: %v", err)
	}
	if _, err := c.Confirm(ctx, stack.ID, run.ID); !fault.Is(err, fault.Conflict) {
		t.Errorf("confirming a discarded run: %v", err)
	}
}

// request is a signing request as openssl makes one.
func request(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func TestOnlyPlainHTTPToOtherHostsIsWarnedAbout(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]bool{
		"http://127.0.0.1:1983": false, "http://localhost:1983": false, "http://[::1]:1": false, "https://spaceport.example.com": false,
		"http://spaceport.example.com": true, "http://192.0.2.7:1983": true,
	} {
		if plain(base) != want {
			t.Errorf("plain(%s) is %t", base, !want)
		}
	}
}
