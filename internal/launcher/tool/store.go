package tool

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
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
	tmp, err := os.CreateTemp(s.dir, ".new-*")
	if err != nil {
		return "", fmt.Errorf("keep binary %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	sum := sha256.New()
	_, err = io.Copy(tmp, io.TeeReader(src, sum))
	if err == nil {
		err = tmp.Chmod(0o755)
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", fmt.Errorf("keep binary %s: %w", path, err)
	}
	kept := filepath.Join(s.dir, hex.EncodeToString(sum.Sum(nil)))
	// A file that is there already may be running; its content is the same.
	if have, err := os.Stat(kept); err != nil || have.Size() != info.Size() {
		if err := os.Rename(tmp.Name(), kept); err != nil {
			return "", fmt.Errorf("keep binary %s: %w", path, err)
		}
	}
	s.known[key] = kept
	return kept, nil
}
