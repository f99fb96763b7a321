package rundir

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// What the launcher takes from the worker. Missing(err) says: not yet.

// ReadResult returns the worker's last word.
func (d *Dir) ReadResult() (*wire.RunResult, error) {
	var r wire.RunResult
	if err := d.takeJSON(wire.OutResult, d.o.Limits.ResultBytes, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// Finished reports whether the worker has said its last word: its log is complete.
func (d *Dir) Finished() bool {
	var st unix.Stat_t
	return unix.Fstatat(int(d.out.root.Fd()), wire.OutResult, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// ReadCarry returns what the next container is to have beside the workspace.
func (d *Dir) ReadCarry() (*wire.Carry, error) {
	var c wire.Carry
	if err := d.takeJSON(wire.OutCarry, d.o.Limits.ResultBytes, &c); err != nil {
		return nil, err
	}
	return &c, nil
}

// ReadWorkflow returns a custom vendor's commands by key.
func (d *Dir) ReadWorkflow() (map[string]string, error) {
	var w map[string]string
	if err := d.takeJSON(wire.OutWorkflow, d.o.Limits.ResultBytes, &w); err != nil {
		return nil, err
	}
	return w, nil
}

// maxRequest bounds a request's description, in bytes.
const maxRequest = 64 << 10

// Requests returns the requests that this Dir has not returned before, oldest
// first. After adoption those that have no answer yet are returned again. A request
// that cannot be read is an error and ends the run, since an honest worker writes
// none.
func (d *Dir) Requests() ([]wire.Request, error) {
	// Three names a request: body, description, and a temporary one.
	names, err := d.out.list(wire.OutRequests, 3*d.o.Limits.Requests)
	if err != nil {
		return nil, err
	}
	var fresh []wire.Request
	for _, name := range names {
		id, isRequest := strings.CutSuffix(name, ".json")
		if !isRequest || strings.HasPrefix(name, ".") || d.seen[id] {
			continue
		}
		path := wire.OutRequests + "/" + name
		if !validID(id) {
			return fresh, untrusted(wire.OutRequests, "holding a name that is no request's")
		}
		// The answer lies where only a launcher can write. A state write that was
		// served twice would be sealed anew, and two blobs would claim its place.
		if _, err := d.in.Lstat(wire.InAnswers + "/" + name); err == nil {
			d.seen[id] = true
			continue
		}
		var r wire.Request
		if err := d.takeJSON(path, maxRequest, &r); err != nil {
			return fresh, err
		}
		if r.ID != id {
			return fresh, corrupt(path, "it has another request's id")
		}
		d.seen[id] = true
		fresh = append(fresh, r)
	}
	return fresh, nil
}

// RequestBody opens a request's body. One that is larger than the limit fails with
// ErrTooLarge, at once or, if it grows, while it is read. The caller closes it.
func (d *Dir) RequestBody(id string) (io.ReadCloser, error) {
	if !validID(id) {
		return nil, untrusted(wire.OutRequests, "asked for a name that is no request's")
	}
	return d.bounded(wire.OutRequests + "/" + id + ".body")
}

// bounded opens a file that is read to its end. One that is too large is refused before
// a byte is read: a sparse one costs its writer nothing, and its reader all that it
// would be given of memory.
func (d *Dir) bounded(name string) (io.ReadCloser, error) {
	limit := d.o.Limits.RequestBody
	f, err := d.out.file(name)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.Size() > limit {
		err = tooLarge(name, limit, "bytes")
	}
	if err != nil {
		_ = f.Close() // only read
		return nil, err
	}
	return &capped{file: f, name: name, limit: limit, left: limit}, nil
}

// capped reads a file up to a limit, and fails if there is more.
type capped struct {
	file  *os.File
	name  string
	limit int64
	left  int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left < 0 {
		return 0, tooLarge(c.name, c.limit, "bytes")
	}
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1]
	}
	n, err := c.file.Read(p)
	c.left -= int64(n)
	if c.left < 0 {
		return n - 1, tooLarge(c.name, c.limit, "bytes")
	}
	return n, err
}

func (c *capped) Close() error { return c.file.Close() }

// Errored names the state files that a tool could not deliver itself.
func (d *Dir) Errored() ([]string, error) {
	names, err := d.out.list(wire.OutErrored, d.o.Limits.Errored)
	if Missing(err) {
		return nil, nil
	}
	return names, err
}

// OpenErrored opens one of them. The caller closes it.
func (d *Dir) OpenErrored(name string) (io.ReadCloser, error) {
	return d.bounded(wire.OutErrored + "/" + name)
}

func (d *Dir) takeJSON(name string, limit int64, v any) error {
	data, err := d.out.read(name, limit)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(v); err != nil {
		return corrupt(name, "it is not the JSON that it should be")
	}
	if _, err := dec.Token(); err == nil {
		return corrupt(name, "there is more behind its JSON")
	} else if err != io.EOF {
		return corrupt(name, "there is something behind its JSON")
	}
	return nil
}

// segmentName returns the name of the nth segment of a log, from 1.
func segmentName(n int) string { return fmt.Sprintf("%08d.log", n) }
