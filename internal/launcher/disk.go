package launcher

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// room says that the disk has too little room for a run, or nil. A run that fills
// the disk takes down whatever else lives there, and may not be able to say so.
func room(dir string, floor int64) error {
	if floor <= 0 {
		return nil
	}
	free, err := Free(dir)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "the free space at %s cannot be found out: %v", dir, err).Named("disk")
	}
	if free < floor {
		return fault.New(fault.Unavailable, "the disk of %s has %s left, and a run needs %s", dir, mebibytes(free), mebibytes(floor)).Named("disk_floor").
			WithHint("make room there, or lower SPACELIFT_DISK_FLOOR")
	}
	return nil
}

// Free returns how many bytes this process may still write at a path.
func Free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
