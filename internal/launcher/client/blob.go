package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/sleep"
)

// allowed refuses a signed address outside the bundle's origins: the mothership
// must not be able to send a launcher's bytes, or its requests, anywhere else.
func (c *Client) allowed(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil {
		return fault.New(fault.Invalid, "a signed address cannot be read").Named("object_origin")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.origins[origin(u)] {
		return fault.New(fault.Forbidden, "a signed address points to %s, which the mothership's signed bundle does not list", origin(u)).Named("object_origin")
	}
	return nil
}

// PutBlob uploads bytes to a signed address once.
func (c *Client) PutBlob(ctx context.Context, rawURL string, data []byte) error {
	if err := c.allowed(rawURL); err != nil {
		return err
	}
	_, _, err := c.do(ctx, call{
		method: http.MethodPut, url: rawURL, size: int64(len(data)), once: true, timeout: blobTimeout,
		body: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}, maxAnswer)
	return err
}

// PutFile uploads a file to a signed address, trying until it is stored.
func (c *Client) PutFile(ctx context.Context, rawURL string, f *os.File, size int64) error {
	if err := c.allowed(rawURL); err != nil {
		return err
	}
	_, _, err := c.do(ctx, call{
		method: http.MethodPut, url: rawURL, size: size, timeout: blobTimeout, pauseCap: DefaultPauseCap,
		body: func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(f, 0, size)), nil },
	}, maxAnswer)
	return err
}

// GetFile downloads a signed address into f, which it empties first, trying
// until it is whole. More than size bytes are refused.
func (c *Client) GetFile(ctx context.Context, rawURL string, f *os.File, size int64) error {
	if err := c.allowed(rawURL); err != nil {
		return err
	}
	pause := firstPause
	for {
		err := c.getFile(ctx, rawURL, f, size)
		if err == nil || !again(err) || ctx.Err() != nil {
			return err
		}
		if sleep.For(ctx, pause) != nil {
			return err
		}
		pause = min(2*pause, DefaultPauseCap)
	}
}

func (c *Client) getFile(ctx context.Context, rawURL string, f *os.File, size int64) error {
	ctx, cancel := context.WithTimeout(ctx, blobTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "a signed address cannot be read")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(req.URL, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		return refusal(req.URL, resp.StatusCode, body)
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(resp.Body, size+1))
	var perr *os.PathError
	switch {
	case errors.As(err, &perr):
		return err
	case err != nil:
		return c.unreachable(req.URL, err)
	case n > size:
		return fault.New(fault.Invalid, "a blob is longer than the %d bytes that were announced", size).Named("blob_size")
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}
