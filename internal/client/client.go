package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Options are what a Client works with.
type Options struct {
	Endpoint string // base URL of the API, without /graphql
	ID       string // of the API key
	Secret   string
	HTTP     *http.Client // nil: one of its own
	Now      func() time.Time
}

// Client calls the API. It is safe for concurrent use.
type Client struct {
	o   Options
	url string

	mu    sync.Mutex
	token string
	until time.Time
}

const (
	// timeout bounds one call; the longest is a page of logs over a slow line.
	timeout = time.Minute
	// early is how long before its end a token is no longer used.
	early = 30 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 64 << 20
)

// New returns a client, or a fault that names the option that cannot be used.
func New(o Options) (*Client, error) {
	base, err := url.Parse(strings.TrimRight(o.Endpoint, "/"))
	if strings.Contains(o.Endpoint, "@") {
		// Not repeated: what is before it may be a password.
		return nil, fault.New(fault.Invalid, "the endpoint of the API has a user or a password in it").WithHint("give its base URL, such as https://spaceport.example.com")
	}
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fault.New(fault.Invalid, "%q is no endpoint of the API", o.Endpoint).WithHint("give its base URL, such as https://spaceport.example.com")
	}
	if base.Scheme == "http" && !loopback(base.Hostname()) {
		return nil, fault.New(fault.Invalid, "the endpoint %s is plain http", o.Endpoint).
			WithHint("the key's secret would be readable on the way: use https, or an address of this host")
	}
	if o.ID == "" || o.Secret == "" {
		return nil, fault.New(fault.Invalid, "the id or the secret of an API key is missing")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{Timeout: timeout}
	}
	own := *o.HTTP
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.HTTP = &own
	return &Client{o: o, url: base.String() + "/graphql"}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// Do sends a document and decodes the answer's data into into, which may be nil.
func (c *Client) Do(ctx context.Context, document string, variables map[string]any, into any) error {
	token, err := c.login(ctx)
	if err != nil {
		return err
	}
	return c.send(ctx, token, document, variables, into)
}

func (c *Client) login(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" && c.o.Now().Add(early).Before(c.until) {
		return c.token, nil
	}
	var answer struct {
		APIKeyUser *struct {
			JWT        string
			ValidUntil int64
		}
	}
	err := c.send(ctx, "", loginDocument, map[string]any{"id": c.o.ID, "secret": c.o.Secret}, &answer)
	if err != nil {
		return "", err
	}
	if answer.APIKeyUser == nil {
		return "", fault.New(fault.Unauthenticated, "the server does not know the API key")
	}
	c.token, c.until = answer.APIKeyUser.JWT, time.Unix(answer.APIKeyUser.ValidUntil, 0)
	return c.token, nil
}

func (c *Client) send(ctx context.Context, token, document string, variables map[string]any, into any) error {
	body, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Spacelift-Client-Type", "spaceport")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := c.o.HTTP.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fault.Wrap(err, fault.Unavailable, "the server at %s cannot be reached: %v", c.o.Endpoint, root(err)).
			WithHint("check the endpoint, and that the server runs")
	}
	defer func() { _ = response.Body.Close() }() // only read from
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "the answer of the server at %s broke off", c.o.Endpoint)
	}
	return c.decode(response.StatusCode, content, into)
}

func (c *Client) decode(status int, content []byte, into any) error {
	var answer struct {
		Data   json.RawMessage
		Errors []problem
	}
	err := json.Unmarshal(content, &answer)
	if err == nil && len(answer.Errors) > 0 && answer.Errors[0].Message != "" {
		return answer.Errors[0].fault()
	}
	if err == nil && (len(answer.Errors) > 0 || len(answer.Data) == 0 || answer.Data[0] != '{') {
		err = errors.New("it has neither data nor an error that says anything")
	}
	if err == nil && into != nil {
		err = json.Unmarshal(answer.Data, into)
	}
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "%s answered %d and no GraphQL that can be understood", c.url, status).
			WithHint("check that the endpoint is that of a Spaceport server")
	}
	return nil
}

// problem is an error as the API answers it.
type problem struct {
	Message    string
	Extensions struct{ Code, Hint string }
}

func (p problem) fault() *fault.Error {
	kind, name, named := strings.Cut(p.Extensions.Code, ".")
	if kind == "" || kind != strings.ToLower(kind) {
		kind, named = string(fault.Invalid), false // a document the server does not know
	}
	// The message ends in the hint for clients that read nothing else.
	e := fault.New(fault.Code(kind), "%s", strings.TrimSuffix(p.Message, ": "+p.Extensions.Hint))
	if named {
		e = e.Named(name)
	}
	if p.Extensions.Hint != "" {
		e = e.WithHint("%s", p.Extensions.Hint)
	}
	return e
}

// root is the innermost error, whose text says what happened without the URL.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
