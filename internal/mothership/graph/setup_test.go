package graph_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/apikey"
	"github.com/spaceport-iac/spaceport/internal/mothership/id"
	"github.com/spaceport-iac/spaceport/internal/mothership/installation"
	"github.com/spaceport-iac/spaceport/internal/mothership/setting"
)

// world is a mothership of a test's own: real services on a real database.
type world struct {
	t    *testing.T
	dir  string
	url  string
	http *http.Client
}

func setup(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "data"), http: &http.Client{Transport: &http.Transport{}}}
	settings, err := setting.Settings{
		Data: w.dir, HTTP: "127.0.0.1:0", MQTT: "127.0.0.1:0", Health: "127.0.0.1:0", BrokerType: "builtin", ObjectStorage: "local",
		Database: "sqlite", Encryption: "local", Account: "acme", LogLevel: "info", LeaseScale: "1",
	}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m, err := mothership.New(ctx, mothership.Options{Settings: settings, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		stop()
		t.Fatal(err)
	}
	w.url = m.Addresses.API
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		w.http.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the mothership ended with %v", err)
		}
		if err := m.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return w
}

// caller is somebody who asks.
type caller struct {
	w   *world
	jwt string
}

func (w *world) nobody() *caller { return &caller{w: w} }

func (w *world) admin() *caller { return w.key(apikey.Input{Name: "admin", Admin: true}) }

func (w *world) role(r access.Role) *caller {
	return w.key(apikey.Input{Name: "role " + string(r), Role: r})
}

// key logs a new API key in.
func (w *world) key(in apikey.Input) *caller {
	w.t.Helper()
	ctx := context.Background()
	d, err := installation.OpenDatabase(ctx, w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	created, err := apikey.CreateOffline(ctx, d, time.Now, id.Maker(time.Now, rand.Reader), in)
	if err != nil {
		w.t.Fatal(err)
	}
	var got struct{ APIKeyUser struct{ JWT string } }
	w.nobody().must(`mutation($id: ID!, $secret: String!) { apiKeyUser(id: $id, secret: $secret) { jwt } }`,
		vars{"id": created.ID, "secret": created.Secret}, &got)
	return &caller{w, got.APIKeyUser.JWT}
}

type vars map[string]any

// answer is what came back.
type answer struct {
	status int
	body   string
	Data   json.RawMessage
	Errors []struct {
		Message    string
		Path       []any
		Extensions struct{ Code, Hint string }
	}
}

func (a answer) code() string {
	if len(a.Errors) == 0 {
		return ""
	}
	return a.Errors[0].Extensions.Code
}

func (c *caller) ask(document string, v vars) answer {
	c.w.t.Helper()
	body, err := json.Marshal(map[string]any{"query": document, "variables": v})
	if err != nil {
		c.w.t.Fatal(err)
	}
	return c.post(body)
}

func (c *caller) post(body []byte) (a answer) {
	c.w.t.Helper()
	request, err := http.NewRequest(http.MethodPost, c.w.url+"/graphql", bytes.NewReader(body))
	if err != nil {
		c.w.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if c.jwt != "" {
		request.Header.Set("Authorization", "Bearer "+c.jwt)
	}
	response, err := c.w.http.Do(request)
	if err != nil {
		c.w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		c.w.t.Fatal(err)
	}
	if err := json.Unmarshal(content, &a); err != nil {
		c.w.t.Fatalf("%s: %s", response.Status, content)
	}
	a.status, a.body = response.StatusCode, strings.TrimSpace(string(content))
	return a
}

// must decodes an answer that has to be a success.
func (c *caller) must(document string, v vars, into any) {
	c.w.t.Helper()
	a := c.ask(document, v)
	if len(a.Errors) > 0 {
		c.w.t.Fatalf("%s\n%v\nanswered %s", document, v, a.body)
	}
	if into != nil {
		if err := json.Unmarshal(a.Data, into); err != nil {
			c.w.t.Fatal(err)
		}
	}
}

// csr makes a signing request; every call has a key of its own.
func csr(t *testing.T) string {
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

func (c *caller) pool(name string) (poolID string) {
	c.w.t.Helper()
	var got struct{ WorkerPoolCreate struct{ ID string } }
	c.must(`mutation($name: String!, $csr: String!) { workerPoolCreate(name: $name, certificateSigningRequest: $csr, driftDetectionRunLimit: -1) { id } }`,
		vars{"name": name, "csr": csr(c.w.t)}, &got)
	return got.WorkerPoolCreate.ID
}

// input is a stack that is as good as any, with changes.
func input(name string, changes vars) vars {
	in := vars{
		"name": name, "administrative": false, "branch": "main", "provider": "GIT", "repository": "infra",
		"repositoryURL": "https://git.example.com/infra.git",
	}
	for k, v := range changes {
		in[k] = v
	}
	return in
}

const createStack = `mutation($input: StackInput!, $manage: Boolean!) { stackCreate(input: $input, manageState: $manage) { id } }`

func (c *caller) stack(name string, changes vars) (slug string) {
	c.w.t.Helper()
	var got struct{ StackCreate struct{ ID string } }
	c.must(createStack, vars{"input": input(name, changes), "manage": true}, &got)
	return got.StackCreate.ID
}

func (c *caller) trigger(stack string) (run string) {
	c.w.t.Helper()
	var got struct{ RunTrigger struct{ ID string } }
	c.must(`mutation($stack: ID!) { runTrigger(stack: $stack) { id } }`, vars{"stack": stack}, &got)
	return got.RunTrigger.ID
}
