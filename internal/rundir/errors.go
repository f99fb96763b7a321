package rundir

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Reasons why a file of a run is not used. Match them with errors.Is.
var (
	// ErrCorrupt: the bytes cannot be what they should be, and never will.
	ErrCorrupt = errors.New("the file is corrupt")
	// ErrUntrusted: what stands at a name is not a plain file of the run's user.
	ErrUntrusted = errors.New("the file cannot be trusted")
	// ErrTooLarge: a size, count or length is over its limit.
	ErrTooLarge = errors.New("the file is too large")
	// ErrDiskFull: there is no room left for a write.
	ErrDiskFull = errors.New("no space is left")
)

// corrupt, untrusted and tooLarge make faults that name the file below out/.
func corrupt(name, format string, args ...any) error {
	return fault.Wrap(ErrCorrupt, fault.Invalid, "the run's file out/%s is corrupt: %s", name, fmt.Sprintf(format, args...)).
		Named("run_file_corrupt")
}

func untrusted(name, what string) error {
	return fault.Wrap(ErrUntrusted, fault.Invalid, "the run's file out/%s is refused since it is %s", name, what).
		Named("run_file_untrusted")
}

func tooLarge(name string, limit int64, what string) error {
	return fault.Wrap(ErrTooLarge, fault.Invalid, "the run's file out/%s is refused since it has more than %d %s", name, limit, what).
		Named("run_file_too_large")
}

// named turns a full disk into a fault that says so, and wraps other errors.
func named(err error, doing string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fault.Wrap(fmt.Errorf("%s: %w: %w", doing, ErrDiskFull, err), fault.Unavailable,
			"the disk of the run's directory is full").
			Named("disk_full").
			WithHint("make room on the worker's data directory")
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Missing reports whether err says that a file isn't there (yet).
func Missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
