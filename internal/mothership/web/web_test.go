package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestReadinessNamesThePartThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	var broken error
	h, err := HealthHandler(HealthOptions{
		Ready: map[string]Check{
			"database": func(context.Context) error { return nil },
			"broker":   func(context.Context) error { return broken },
		},
		Metrics: http.NotFoundHandler(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	if code, said := ask("/readiness"); code != 200 || said != "ready\n" {
		t.Errorf("got %d %q", code, said)
	}
	broken = errors.New("connection refused")
	if code, said := ask("/readiness"); code != 503 || said != "broker: connection refused\n" {
		t.Errorf("with a broken part: %d %q", code, said)
	}
	if code, _ := ask("/startup"); code != 200 {
		t.Errorf("started is started: %d", code)
	}
}

func TestRequestsAreLoggedAtDebugWithoutTheirQueries(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level]string{slog.LevelInfo: "", slog.LevelDebug: "path=/objects/key status=418"} {
		var log bytes.Buffer
		h, err := Handler(Options{
			GraphQL: http.NotFoundHandler(), Worker: http.NotFoundHandler(),
			Objects: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }),
			Log:     slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level})),
		})
		if err != nil {
			t.Fatal(err)
		}
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPut, "/objects/key?signature=canary", nil))
		if !strings.Contains(log.String(), want) || strings.Contains(log.String(), "canary") || (want == "") != (log.Len() == 0) {
			t.Errorf("at %v: %q", level, log.String())
		}
	}
}

func TestARequestThatRunsMayEndWhenTheServerStops(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "whole")
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, h, nil, slog.New(slog.DiscardHandler)) }()
	said := make(chan string, 1)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	go func() {
		answer, err := client.Get("http://" + l.Addr().String())
		if err != nil {
			said <- err.Error()
			return
		}
		defer func() { _ = answer.Body.Close() }()
		body, _ := io.ReadAll(answer.Body)
		said <- string(body)
	}()
	<-entered
	stop()
	select {
	case err := <-ended:
		t.Fatalf("the server ended (%v) while a request ran", err)
	default:
	}
	close(release)
	if got := <-said; got != "whole" {
		t.Errorf("the request got %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("the server ended with %v", err)
	}
	if _, err := client.Get("http://" + l.Addr().String()); err == nil {
		t.Error("the server still answers")
	}
}

func TestWithACertificateTheServerSpeaksHTTPS(t *testing.T) {
	t.Parallel()
	// The library's test server lends its certificate and a client that trusts it.
	lender := httptest.NewTLSServer(http.NotFoundHandler())
	defer lender.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	config := &tls.Config{Certificates: lender.TLS.Certificates, MinVersion: tls.VersionTLS12}
	go func() { ended <- Serve(ctx, l, h, config, slog.New(slog.DiscardHandler)) }()
	answer, err := lender.Client().Get("https://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil || string(body) != "hello" || answer.TLS == nil {
		t.Errorf("got %q, %v", body, err)
	}
	lender.Client().CloseIdleConnections()
	stop()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}
