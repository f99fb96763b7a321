package program

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Memory makes a program that can be started though it is in no directory, for a
// command that has none of its own. It returns the path, which is good until the
// file is closed, for children of this process.
func Memory(name, content string) (string, io.Closer, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return "", nil, fmt.Errorf("start the program %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.WriteString(content); err != nil {
		_ = f.Close()
		return "", nil, fmt.Errorf("start the program %s: %w", name, err)
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), f, nil
}
