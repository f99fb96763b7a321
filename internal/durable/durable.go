// Package durable writes files that are whole and there after a power cut.
package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Temporary is how the names of files begin that are still being written, in the
// directory of the file that they will be. One that is there at a start is what an
// interrupted write left.
const Temporary = ".new-"

// WriteFile puts data into the file at path, mode 0600, replacing what was there. A
// reader sees the old content or the new one, never a part. When WriteFile returns
// nil, content and name are on disk.
func WriteFile(path string, data []byte) error {
	if err := write(path, data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func write(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, Temporary+"*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return SyncDir(dir)
}

// SyncDir returns once the names in a directory, those made and those removed, are
// on disk.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
