package setting

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/seal"
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func text(field func(*Settings) *string) func(*Settings, string, Input) error {
	return func(s *Settings, value string, _ Input) error {
		*field(s) = value
		return nil
	}
}

func boolean(field func(*Settings) *bool) func(*Settings, string, Input) error {
	return func(s *Settings, value string, _ Input) error {
		b, err := strconv.ParseBool(strings.TrimSpace(value))
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		*field(s) = b
		return nil
	}
}

func readDataDir(s *Settings, value string, _ Input) error {
	dir, err := filepath.Abs(value)
	if err != nil {
		return fmt.Errorf("%q cannot be made an absolute path", value)
	}
	s.DataDir = dir
	return nil
}

// readPolicy reads the path alone; what stands there is checked by compiling it.
func readPolicy(s *Settings, value string, _ Input) error {
	path, err := filepath.Abs(value)
	if err != nil {
		return fmt.Errorf("%q cannot be made an absolute path", value)
	}
	s.Policy = path
	return nil
}

func readBackend(s *Settings, value string, _ Input) error {
	if value != "docker" && value != "process" {
		return fmt.Errorf("%q is neither docker nor process", value)
	}
	s.Backend = value
	return nil
}

// absolute reads a path that must not depend on where the launcher is started.
func absolute(field func(*Settings) *string) func(*Settings, string, Input) error {
	return func(s *Settings, value string, _ Input) error {
		if !filepath.IsAbs(value) {
			return fmt.Errorf("%q is not an absolute path", value)
		}
		*field(s) = filepath.Clean(value)
		return nil
	}
}

func readLogLevel(s *Settings, value string, _ Input) error {
	if s.LogLevel.UnmarshalText([]byte(value)) != nil {
		return fmt.Errorf("%q is none of debug, info, warn, error", value)
	}
	return nil
}

func duration(value string) (time.Duration, error) {
	d, err := time.ParseDuration(strings.TrimSpace(value))
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a duration such as 90s or 70m", value)
	}
	return d, nil
}

func readLogsTimeout(s *Settings, value string, _ Input) (err error) {
	s.LogsTimeout, err = duration(value)
	return err
}

func readRunTimeout(s *Settings, value string, _ Input) (err error) {
	s.RunTimeout, err = duration(value)
	return err
}

// sizeUnits are powers of 1024; a size without one is in bytes.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"", 1}}

// size reads a count of bytes such as 512MiB, within what is sensible.
func size(value string, least, most int64) (int64, error) {
	for _, unit := range sizeUnits {
		number, ok := strings.CutSuffix(strings.TrimSpace(value), unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil {
			break
		}
		if n < 0 || n > most/unit.bytes || n*unit.bytes < least {
			return 0, fmt.Errorf("%q is not between %dMiB and %dGiB", value, least>>20, most>>30)
		}
		return n * unit.bytes, nil
	}
	return 0, fmt.Errorf("%q is not a size such as 512MiB or 2GiB", value)
}

func readDiskFloor(s *Settings, value string, _ Input) (err error) {
	if strings.TrimSpace(value) == "0" {
		s.DiskFloor = 0
		return nil
	}
	s.DiskFloor, err = size(value, 1<<20, 1<<50)
	return err
}

func readLogLimit(s *Settings, value string, _ Input) (err error) {
	s.LogLimit, err = size(value, 1<<20, 64<<30)
	return err
}

func readLogBacklog(s *Settings, value string, _ Input) (err error) {
	s.LogBacklog, err = size(value, 1<<20, 64<<30)
	return err
}

func list(value string) []string {
	var items []string
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// Prefixed splits a name as in a whitelist or a stack's variables: ro_X and
// wo_X are delivered as X in containers of one class.
func Prefixed(name string) (string, Access) {
	if rest, ok := strings.CutPrefix(name, "ro_"); ok && rest != "" {
		return rest, ReadOnly
	}
	if rest, ok := strings.CutPrefix(name, "wo_"); ok && rest != "" {
		return rest, WriteOnly
	}
	return name, Always
}

func readWhitelist(s *Settings, value string, _ Input) error {
	for _, item := range list(value) {
		name, in := Prefixed(item)
		if !envName.MatchString(name) {
			return fmt.Errorf("%q is not the name of a variable", item)
		}
		// The launcher's own secrets open every run of the pool; no list gives
		// them to one.
		if secret(name) {
			return fault.New(fault.Invalid, "%s is never given to a run", name)
		}
		s.PassEnvs = append(s.PassEnvs, PassedEnv{Name: name, In: in})
	}
	return nil
}

// notPassed names what the whitelist lets through and the environment does not
// have: more often a slip than a wish.
func (s *Settings) notPassed() []string {
	var warnings []string
	for _, p := range s.PassEnvs {
		prefix := map[Access]string{ReadOnly: "ro_", WriteOnly: "wo_"}[p.In]
		_, plain := s.environ[p.Name]
		_, own := s.environ[prefix+p.Name]
		if !plain && !own {
			warnings = append(warnings, fmt.Sprintf("SPACELIFT_WHITELIST_ENVS names %s, which the launcher's environment does not have", prefix+p.Name))
		}
	}
	return warnings
}

func readMaskEnvs(s *Settings, value string, _ Input) error {
	for _, item := range list(value) {
		if !envName.MatchString(item) {
			return fmt.Errorf("%q is not the name of a variable", item)
		}
		s.MaskEnvs = append(s.MaskEnvs, item)
	}
	return nil
}

// readKnownHosts reads host keys, each of which must be one: a line that ssh skips
// silently would be found out by the first run.
func readKnownHosts(s *Settings, value string, in Input) error {
	data, err := in.ReadFile(value)
	if err != nil {
		return fmt.Errorf("the file %s cannot be read", value)
	}
	for line := range strings.Lines(string(data)) {
		// Line by line: the parser itself passes over what has no key.
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if _, _, _, _, _, err := ssh.ParseKnownHosts([]byte(line)); err != nil {
			return fmt.Errorf("the file %s has a line that is no host key as ssh-keyscan prints them", value)
		}
	}
	s.KnownHosts = string(data)
	return nil
}

func readRecovery(s *Settings, value string, in Input) error {
	if filepath.IsAbs(strings.TrimSpace(value)) {
		data, err := in.ReadFile(strings.TrimSpace(value))
		if err != nil {
			return fmt.Errorf("the file %s cannot be read", strings.TrimSpace(value))
		}
		value = string(data)
	} else {
		value = strings.ReplaceAll(value, ",", "\n")
	}
	recipients, err := seal.ParseRecipients(value)
	if err != nil {
		return err
	}
	s.Recovery = recipients
	return nil
}
