package blob

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// grant is what a signed URL allows.
type grant struct {
	method  string // PUT or GET
	key     string
	expires int64 // Unix seconds
	max     int64 // bytes of a PUT
	durable bool
}

// mac is over every field, with the method and the key in it: a URL for one
// object or one direction is worth nothing for another.
func (g grant) mac(key []byte) []byte {
	h := hmac.New(sha256.New, key)
	// No field can hold a line break, so two grants never give the same text.
	_, _ = fmt.Fprintf(h, "spaceport-object-v1\n%s\n%s\n%d\n%d\n%t\n", g.method, g.key, g.expires, g.max, g.durable)
	return h.Sum(nil)
}

// SignPut implements Store.
func (s *Local) SignPut(key string, ttl time.Duration, maxSize int64, options ...Option) (string, error) {
	if maxSize <= 0 {
		return "", fmt.Errorf("sign object URL: limit of %d bytes", maxSize)
	}
	return s.sign(grant{method: http.MethodPut, key: key, max: maxSize, durable: durable(options)}, ttl)
}

// SignGet implements Store.
func (s *Local) SignGet(key string, ttl time.Duration) (string, error) {
	return s.sign(grant{method: http.MethodGet, key: key}, ttl)
}

func (s *Local) sign(g grant, ttl time.Duration) (string, error) {
	if !validKey(g.key) {
		return "", fmt.Errorf("sign object URL: %w", ErrKey)
	}
	g.expires = s.now().Add(ttl).Unix()
	q := url.Values{"exp": {strconv.FormatInt(g.expires, 10)}}
	if g.method == http.MethodPut {
		q.Set("max", strconv.FormatInt(g.max, 10))
	}
	if g.durable {
		q.Set("durable", "1")
	}
	q.Set("sig", base64.RawURLEncoding.EncodeToString(g.mac(s.key)))
	return s.base + Path + g.key + "?" + q.Encode(), nil
}

// verify reads the grant of a request. It says nothing about why it refuses but
// that a URL has expired, which its holder can read in it anyway.
func (s *Local) verify(r *http.Request) (grant, int) {
	g := grant{method: r.Method}
	if g.method == http.MethodHead {
		g.method = http.MethodGet
	}
	if g.method != http.MethodPut && g.method != http.MethodGet {
		return g, http.StatusMethodNotAllowed
	}
	// The path as it came: a key needs no escapes, so one that has them is none.
	key, ok := strings.CutPrefix(r.URL.EscapedPath(), Path)
	if !ok || !validKey(key) {
		return g, http.StatusForbidden
	}
	g.key = key
	q := r.URL.Query()
	var err error
	if g.expires, err = strconv.ParseInt(q.Get("exp"), 10, 64); err != nil {
		return g, http.StatusForbidden
	}
	if g.method == http.MethodPut {
		if g.max, err = strconv.ParseInt(q.Get("max"), 10, 64); err != nil {
			return g, http.StatusForbidden
		}
	}
	g.durable = q.Get("durable") == "1"
	given, err := base64.RawURLEncoding.DecodeString(q.Get("sig"))
	if err != nil || !hmac.Equal(given, g.mac(s.key)) {
		return g, http.StatusForbidden
	}
	if s.now().Unix() > g.expires {
		return g, http.StatusGone
	}
	return g, http.StatusOK
}

// ServeHTTP answers signed URLs below Path. 403: not a URL of this store; 410:
// expired; 413: larger than allowed.
func (s *Local) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g, status := s.verify(r)
	// What is stored came from somebody's run: no browser may take it for a page.
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case status != http.StatusOK:
		http.Error(w, http.StatusText(status), status)
	case g.method == http.MethodPut:
		s.servePut(w, r, g)
	default:
		s.serveGet(w, r, g)
	}
}

func (s *Local) servePut(w http.ResponseWriter, r *http.Request, g grant) {
	if r.ContentLength > g.max {
		http.Error(w, http.StatusText(http.StatusRequestEntityTooLarge), http.StatusRequestEntityTooLarge)
		return
	}
	err := s.put(r.Context(), g.key, http.MaxBytesReader(w, r.Body, g.max), g.durable)
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.As(err, &tooLarge):
		http.Error(w, http.StatusText(http.StatusRequestEntityTooLarge), http.StatusRequestEntityTooLarge)
	case errors.Is(err, io.ErrUnexpectedEOF):
		http.Error(w, "the body ended early", http.StatusBadRequest)
	case r.Context().Err() != nil: // its sender went away: nobody to tell
	default:
		s.log.ErrorContext(r.Context(), "object could not be stored", slog.String("key", g.key), slog.Any("err", err))
		http.Error(w, "the object could not be stored", http.StatusInternalServerError)
	}
}

func (s *Local) serveGet(w http.ResponseWriter, r *http.Request, g grant) {
	f, info, err := s.open(g.key)
	if errors.Is(err, ErrNotFound) {
		http.Error(w, http.StatusText(http.StatusNotFound), http.StatusNotFound)
		return
	}
	if err != nil {
		s.log.ErrorContext(r.Context(), "object could not be read", slog.String("key", g.key), slog.Any("err", err))
		http.Error(w, "the object could not be read", http.StatusInternalServerError)
		return
	}
	defer func() { _ = f.Close() }() // read only: nothing is lost
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", info.ModTime(), f)
}
