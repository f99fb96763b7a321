package blob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path"
	"strings"
	"time"
)

// Path is where the local store's handler answers.
const Path = "/objects/"

// Options are what a Local store works with.
type Options struct {
	// Dir is an existing directory that belongs to the store alone.
	Dir string
	// Key signs URLs: 32 random bytes or more.
	Key []byte
	// BaseURL is where Handler is reached from outside, without the path:
	// https://host[:port].
	BaseURL string
	Now     func() time.Time
	Log     *slog.Logger // nil discards
}

// Local is a Store of files. It is safe for concurrent use.
type Local struct {
	root *os.Root
	key  []byte
	base string
	now  func() time.Time
	log  *slog.Logger
}

var _ Store = (*Local)(nil)

// temporary holds what is being written. No key can name it.
const temporary = "~tmp"

// NewLocal opens the store and removes what an earlier process left half written.
func NewLocal(o Options) (*Local, error) {
	base, err := url.Parse(o.BaseURL)
	switch {
	case o.Dir == "" || o.Now == nil:
		return nil, errors.New("object store: Dir and Now are needed")
	case len(o.Key) < 32:
		return nil, errors.New("object store: the URL key has less than 32 bytes")
	case err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https"):
		return nil, fmt.Errorf("object store: base URL %q is no http or https URL", o.BaseURL)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	if err := errors.Join(root.RemoveAll(temporary), root.Mkdir(temporary, 0o700)); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare object store: %w", err), root.Close())
	}
	return &Local{root: root, key: o.Key, base: strings.TrimSuffix(o.BaseURL, "/"), now: o.Now, log: o.Log}, nil
}

// Close releases the directory.
func (s *Local) Close() error { return s.root.Close() }

// Put implements Store.
func (s *Local) Put(ctx context.Context, key string, r io.Reader, options ...Option) error {
	if !validKey(key) {
		return fmt.Errorf("put object: %w", ErrKey)
	}
	return s.put(ctx, key, r, durable(options))
}

// put writes a temporary file and renames it, so that a reader sees the old
// object or the new one, and a writer that dies leaves nothing under the key.
func (s *Local) put(ctx context.Context, key string, r io.Reader, sync bool) (err error) {
	name := path.Join(temporary, randomName())
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("put object %s: %w", key, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("put object %s: %w", key, errors.Join(err, ignoreMissing(s.root.Remove(name))))
		}
	}()
	_, err = io.Copy(f, contextReader{ctx, r})
	if err == nil && sync {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	dir := path.Dir(key)
	err = s.root.Rename(name, key)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.makeDir(dir, sync); err != nil {
			return err
		}
		err = s.root.Rename(name, key)
	}
	if err != nil {
		return err
	}
	if sync {
		return s.syncDir(dir)
	}
	return nil
}

// makeDir makes dir and those above it; with sync each new name is on disk before
// anything is put below it.
func (s *Local) makeDir(dir string, sync bool) error {
	if err := s.root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if !sync {
		return nil
	}
	for d := path.Dir(dir); ; d = path.Dir(d) {
		if err := s.syncDir(d); err != nil {
			return err
		}
		if d == "." {
			return nil
		}
	}
}

func (s *Local) syncDir(dir string) error {
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Reader gets objects out of a local store's directory. Unlike a Local it may be
// opened beside the server that the directory belongs to.
type Reader struct{ local Local }

// OpenReader opens the directory of a local store for reading. The caller closes it.
func OpenReader(dir string) (*Reader, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	return &Reader{Local{root: root}}, nil
}

// Get returns the object; the caller closes it. ErrNotFound if there is none.
func (r *Reader) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	return r.local.Get(ctx, key)
}

// Close releases the directory.
func (r *Reader) Close() error { return r.local.Close() }

// Get implements Store.
func (s *Local) Get(_ context.Context, key string) (io.ReadCloser, error) {
	f, _, err := s.open(key)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (s *Local) open(key string) (*os.File, fs.FileInfo, error) {
	if !validKey(key) {
		return nil, nil, fmt.Errorf("get object: %w", ErrKey)
	}
	f, err := s.root.Open(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("get object %s: %w", key, ErrNotFound)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("get object %s: %w", key, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotFound // a directory: the beginning of other keys
	}
	if err != nil {
		return nil, nil, fmt.Errorf("get object %s: %w", key, errors.Join(err, f.Close()))
	}
	return f, info, nil
}

// Delete implements Store.
func (s *Local) Delete(_ context.Context, key string) error {
	if !validKey(key) {
		return fmt.Errorf("delete object: %w", ErrKey)
	}
	if err := ignoreMissing(s.root.Remove(key)); err != nil {
		return fmt.Errorf("delete object %s: %w", key, err)
	}
	return nil
}

// Walk implements Store.
func (s *Local) Walk(ctx context.Context, visit func(Object) error) error {
	err := fs.WalkDir(s.root.FS(), ".", func(key string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed meanwhile
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case key == temporary:
			return fs.SkipDir
		case !entry.Type().IsRegular() || !validKey(key):
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return ignoreMissing(err)
		}
		return visit(Object{Key: key, Modified: info.ModTime()})
	})
	if err != nil {
		return fmt.Errorf("list objects: %w", err)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func randomName() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: the runtime ends the program first
	return hex.EncodeToString(b[:])
}

// contextReader ends a copy when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
