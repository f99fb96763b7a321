package web

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spaceport-iac/spaceport/internal/testkit"
)

func TestARequestThatNobodyReadsHoldsNoConnection(t *testing.T) {
	t.Parallel()
	for what, path := range map[string]string{"a path that there is not": "/nosuch", "one whose handler reads nothing": "/objects/key"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				none := http.NotFoundHandler()
				h, err := Handler(Options{GraphQL: none, Worker: none, Objects: none, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				here, there := net.Pipe()
				listener := testkit.OneConn(there)
				server := &http.Server{Handler: h}
				served := make(chan error, 1)
				go func() { served <- server.Serve(listener) }()
				start := time.Now()
				if _, err := io.WriteString(here, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				// Were there no deadline, nothing in the bubble would ever go on.
				answer, err := http.ReadResponse(bufio.NewReader(here), nil)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); answer.StatusCode != http.StatusNotFound || took > restWithin {
					t.Errorf("answered %s after %v, want 404 within %v", answer.Status, took, restWithin)
				}
				_ = here.Close()
				if err := server.Close(); err != nil {
					t.Error(err)
				}
				if err := <-served; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			})
		})
	}
}
