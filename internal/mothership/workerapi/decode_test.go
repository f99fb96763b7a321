package workerapi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spaceport-iac/spaceport/internal/testkit"
)

// Whoever announces more of a body than ever comes is left alone after a while,
// whether what did come is whole JSON or not. The server reads what is left of a
// body after the handler too: with the deadline gone it would wait for ever.
func TestABodyThatNeverEndsHoldsNoConnection(t *testing.T) {
	t.Parallel()
	for what, body := range map[string]string{"half of the JSON": `{"half":`, "all of the JSON": `{}`} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				listener := testkit.OneConn(there)
				server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					var into map[string]any
					if err := decode(w, r, 1<<10, &into); err != nil {
						w.WriteHeader(http.StatusBadRequest)
					}
				})}
				served := make(chan error, 1)
				go func() { served <- server.Serve(listener) }()
				start := time.Now()
				if _, err := fmt.Fprintf(here, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n%s", body); err != nil {
					t.Fatal(err)
				}
				answer, err := http.ReadResponse(bufio.NewReader(here), nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, answer.Body) // none
				if _, err := io.ReadAll(here); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took < readWithin || took > 2*readWithin {
					t.Errorf("the connection was held for %v, want about %v", took, readWithin)
				}
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
