package tool

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Store keeps binaries below the data directory, named by their content. It is
// safe for concurrent use, also by several launchers over one directory.
type Store struct {
	dir string

	mu    sync.Mutex
	known map[string]string // what a file looked like → where it is kept
}

// NewStore keeps binaries in a directory.
func NewStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("keep binaries: %w", err)
	}
	return &Store{dir: dir, known: map[string]string{}}, nil
}

// Keep copies a binary into the store, unless it is there, and returns its path.
func (s *Store) Keep(path string) (string, error) {
	src, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("keep binary %s: %w", path, err)
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return "", fmt.Errorf("keep binary %s: %w", path, err)
	}
	key := fmt.Sprintf("%s %d %d", path, info.Size(), info.ModTime().UnixNano())
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		key += fmt.Sprintf(" %d %d %d", st.Dev, st.Ino, st.Ctim.Nano())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept, ok := s.known[key]; ok {
		if _, err := os.Stat(kept); err == nil {
			return kept, nil
		}
	}
	kept, err := s.put(src, info.Size())
	if err != nil {
		return "", fmt.Errorf("keep binary %s: %w", path, err)
	}
	s.known[key] = kept
	return kept, nil
}

// KeepContent is Keep for a binary that is in no file yet.
func (s *Store) KeepContent(name, content string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := int64(len(content))
	// A strings.Reader alone would hand out all of it at once, as a copy.
	kept, err := s.put(io.NewSectionReader(strings.NewReader(content), 0, size), size)
	if err != nil {
		return "", fmt.Errorf("keep binary %s: %w", name, err)
	}
	return kept, nil
}

// put keeps what it reads, unless it is there. A launcher does this at each start,
// so nothing is written that is there.
func (s *Store) put(src io.ReadSeeker, size int64) (string, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, src); err != nil {
		return "", err
	}
	kept := filepath.Join(s.dir, hex.EncodeToString(sum.Sum(nil)))
	// A file that is there already may be running; its content is the same.
	if have, err := os.Stat(kept); err == nil && have.Size() == size {
		return kept, nil
	}
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	tmp, err := os.CreateTemp(s.dir, ".new-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name())
	again := sha256.New()
	_, err = io.Copy(tmp, io.TeeReader(src, again))
	if err == nil && !bytes.Equal(again.Sum(nil), sum.Sum(nil)) {
		err = errors.New("it changes while it is read")
	}
	if err == nil {
		err = tmp.Chmod(0o755)
	}
	if err == nil {
		err = tmp.Sync() // it is looked at no more once it has its size
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = settle(tmp.Name())
	}
	if err != nil {
		return "", err
	}
	return kept, os.Rename(tmp.Name(), kept)
}

// settleLimit is how long settle waits; a child gets to its program in far less.
const settleLimit = 10 * time.Second

// settle waits until nobody has a file open for writing. A child that is being
// started has a copy of every descriptor until it executes its program, and a
// binary with a writer cannot be executed (ETXTBSY). The kernel gives a read lease
// on a file without writers alone: fcntl(2), "Leases". A file system without leases
// is not waited for.
func settle(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for end := time.Now().Add(settleLimit); ; time.Sleep(time.Millisecond) {
		_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
		if errors.Is(err, unix.EAGAIN) && time.Now().Before(end) {
			continue
		}
		if err == nil {
			_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
			return err
		}
		return nil
	}
}
