package blob_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/blob"
)

// world is a store behind a server, with a clock that a test may move.
type world struct {
	store *blob.Local
	dir   string
	now   atomic.Int64 // Unix seconds
}

func setup(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.now.Store(1_800_000_000)
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	var err error
	w.store, err = blob.NewLocal(blob.Options{
		Dir: w.dir, Key: make([]byte, 32), BaseURL: server.URL,
		Now: func() time.Time { return time.Unix(w.now.Load(), 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	mux.Handle(blob.Path, w.store)
	return w
}

func do(t *testing.T, method, target, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func signed(t *testing.T) func(text string, err error) string {
	return func(text string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}

func TestAnObjectThatIsPutByURLIsReadByURL(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, options := range [][]blob.Option{nil, {blob.Durable}} {
		put := signed(t)(w.store.SignPut("logs/RUN/1/2/0", time.Minute, 100, options...))
		for _, body := range []string{"first", "again"} {
			if status, text := do(t, http.MethodPut, put, body); status != http.StatusNoContent {
				t.Fatalf("PUT: %d %s", status, text)
			}
		}
		status, text := do(t, http.MethodGet, signed(t)(w.store.SignGet("logs/RUN/1/2/0", time.Minute)), "")
		if status != http.StatusOK || text != "again" {
			t.Errorf("GET: %d %q", status, text)
		}
	}
}

func TestASignedURLIsGoodForNothingElse(t *testing.T) {
	t.Parallel()
	w := setup(t)
	if err := w.store.Put(context.Background(), "a/b", strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
	put := signed(t)(w.store.SignPut("a/b", time.Minute, 10))
	get := signed(t)(w.store.SignGet("a/b", time.Minute))
	with := func(target, name, value string) string {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set(name, value)
		u.RawQuery = q.Encode()
		return u.String()
	}
	for name, test := range map[string]struct {
		method, target, body string
		status               int
	}{
		"writing with a URL for reading": {http.MethodPut, get, "x", http.StatusForbidden},
		// Without the method in its signature this would empty the object.
		"writing nothing with a URL for reading": {http.MethodPut, with(get, "max", "0"), "", http.StatusForbidden},
		"reading with a URL for writing":         {http.MethodGet, put, "", http.StatusForbidden},
		"deleting":                               {http.MethodDelete, put, "", http.StatusMethodNotAllowed},
		"another key":                            {http.MethodGet, strings.Replace(get, "a/b", "a/c", 1), "", http.StatusForbidden},
		"a key with an escape":                   {http.MethodGet, strings.Replace(get, "a/b", "a%2Fb", 1), "", http.StatusForbidden},
		"a later expiry":                         {http.MethodGet, with(get, "exp", "9999999999"), "", http.StatusForbidden},
		"a larger limit":                         {http.MethodPut, with(put, "max", "1000"), "x", http.StatusForbidden},
		"a durability that was not given":        {http.MethodPut, with(put, "durable", "1"), "x", http.StatusForbidden},
		"no signature":                           {http.MethodGet, with(get, "sig", ""), "", http.StatusForbidden},
		"more than the limit":                    {http.MethodPut, put, "eleven byte", http.StatusRequestEntityTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if status, text := do(t, test.method, test.target, test.body); status != test.status {
				t.Errorf("got %d %q, want %d", status, text, test.status)
			}
		})
	}
	t.Run("more than the limit, of unknown length", func(t *testing.T) {
		t.Parallel()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, put, io.MultiReader(strings.NewReader("eleven byte")))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("got %d", answer.StatusCode)
		}
	})
	t.Cleanup(func() {
		r, err := w.store.Get(context.Background(), "a/b")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		if text, _ := io.ReadAll(r); string(text) != "content" {
			t.Errorf("the object has become %q", text)
		}
	})
}

func TestASignedURLExpires(t *testing.T) {
	t.Parallel()
	w := setup(t)
	put := signed(t)(w.store.SignPut("a", time.Minute, 10))
	w.now.Add(60)
	if status, _ := do(t, http.MethodPut, put, "x"); status != http.StatusNoContent {
		t.Errorf("at its end: %d", status)
	}
	w.now.Add(1)
	if status, _ := do(t, http.MethodPut, put, "x"); status != http.StatusGone {
		t.Errorf("after its end: %d", status)
	}
}

func TestAKeyNamesNothingOutsideTheStore(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := context.Background()
	for _, key := range []string{"", "/", "/etc/passwd", "..", "../x", "a/../b", "a/..", "a//b", "a/", ".hidden", "a/.b", "~tmp/x", "a b", "a\\b", "a%2e", "ä", "a\x00", strings.Repeat("k", 600)} {
		if err := w.store.Put(ctx, key, strings.NewReader("x")); !errors.Is(err, blob.ErrKey) {
			t.Errorf("put %q: %v", key, err)
		}
		if _, err := w.store.Get(ctx, key); !errors.Is(err, blob.ErrKey) {
			t.Errorf("get %q: %v", key, err)
		}
		if err := w.store.Delete(ctx, key); !errors.Is(err, blob.ErrKey) {
			t.Errorf("delete %q: %v", key, err)
		}
		if _, err := w.store.SignPut(key, time.Minute, 1); !errors.Is(err, blob.ErrKey) {
			t.Errorf("sign %q: %v", key, err)
		}
	}
	// A link in the directory, however it got there, leads nowhere.
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(w.dir, "link")); err != nil {
		t.Fatal(err)
	}
	if r, err := w.store.Get(ctx, "link"); err == nil {
		_ = r.Close()
		t.Error("a link was followed out of the store")
	}
}

func TestAPutThatBreaksOffLeavesTheOldObject(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := context.Background()
	if err := w.store.Put(ctx, "state/S/1", strings.NewReader("old"), blob.Durable); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := w.store.Put(ctx, "state/S/1", io.MultiReader(strings.NewReader("ne"), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	r, err := w.store.Get(ctx, "state/S/1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if text, _ := io.ReadAll(r); string(text) != "old" {
		t.Errorf("got %q", text)
	}
	if left, _ := os.ReadDir(filepath.Join(w.dir, "~tmp")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestADeletedObjectIsNotFoundAndDeletingRepeats(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := context.Background()
	if err := w.store.Put(ctx, "a/b", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.store.Delete(ctx, "a/b"); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"a/b", "a", "never"} {
		if _, err := w.store.Get(ctx, key); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("%s: %v", key, err)
		}
		if status, _ := do(t, http.MethodGet, signed(t)(w.store.SignGet(key, time.Minute)), ""); status != http.StatusNotFound {
			t.Errorf("%s: %d", key, status)
		}
	}
}

func TestAWalkVisitsEveryObjectAndNothingElse(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := context.Background()
	began := time.Now().Add(-time.Minute)
	want := []string{"a", "logs/RUN/1/2/0", "logs/RUN/1/2/1", "states/S/1"}
	for _, key := range want {
		if err := w.store.Put(ctx, key, strings.NewReader(key)); err != nil {
			t.Fatal(err)
		}
	}
	for _, stranger := range []string{"~tmp/half", ".hidden"} {
		if err := os.WriteFile(filepath.Join(w.dir, stranger), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(w.dir, "link")); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := w.store.Walk(ctx, func(o blob.Object) error {
		got = append(got, o.Key)
		if o.Modified.Before(began) || o.Modified.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s was put at %s", o.Key, o.Modified)
		}
		return w.store.Delete(ctx, o.Key) // a walk copes with what goes meanwhile
	})
	if slices.Sort(got); err != nil || !slices.Equal(got, want) {
		t.Errorf("visited %q, %v; want %q", got, err, want)
	}
	if err := w.store.Put(ctx, "last", strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	if err := w.store.Walk(ctx, func(blob.Object) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a visit that fails: %v", err)
	}
}
