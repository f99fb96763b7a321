package graph

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// dial is a connection to a server with the transport and the library's own
// server, on a clock of the bubble's own. A write waits until the other side
// reads: whoever does not read is as slow as a reader can be. answer stands in for
// the resolvers.
func dial(t *testing.T, answer func(ctx context.Context) *graphql.Response) (conn net.Conn, ended <-chan time.Time) {
	t.Helper()
	schema := &graphql.ExecutableSchemaMock{
		SchemaFunc: func() *ast.Schema {
			return gqlparser.MustLoadSchema(&ast.Source{Input: "type Query { name: String }"})
		},
		ExecFunc: func(context.Context) graphql.ResponseHandler { return answer },
	}
	api := handler.New(schema)
	api.AddTransport(post{})
	over := make(chan time.Time, 1)
	here, there := net.Pipe()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		api.ServeHTTP(w, r)
		_ = http.NewResponseController(w).Flush() // what is left is written here, and not after the handler
		over <- time.Now()
	})}
	pipe := &pipeListener{conn: there, closed: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(pipe) }()
	t.Cleanup(func() {
		_ = here.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return here, over
}

// pipeListener hands out one connection.
type pipeListener struct {
	conn   net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) Accept() (conn net.Conn, err error) {
	if conn, l.conn = l.conn, nil; conn != nil {
		return conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *pipeListener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

const document = `{"query":"{ name }"}`

func send(t *testing.T, conn net.Conn, length int, body string) {
	t.Helper()
	if _, err := fmt.Fprintf(conn, "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", length, body); err != nil {
		t.Fatal(err)
	}
}

func TestAnAnswerThatNobodyReadsIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		large, _ := json.Marshal(strings.Repeat("x", 1<<20))
		conn, ended := dial(t, func(context.Context) *graphql.Response { return &graphql.Response{Data: large} })
		start := time.Now()
		send(t, conn, len(document), document)
		// Were there no deadline, nothing in the bubble would ever go on.
		if took := (<-ended).Sub(start); took != writeWithin {
			t.Errorf("given up after %v, want %v", took, writeWithin)
		}
	})
}

func TestAnOperationThatTakesTooLongIsGivenUp(t *testing.T) {
	t.Parallel()
	for what, answer := range map[string]func(ctx context.Context) *graphql.Response{
		"without an answer": func(context.Context) *graphql.Response { return nil },
		"with an error": func(ctx context.Context) *graphql.Response {
			s := &Server{}
			return &graphql.Response{Errors: gqlerror.List{s.present(ctx, fmt.Errorf("read stacks: %w", ctx.Err()))}}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				conn, _ := dial(t, func(ctx context.Context) *graphql.Response { <-ctx.Done(); return answer(ctx) })
				start := time.Now()
				send(t, conn, len(document), document)
				said := read(t, conn)
				if took := time.Since(start); took != operateWithin {
					t.Errorf("answered after %v, want %v", took, operateWithin)
				}
				if !strings.Contains(said, `"code":"unavailable.timeout"`) || !strings.Contains(said, "took longer than 30s") {
					t.Errorf("got %s", said)
				}
			})
		})
	}
}

func TestADocumentThatNeverComesIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn, _ := dial(t, func(context.Context) *graphql.Response { return nil })
		start := time.Now()
		send(t, conn, len(document), document[:5])
		said := read(t, conn)
		if took := time.Since(start); took != readWithin || !strings.Contains(said, "could not be read") {
			t.Errorf("answered after %v, want %v: %s", took, readWithin, said)
		}
	})
}

// read returns the body of one answer.
func read(t *testing.T, conn net.Conn) string {
	t.Helper()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestAFaultOfTheWholeAnswerReadsAsThatOfAField(t *testing.T) {
	t.Parallel()
	e := asked(fault.New(fault.Forbidden, "no").Named("x").WithHint("ask"))
	if e.Message != "unauthorized: no: ask" || e.Extensions["code"] != "forbidden.x" || e.Extensions["hint"] != "ask" {
		t.Errorf("got %+v", e)
	}
}
