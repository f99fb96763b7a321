package setting

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/egress"
	"github.com/spaceport-iac/spaceport/internal/rootca"
	"github.com/spaceport-iac/spaceport/internal/seal"
)

// Secret is a text that prints as stars.
type Secret string

// String returns stars.
func (Secret) String() string { return "*****" }

// GoString returns stars.
func (Secret) GoString() string { return "*****" }

// LogValue returns stars.
func (Secret) LogValue() slog.Value { return slog.StringValue("*****") }

// MarshalText returns stars.
func (Secret) MarshalText() ([]byte, error) { return []byte("*****"), nil }

// Access says in which containers something is given: all, or those of one class.
type Access string

// The values of Access.
const (
	Always    Access = ""
	ReadOnly  Access = "read"
	WriteOnly Access = "write"
)

// PassedEnv is a variable of the launcher's own environment that runs receive.
type PassedEnv struct {
	Name string // as delivered, without prefix
	In   Access
}

// Settings are what the operator decided, checked.
type Settings struct {
	Token Secret
	Key   Secret
	// TokenFrom and KeyFrom are the settings that they came from.
	TokenFrom, KeyFrom string
	// Earlier are the pool's keys before this one, and the settings that they came from.
	Earlier []EarlierKey

	DataDir       string
	Backend       string // docker | process
	WorkspaceRoot string // empty: none
	LogLevel      slog.Level
	Debug         bool
	Standby       bool

	PassEnvs []PassedEnv
	MaskEnvs []string
	Mounts   []Mount
	Network  string // of run containers; empty: the engine's own
	Runtime  string

	LogsTimeout  time.Duration // without output, then the run ends
	RunTimeout   time.Duration // of a container
	LogLimit     int64         // bytes of log that a container may write
	LogBacklog   int64         // bytes of log that may wait on the disk
	DefaultImage string
	// DefaultAnsibleImage is the same for Ansible stacks.
	DefaultAnsibleImage string

	DockerHost      string        // the engine's address; empty: the default socket
	DockerConfigDir string        // of config.json; empty: none
	ImageRetention  time.Duration // that an image that was pulled may be unused; 0: for ever

	Recovery        []seal.Recipient
	MarksDir        string // of the states that were seen; empty: below the data directory
	DiskFloor       int64  // free bytes of the data directory's disk that a run needs
	Policy          string // path of the run initialization policy; empty: none
	AllowFileSource bool
	KnownHosts      string            // lines of SSH host keys
	PrivateVCS      map[string]string // base endpoints behind private://NAME, by name

	Proxy *egress.Proxy // of everything that leaves this host but image pulls
	Roots *rootca.Roots // believed beside the system's; nil: none

	Metadata map[string]string

	httpProxy, httpsProxy, noProxy string
	// environ is the launcher's whole environment, for PassEnvs and MaskEnvs.
	environ map[string]string
}

// Input is where settings are read from.
type Input struct {
	Args     []string                          // without the program's name
	Environ  []string                          // name=value
	ReadFile func(path string) ([]byte, error) // for values that may be a file
	// Command runs a command for a secret and returns what it prints; RunCommand if
	// nil.
	Command func(command string) ([]byte, error)
}

