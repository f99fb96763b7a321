package setting

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/distribution/reference"
)

// Limits of the tags that a worker registers with.
const (
	metadataKeyMax   = 128  // bytes
	metadataValueMax = 1024 // bytes
)

var (
	metadataKey = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	// engineName is what engines allow as the name of a network or a runtime. So
	// "container:…" is none: a run has no business in another container's network.
	engineName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
)

func checkMetadata(key, value string) error {
	switch {
	case key == "":
		return fmt.Errorf("the tag's name is missing after %s", MetadataPrefix)
	case len(key) > metadataKeyMax || !metadataKey.MatchString(key):
		return fmt.Errorf("%q is not the name of a tag: letters, digits, dots, dashes and underscores, at most %d", key, metadataKeyMax)
	case len(value) > metadataValueMax:
		return fmt.Errorf("the tag's value has %d bytes and may have %d", len(value), metadataValueMax)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("the tag's value is not one line of text")
	}
	return nil
}

func readNetwork(s *Settings, value string, _ Input) error {
	if !engineName.MatchString(value) {
		return fmt.Errorf("%q is not the name of a network", value)
	}
	s.Network = value
	return nil
}

func readRuntime(s *Settings, value string, _ Input) error {
	if !engineName.MatchString(value) && !filepath.IsAbs(value) {
		return fmt.Errorf("%q is not the name of a container runtime", value)
	}
	s.Runtime = value
	return nil
}

func image(field func(*Settings) *string) func(*Settings, string, Input) error {
	return func(s *Settings, value string, _ Input) error {
		if _, err := reference.ParseDockerRef(value); err != nil {
			return fmt.Errorf("%q is not the name of an image", value)
		}
		*field(s) = value
		return nil
	}
}

func readImageRetention(s *Settings, value string, _ Input) error {
	if strings.TrimSpace(value) == "0" {
		s.ImageRetention = 0
		return nil
	}
	d, err := time.ParseDuration(strings.TrimSpace(value))
	if err != nil || d < time.Minute {
		return fmt.Errorf("%s is not a duration of a minute or more such as 336h, nor 0", strconv.Quote(value))
	}
	s.ImageRetention = d
	return nil
}

// withoutEngine names what was set and means nothing to plain processes.
func (s *Settings) withoutEngine() []string {
	if s.Backend != "process" {
		return nil
	}
	var warnings []string
	for _, x := range []struct{ name, value string }{
		{"SPACELIFT_WORKER_NETWORK", s.Network},
		{"SPACELIFT_WORKER_RUNTIME", s.Runtime},
		{"SPACELIFT_DOCKER_CONFIG_DIR", s.DockerConfigDir},
	} {
		if x.value != "" {
			warnings = append(warnings, x.name+" has no effect with the process backend")
		}
	}
	return warnings
}
