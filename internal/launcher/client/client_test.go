package client

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func serve(t *testing.T, h http.HandlerFunc) (*Client, *httptest.Server) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := New(Options{Endpoint: s.URL, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, s
}

func (c *Client) ofAttempt() *Attempt {
	return c.Attempt(AttemptOptions{Ref: wire.AttemptRef{Run: "r", Attempt: 1}, Bearer: func() string { return "b" }, PauseCap: 1})
}

func TestOnlyWhatMayChangeIsAskedAgain(t *testing.T) {
	t.Parallel()
	for status, again := range map[int]bool{408: true, 425: true, 429: true, 500: true, 502: true, 503: true, 400: false, 401: false, 403: false, 404: false, 409: false, 302: false} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if n.Add(1) < 3 {
					w.WriteHeader(status)
					return
				}
				_, _ = w.Write([]byte(`{}`))
			})
			_, err := c.ofAttempt().Logs(t.Context(), wire.LogsRequest{})
			if (err == nil) != again || (n.Load() == 3) != again {
				t.Fatalf("%d calls, %v", n.Load(), err)
			}
		})
	}
}

func TestAStaleAttemptIsToldApart(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(`{"code":"stale","message":"the attempt is over","hint":"nothing"}`))
	})
	_, err := c.ofAttempt().Beat(t.Context(), wire.BeatRequest{}, callTimeout)
	if !fault.Is(err, fault.Stale) || err.Error() != "the attempt is over: nothing" {
		t.Fatalf("got %v", err)
	}
}

func TestARedirectIsNotFollowedAndTheBearerGoesNowhereElse(t *testing.T) {
	t.Parallel()
	var stolen atomic.Bool
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Store(true) }))
	t.Cleanup(thief.Close)
	var bearer atomic.Value
	c, s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		bearer.Store(r.Header.Get("Authorization"))
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	})
	if _, err := c.ofAttempt().Logs(t.Context(), wire.LogsRequest{}); err == nil {
		t.Fatal("a redirect was taken for an answer")
	}
	if _, err := c.ofAttempt().GetState(t.Context()); err == nil {
		t.Fatal("a redirect was taken for a state")
	}
	if err := c.PutBlob(t.Context(), s.URL+"/x?signature=canary", []byte("x")); err == nil || strings.Contains(err.Error(), "canary") {
		t.Fatalf("got %v", err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := c.GetFile(t.Context(), s.URL+"/x?signature=canary", f, 9); err == nil || strings.Contains(err.Error(), "canary") {
		t.Fatalf("got %v", err)
	}
	if bearer.Load() != "" {
		t.Fatal("the bearer went along with a signed address")
	}
	if err := c.PutBlob(t.Context(), thief.URL, []byte("x")); !fault.Is(err, fault.Forbidden) {
		t.Fatalf("got %v", err)
	}
	if stolen.Load() {
		t.Fatal("something went to another origin")
	}
	c.AllowOrigins([]string{thief.URL})
	if err := c.PutBlob(t.Context(), thief.URL, []byte("x")); err != nil || !stolen.Load() {
		t.Fatalf("a listed origin: %v", err)
	}
}

// A proxy that drops what it does not know would otherwise make a stack's state
// look as if there were none.
func TestAnAnswerThatLostItsHeadersIsNotAnEmptyState(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"version":4}`)) })
	if got, err := c.ofAttempt().GetState(t.Context()); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), wire.HeaderSequence) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestABlobThatIsLongerThanAnnouncedIsRefused(t *testing.T) {
	t.Parallel()
	c, s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("12345")) })
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := c.GetFile(t.Context(), s.URL, f, 4); err == nil || !strings.Contains(err.Error(), "longer than the 4 bytes") {
		t.Fatalf("got %v", err)
	}
	if err := c.GetFile(t.Context(), s.URL, f, 5); err != nil {
		t.Fatal(err)
	}
}

func TestARefusedBearerIsReplacedOnce(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer new" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{}`))
	})
	b := "old"
	a := c.Attempt(AttemptOptions{Ref: wire.AttemptRef{Run: "r", Attempt: 1}, Bearer: func() string { return b }, Refused: func(context.Context) error { b = "new"; return nil }})
	if _, err := a.Logs(t.Context(), wire.LogsRequest{}); err != nil {
		t.Fatal(err)
	}
}

func TestABearerThatIsRefusedForGoodEndsTheCall(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { n.Add(1); w.WriteHeader(http.StatusUnauthorized) })
	a := c.Attempt(AttemptOptions{Ref: wire.AttemptRef{Run: "r", Attempt: 1}, Bearer: func() string { return "x" }, Refused: func(context.Context) error { return nil }})
	if _, err := a.Logs(t.Context(), wire.LogsRequest{}); !fault.Is(err, fault.Unauthenticated) || n.Load() != maxBearers+1 {
		t.Fatalf("%d calls, %v", n.Load(), err)
	}
}

func TestOnlyThisHostIsSpokenToInTheOpen(t *testing.T) {
	t.Parallel()
	for endpoint, ok := range map[string]bool{
		"http://127.0.0.1:1": true, "http://localhost": true, "http://[::1]:1": true, "https://example.com": true,
		"http://example.com": false, "http://10.0.0.1": false, "ftp://x": false, "https://u:p@x": false, "": false,
	} {
		if _, err := New(Options{Endpoint: endpoint, Log: slog.New(slog.DiscardHandler)}); (err == nil) != ok {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}
