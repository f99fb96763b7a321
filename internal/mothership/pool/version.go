package pool

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// compatible reports whether a launcher's version works with ours: the same minor
// version or the one before. A development build, whose version is no number,
// works with all, on either side.
func compatible(launcher, ours string) error {
	major, minor, ok := parseVersion(ours)
	if !ok {
		return nil
	}
	theirMajor, theirMinor, ok := parseVersion(launcher)
	if !ok || (theirMajor == major && (theirMinor == minor || theirMinor == minor-1)) {
		return nil
	}
	works := fmt.Sprintf("%d.%d", major, minor)
	if minor > 0 {
		works = fmt.Sprintf("%d.%d and %s", major, minor-1, works)
	}
	return fault.New(fault.Unsupported, "launcher version %s does not work with this mothership, which is version %s", launcher, ours).Named("version").
		WithHint("use a launcher of version %s", works)
}

func parseVersion(text string) (major, minor int, ok bool) {
	fields := strings.Split(strings.TrimPrefix(text, "v"), ".")
	if len(fields) < 2 {
		return 0, 0, false
	}
	major, err := strconv.Atoi(fields[0])
	if err != nil {
		return 0, 0, false
	}
	minor, err = strconv.Atoi(fields[1])
	return major, minor, err == nil && major >= 0 && minor >= 0
}