// Parse reads settings. The warnings are for the log. Its errors are faults of
// kind invalid that name the setting.
func Parse(in Input) (*Settings, []string, error) {
	s := &Settings{Metadata: map[string]string{}, environ: map[string]string{}}
	for _, pair := range in.Environ {
		if name, value, ok := strings.Cut(pair, "="); ok && name != "" {
			s.environ[name] = value
		}
	}
	flags, err := parseFlags(in.Args)
	if err != nil {
		return nil, nil, err
	}
	var warnings []string
	for _, row := range Table() {
		value, from := row.Default, ""
		if v := s.environ[row.Env]; v != "" {
			value, from = v, row.Env
		}
		if small := strings.ToLower(row.Env); row.Lower && s.environ[small] != "" {
			switch {
			case from == "":
				value, from = s.environ[small], small
			case s.environ[small] != value:
				warnings = append(warnings, fmt.Sprintf("%s differs from %s, which is used", small, from))
			}
		}
		if v, ok := flags[row.Flag]; ok && row.Flag != "" {
			value, from = v, "--"+row.Flag
		}
		switch {
		case row.Next:
			if from != "" {
				warnings = append(warnings, fmt.Sprintf("%s has no effect in this version", from))
			}
		case value != "" && row.read != nil:
			if err := row.read(s, value, in); err != nil {
				if from == "" {
					from = row.Env
				}
				return nil, nil, named(from, err)
			}
		}
	}
	if err := s.complete(); err != nil {
		return nil, nil, err
	}
	for name, value := range s.environ {
		if key, ok := strings.CutPrefix(name, MetadataPrefix); ok {
			if err := checkMetadata(key, value); err != nil {
				return nil, nil, named(name, err)
			}
			s.Metadata[key] = value
		}
	}
	s.Proxy = egress.NewProxy(s.httpProxy, s.httpsProxy, s.noProxy)
	warnings = append(warnings, s.withoutEngine()...)
	warnings = append(warnings, s.notForContainers()...)
	warnings = append(warnings, s.notPassed()...)
	private, more, err := readPrivateVCS(s.environ)
	if err != nil {
		return nil, nil, err
	}
	s.PrivateVCS = private
	warnings = append(warnings, more...)
	return s, append(warnings, unknownNames(s.environ)...), nil
}

// Environ returns the value of a variable of the launcher's own environment,
// and whether it is set. The launcher's secrets are never there.
func (s *Settings) Environ(name string) (string, bool) {
	if secret(name) {
		return "", false
	}
	v, ok := s.environ[name]
	return v, ok
}

func named(setting string, err error) error {
	if f := fault.As(err); f != nil {
		e := fault.Wrap(err, fault.Invalid, "%s: %s", setting, f.Message).Named("setting")
		if f.Hint != "" {
			e = e.WithHint("%s", f.Hint)
		}
		return e
	}
	return fault.Wrap(err, fault.Invalid, "%s: %s", setting, err.Error()).Named("setting")
}

func parseFlags(args []string) (map[string]string, error) {
	known := map[string]Row{}
	var names []string
	for _, row := range Table() {
		if row.Flag != "" {
			known[row.Flag] = row
			names = append(names, row.Flag)
		}
	}
	flags := map[string]string{}
	for i := 0; i < len(args); i++ {
		name, ok := strings.CutPrefix(args[i], "--")
		if !ok || name == "" {
			return nil, fault.New(fault.Invalid, "unexpected argument %q", args[i]).Named("argument").
				WithHint("settings are given as --name value; see --help")
		}
		name, value, joined := strings.Cut(name, "=")
		row, ok := known[name]
		if !ok {
			e := fault.New(fault.Invalid, "there is no flag --%s", name).Named("flag_unknown").WithHint("see --help")
			if near := nearest(name, names); near != "" {
				e = e.WithHint("did you mean --%s", near)
			}
			return nil, e
		}
		switch {
		case joined:
		case row.Switch:
			value = "true"
		case i+1 < len(args):
			i++
			value = args[i]
		default:
			return nil, fault.New(fault.Invalid, "--%s needs a value", name).Named("flag_value")
		}
		flags[name] = value
	}
	return flags, nil
}

// unknownNames warns of environment names that look like ours and are not.
func unknownNames(environ map[string]string) []string {
	var known []string
	for _, row := range Table() {
		known = append(known, row.Env)
	}
	var warnings []string
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		switch {
		case !strings.HasPrefix(name, "SPACELIFT_"), strings.HasPrefix(name, MetadataPrefix), slices.Contains(known, name):
		case strings.HasPrefix(name, mappingName), strings.HasPrefix(name, mappingEndpoint):
		default:
			w := fmt.Sprintf("%s is not a setting of this launcher", name)
			if near := nearest(name, known); near != "" {
				w += fmt.Sprintf("; did you mean %s", near)
			}
			warnings = append(warnings, w)
		}
	}
	return warnings
}
