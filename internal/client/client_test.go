package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/testkit/apischema"
)

func TestEveryDocumentIsOneThatTheSchemaKnows(t *testing.T) {
	t.Parallel()
	for name, document := range documents() {
		t.Run(name, func(t *testing.T) { apischema.Check(t, document) })
	}
}

// server answers a login and, for all else, what answer says.
func server(t *testing.T, answer func(token string) (int, string)) (c *Client, logins *atomic.Int64, now *time.Time) {
	t.Helper()
	logins, now = &atomic.Int64{}, &time.Time{}
	*now = time.Unix(1_000_000, 0)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			Query     string
			Variables map[string]any
		}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			t.Errorf("the request is no JSON: %v", err)
		}
		if strings.Contains(request.Query, "apiKeyUser") {
			logins.Add(1)
			until := now.Add(time.Hour).Unix()
			_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"apiKeyUser": map[string]any{"jwt": "token", "validUntil": until}}})
			return
		}
		status, body := answer(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if status/100 == 3 {
			w.Header().Set("Location", body)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	c, err := New(Options{Endpoint: s.URL + "/", ID: "id", Secret: "secret", Now: func() time.Time { return *now }})
	if err != nil {
		t.Fatal(err)
	}
	return c, logins, now
}

func TestATokenIsUsedUntilShortlyBeforeItsEnd(t *testing.T) {
	t.Parallel()
	c, logins, now := server(t, func(token string) (int, string) {
		if token != "token" {
			return 200, `{"errors":[{"message":"unauthorized","extensions":{"code":"unauthenticated"}}]}`
		}
		return 200, `{"data":{"workerPools":[{"id":"P","name":"one"}]}}`
	})
	for range 3 {
		pools, err := c.Pools(context.Background())
		if err != nil || len(pools) != 1 || pools[0].Name != "one" {
			t.Fatalf("got %v, %v", pools, err)
		}
	}
	if logins.Load() != 1 {
		t.Errorf("logged in %d times for three calls, want once", logins.Load())
	}
	*now = now.Add(time.Hour - 10*time.Second)
	if _, err := c.Pools(context.Background()); err != nil {
		t.Fatal(err)
	}
	if logins.Load() != 2 {
		t.Errorf("logged in %d times, want anew 10 s before the token's end", logins.Load())
	}
}

func TestWhatTheServerRefusesIsTheServersFault(t *testing.T) {
	t.Parallel()
	c, _, _ := server(t, func(string) (int, string) {
		return 200, `{"data":null,"errors":[{"message":"the key is weak: make a longer one","extensions":{"code":"invalid.csr_weak_key","hint":"make a longer one"}}]}`
	})
	_, err := c.CreatePool(context.Background(), PoolInput{Name: "n", CSR: "c"})
	f := fault.As(err)
	if f == nil || f.Kind != fault.Invalid || f.Code != "invalid.csr_weak_key" || f.Message != "the key is weak" || f.Hint != "make a longer one" {
		t.Errorf("got %#v", err)
	}
}

func TestAnAnswerFromElsewhereIsToldFromOne(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"a proxy's page": {502, "<html>bad gateway</html>"},
		"a redirect":     {302, "http://127.0.0.1:1/elsewhere"},
	} {
		c, _, _ := server(t, func(string) (int, string) { return answer.status, answer.body })
		if _, err := c.Pools(context.Background()); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no GraphQL") {
			t.Errorf("%s: got %v, want a sentence that it is no GraphQL", name, err)
		}
	}
	c, err := New(Options{Endpoint: "http://127.0.0.1:1", ID: "id", Secret: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pools(context.Background()); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("got %v, want a sentence that nobody answers", err)
	}
}

func TestAnEndpointThatWouldShowTheSecretIsRefused(t *testing.T) {
	t.Parallel()
	for endpoint, usable := range map[string]bool{
		"http://127.0.0.1:1983": true, "http://localhost:1983/": true, "http://[::1]:1983": true, "https://spaceport.example.com": true,
		"http://spaceport.example.com": false, "spaceport.example.com": false, "": false,
	} {
		_, err := New(Options{Endpoint: endpoint, ID: "id", Secret: "canary"})
		if (err == nil) != usable {
			t.Errorf("%q: got %v, want usable %t", endpoint, err, usable)
		}
	}
}
