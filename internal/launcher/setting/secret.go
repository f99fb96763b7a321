package setting

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

const (
	secretTime = time.Minute // that a command for a secret may take
	secretSize = 1 << 20     // bytes that a secret may have
)

// EarlierKey is a key that the pool had before.
type EarlierKey struct {
	From string // the setting, and the file if there is one
	Key  Secret
}

// Secrets are the names of the variables whose values are secrets of the launcher.
func Secrets() []string { return []string{EnvToken, EnvKey, EnvEarlier} }

func secret(name string) bool {
	for _, s := range Secrets() {
		if name == s {
			return true
		}
	}
	return false
}

// source is one of the two secrets that a launcher cannot be without.
type source struct {
	env  string
	at   func(*Settings) *Secret
	from func(*Settings) *string
}

var (
	tokenSource = source{EnvToken, func(s *Settings) *Secret { return &s.Token }, func(s *Settings) *string { return &s.TokenFrom }}
	keySource   = source{EnvKey, func(s *Settings) *Secret { return &s.Key }, func(s *Settings) *string { return &s.KeyFrom }}
)

// take keeps a secret, which must come from one place.
func (o source) take(s *Settings, from string, value []byte) error {
	if before := *o.from(s); before != "" {
		return fmt.Errorf("%s is set too: set one of them", before)
	}
	if len(bytes.TrimSpace(value)) == 0 {
		return errors.New("it gives nothing")
	}
	*o.at(s), *o.from(s) = Secret(value), from
	return nil
}

func readToken(s *Settings, value string, _ Input) error {
	return tokenSource.take(s, EnvToken, []byte(value))
}

func readKey(s *Settings, value string, _ Input) error {
	return keySource.take(s, EnvKey, []byte(value))
}

func fromFile(o source) func(*Settings, string, Input) error {
	return func(s *Settings, value string, in Input) error {
		data, err := secretFile(value, in)
		if err != nil {
			return err
		}
		return o.take(s, o.env+"_FILE", data)
	}
}

func secretFile(path string, in Input) ([]byte, error) {
	data, err := in.ReadFile(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the file %s cannot be read by the launcher's user (uid %d)", path, os.Geteuid())
	case len(data) > secretSize:
		return nil, fmt.Errorf("the file %s is longer than %d bytes", path, secretSize)
	case len(bytes.TrimSpace(data)) == 0:
		return nil, fmt.Errorf("the file %s is empty", path)
	}
	return data, nil
}

func fromCommand(o source) func(*Settings, string, Input) error {
	return func(s *Settings, value string, in Input) error {
		run := in.Command
		if run == nil {
			run = RunCommand
		}
		data, err := run(value)
		if err != nil {
			return err
		}
		return o.take(s, o.env+"_COMMAND", data)
	}
}

// RunCommand runs a command for a secret by sh, with the environment of this process
// less the launcher's own secrets, and returns what it prints.
func RunCommand(command string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), secretTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); !secret(name) {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	// What it said is not shown, on either stream: it may be the secret.
	const hint = "run it by hand as the launcher's user; what it prints is not shown here, since it may be the secret"
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, fault.New(fault.Invalid, "the command took longer than %s", secretTime).WithHint(hint)
	case errors.As(err, &exit):
		return nil, fault.New(fault.Invalid, "the command failed (%s)", exit.ProcessState).WithHint(hint)
	case err != nil:
		return nil, fault.New(fault.Invalid, "the command cannot be run: %v", err)
	case len(out) > secretSize:
		return nil, fault.New(fault.Invalid, "the command printed more than %d bytes", secretSize)
	case len(bytes.TrimSpace(out)) == 0:
		return nil, fault.New(fault.Invalid, "the command printed nothing").WithHint(hint)
	}
	return out, nil
}

func readEarlier(s *Settings, value string, _ Input) error {
	for _, item := range list(value) {
		s.Earlier = append(s.Earlier, EarlierKey{EnvEarlier, Secret(item)})
	}
	return nil
}

func readEarlierFiles(s *Settings, value string, in Input) error {
	for _, path := range list(value) {
		data, err := secretFile(path, in)
		if err != nil {
			return err
		}
		s.Earlier = append(s.Earlier, EarlierKey{EnvEarlier + "_FILES: " + path, Secret(data)})
	}
	return nil
}

// complete refuses settings without what every launcher needs.
func (s *Settings) complete() error {
	for _, o := range []source{tokenSource, keySource} {
		if *o.from(s) == "" {
			help := ""
			for _, row := range Table() {
				if row.Env == o.env {
					help = row.Help
				}
			}
			return fault.New(fault.Invalid, "%s is not set, nor are %s_FILE and %s_COMMAND", o.env, o.env, o.env).Named("setting_missing").WithHint("%s", help)
		}
	}
	return nil
}
