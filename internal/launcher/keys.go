package launcher

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/setting"
	"github.com/spaceport-iac/spaceport/internal/seal"
)

// openEarlier reads the keys from before a rotation. One that is listed and is the
// present key, or stands twice, is no mistake: lists are kept by machines.
func (l *Launcher) openEarlier() error {
	have := []string{l.key.Fingerprint()}
	for _, e := range l.o.Settings.Earlier {
		key, err := seal.ParsePoolKey(string(e.Key))
		if err != nil {
			return named(e.From, err)
		}
		if !slices.Contains(have, key.Fingerprint()) {
			have = append(have, key.Fingerprint())
			l.earlier = append(l.earlier, key)
		}
	}
	return nil
}

// openMarks opens the directory of marks. One that the operator named is not made:
// where a shared disk is not mounted, an empty directory in its place would forget
// every state that was ever seen.
func (l *Launcher) openMarks() (*seal.Marks, error) {
	dir := l.o.Settings.MarksDir
	if dir == "" {
		dir = filepath.Join(l.o.Settings.DataDir, "marks")
		marks, err := seal.NewMarks(dir)
		if err != nil {
			return nil, unusable(l.o.Settings.DataDir, err)
		}
		return marks, nil
	}
	bad := func(err error, hint, message string, args ...any) error {
		return fault.Wrap(err, fault.Invalid, "%s: %s", setting.EnvMarks, fmt.Sprintf(message, args...)).Named("marks_dir").WithHint("%s", hint)
	}
	st, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, bad(err, "make it, or mount what it is on", "the directory %s is not there", dir)
	case !st.IsDir():
		return nil, bad(nil, "name a directory", "%s is not a directory", dir)
	case unix.Access(dir, unix.W_OK|unix.X_OK) != nil:
		return nil, bad(nil, "let it write there", "the launcher's user (uid %d) may not write to %s", os.Geteuid(), dir)
	}
	marks, err := seal.NewMarks(dir)
	if err != nil {
		return nil, bad(err, "see that it can be written", "%s cannot be used", dir)
	}
	return marks, nil
}
