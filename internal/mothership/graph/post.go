package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// How long the parts of one request may take. Whoever sends or reads slowly holds
// a connection and the memory of a document or of an answer, and a slow operation
// holds the database.
const (
	readWithin    = time.Minute
	operateWithin = 30 * time.Second
	writeWithin   = time.Minute
)

// post is the one transport. Every GraphQL answer has status 200, errors too:
// the public clients read no body of any other status. The library's own
// transport answers 422 for what does not validate.
type post struct{}

// Supports reports whether r is a POST of JSON.
func (post) Supports(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && r.Method == http.MethodPost && media == "application/json"
}

// Do answers r.
func (post) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	ctx := r.Context()
	params := &graphql.RawParams{Headers: r.Header, ReadTime: graphql.TraceTiming{Start: graphql.Now()}}
	// A connection that cannot have a deadline is a test's: no harm.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readWithin))
	status, unread := decode(r.Body, params)
	if unread != nil {
		write(w, status, &graphql.Response{Errors: gqlerror.List{unread}})
		return
	}
	params.ReadTime.End = graphql.Now()
	operation, list := exec.CreateOperationContext(ctx, params)
	if list != nil {
		write(w, http.StatusOK, exec.DispatchError(graphql.WithOperationContext(ctx, operation), explain(list)))
		return
	}
	if operation.Operation.Operation != ast.Subscription { // a stream may take as long as it likes
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, operateWithin)
		defer cancel()
	}
	responses, ctx := exec.DispatchOperation(ctx, operation)
	response := responses(ctx)
	if response == nil { // the library's answer once ctx has ended
		response = &graphql.Response{Errors: gqlerror.List{asked(givenUp(ctx))}}
	}
	write(w, http.StatusOK, response)
}

// givenUp is the fault of an operation whose context has ended.
func givenUp(ctx context.Context) *fault.Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.Wrap(ctx.Err(), fault.Unavailable, "the operation took longer than %s and was given up", operateWithin).Named("timeout").
			WithHint("look whether it had an effect before you do it again, and ask for less at once")
	}
	return fault.Wrap(ctx.Err(), fault.Unavailable, "the request was given up")
}

// asked is a fault as an error of the whole answer.
func asked(f *fault.Error) *gqlerror.Error {
	e := gqlerror.Errorf("%s", message(f))
	extend(e, "code", string(f.Code))
	if f.Hint != "" {
		extend(e, "hint", f.Hint)
	}
	return e
}

func decode(body io.Reader, params *graphql.RawParams) (int, *gqlerror.Error) {
	content, err := io.ReadAll(body)
	if err != nil {
		status, sentence := http.StatusBadRequest, "the request could not be read"
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			status, sentence = http.StatusRequestEntityTooLarge, "the request is larger than the API takes"
		}
		return status, invalid(sentence)
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber() // 64-bit numbers stay whole
	err = decoder.Decode(params)
	if _, end := decoder.Token(); err != nil || !errors.Is(end, io.EOF) || params.Query == "" {
		// The body is not repeated: it may hold secrets.
		return http.StatusBadRequest, invalid("the request is not one JSON object with a query")
	}
	return http.StatusOK, nil
}

func invalid(sentence string) *gqlerror.Error {
	e := gqlerror.Errorf("%s", sentence)
	extend(e, "code", string(fault.Invalid))
	return e
}

func write(w http.ResponseWriter, status int, response *graphql.Response) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // logs are full of what would be escaped
	if err := encoder.Encode(response); err != nil {
		http.Error(w, "the answer could not be encoded", http.StatusInternalServerError)
		return
	}
	// The server takes both deadlines back: this one before the connection's next
	// request, that of the document as soon as it has been read.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeWithin))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store") // tokens are in some answers
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // the client may have gone: nobody is left to tell
}
