package blob

import (
	"context"
	"errors"
	"io"
	"time"
)

// Object is what a store says of an object without opening it.
type Object struct {
	Key      string
	Modified time.Time // of its last Put
}

// Store is an object store.
type Store interface {
	// Put stores what r yields under key, replacing what was there.
	Put(ctx context.Context, key string, r io.Reader, options ...Option) error
	// Get returns the object; the caller closes it. ErrNotFound if there is none.
	Get(ctx context.Context, key string) (io.ReadCloser, error)
	// Delete removes the object. It is no error if there is none.
	Delete(ctx context.Context, key string) error
	// Walk calls visit for each object, in no order that anybody may rely on, and
	// ends with the first error. Objects that come or go meanwhile may be left out.
	Walk(ctx context.Context, visit func(Object) error) error
	// SignPut returns a URL that accepts a PUT of at most maxSize bytes under key
	// until ttl has passed. A PUT may be repeated.
	SignPut(key string, ttl time.Duration, maxSize int64, options ...Option) (string, error)
	// SignGet returns a URL that answers a GET of key until ttl has passed.
	SignGet(key string, ttl time.Duration) (string, error)
}

// Option changes how an object is stored.
type Option int

// Durable makes a Put return only once the object would survive a power cut.
// States and workspaces need it; a log chunk lost with the machine does not.
const Durable Option = 1

func durable(options []Option) bool {
	for _, o := range options {
		if o == Durable {
			return true
		}
	}
	return false
}

// ErrNotFound means that there is no object under the key.
var ErrNotFound = errors.New("object not found")

// ErrKey means that a key is not one: keys are segments of letters, digits,
// "-", "_" and "." with "/" between them, no segment beginning with a dot.
var ErrKey = errors.New("object key is malformed")

const maxKey = 512

// validKey accepts less than a file system would. os.Root already keeps a key
// inside the directory; this also keeps it clear of temporary files ("~"), of
// names that mean something to another system, and of URL escapes.
func validKey(key string) bool {
	if key == "" || len(key) > maxKey {
		return false
	}
	start := true
	for i := range len(key) {
		c := key[i]
		switch {
		case c == '/':
			if start {
				return false
			}
			start = true
			continue
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		case c == '.':
			if start {
				return false
			}
		default:
			return false
		}
		start = false
	}
	return !start
}
