package program

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Memory makes a program that can be started though it is in no directory, for a
// command that has none of its own. It returns the path, which is good until the
// file is closed, for children of this process.
func Memory(files fs.FS, name string) (string, io.Closer, error) {
	src, err := files.Open(name)
	if err != nil {
		return "", nil, fmt.Errorf("start the program %s: %w", name, err)
	}
	defer src.Close()
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return "", nil, fmt.Errorf("start the program %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := io.Copy(f, src); err != nil {
		_ = f.Close()
		return "", nil, fmt.Errorf("start the program %s: %w", name, err)
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), f, nil
}
