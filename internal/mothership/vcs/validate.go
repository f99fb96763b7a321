package vcs

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Limits of what a person may give, in bytes.
const (
	maxText       = 255
	maxToken      = 8 << 10
	maxKey        = 32 << 10
	maxKnownHosts = 64 << 10
	maxLong       = 16 << 10
	maxLabels     = 100
)

// defaultUser is for the hosts that look at a token alone.
const defaultUser = "git"

var nameForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func invalid(code, message string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, message, args...).Named("vcs_" + code)
}

// host returns the host that an integration is for, in the one form that
// credentials name. kind is the scheme that its secret is used by.
func host(given string, ssh bool) (string, error) {
	const hint = "such as git.example.com, git.example.com:8443 or private://name"
	given = strings.TrimSuffix(strings.TrimSpace(given), "/")
	address := given
	if !strings.Contains(given, "://") {
		if address = "https://" + given; ssh {
			address = "ssh://" + given
		}
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || len(given) > maxText ||
		strings.HasPrefix(u.Hostname(), "-") {
		return "", invalid("host", "the integration needs the host that it is for").WithHint("%s", hint)
	}
	scheme, found := wire.RepositoryHost(address)
	switch {
	case scheme == wire.PrivateScheme, scheme == "https" && !ssh, scheme == "ssh" && ssh:
		return found, nil
	case scheme == "http" && !ssh:
		return found, nil // launchers speak plain http to their own host alone
	}
	return "", invalid("host", "the host %q cannot be used with this kind of secret", given).
		WithHint("a token is for https, an SSH key for ssh: give the host alone, %s", hint)
}

// clean checks a secret, of which one kind must be given, and returns the public
// part of an SSH key. Nothing of the secret is ever part of an error.
func (s *Secret) clean() (public string, err error) {
	switch {
	case s.Token != "" && s.SSHKey != "":
		return "", invalid("secret", "an integration has a token or an SSH key, not both").WithHint("make one of each")
	case s.Token == "" && s.SSHKey == "":
		return "", invalid("secret", "the integration has neither a token nor an SSH key")
	case s.SSHKey != "" && s.Username != "":
		return "", invalid("username", "an SSH key goes without a user name").WithHint("the user stands in the address, as in ssh://git@git.example.com/team/infra.git")
	}
	if s.KnownHosts != nil {
		if err := checkKnownHosts(*s.KnownHosts); err != nil {
			return "", err
		}
	}
	if s.Token != "" {
		if s.Username == "" {
			s.Username = defaultUser
		}
		if !line(s.Username, maxText) || strings.Contains(s.Username, ":") {
			return "", invalid("username", "the user name has 1 to %d bytes, no colon and no control character", maxText)
		}
		if s.Token = strings.TrimSpace(s.Token); s.Token == "" || !line(s.Token, maxToken) {
			return "", invalid("token", "the token has 1 to %d bytes, none of them a control character", maxToken)
		}
		return "", nil
	}
	return cleanKey(&s.SSHKey)
}

func cleanKey(pem *string) (public string, err error) {
	const hint = "give the private key that ssh-keygen -t ed25519 -N '' makes"
	if len(*pem) > maxKey {
		return "", invalid("ssh_key", "the SSH key has more than %d bytes", maxKey).WithHint("%s", hint)
	}
	// Without an end of line after the last one some readers refuse a key.
	*pem = strings.TrimSpace(strings.ReplaceAll(*pem, "\r\n", "\n")) + "\n"
	signer, err := ssh.ParsePrivateKey([]byte(*pem))
	if locked := (*ssh.PassphraseMissingError)(nil); errors.As(err, &locked) {
		return "", invalid("ssh_key", "the SSH key is locked by a passphrase, which nobody could type").WithHint("%s", hint)
	}
	if err != nil {
		return "", invalid("ssh_key", "the SSH key is no private key in PEM form").WithHint("%s", hint)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))), nil
}

// checkKnownHosts refuses a line that ssh would skip silently.
func checkKnownHosts(text string) error {
	const hint = "give lines as ssh-keyscan prints them, after checking them with the host's operator"
	if len(text) > maxKnownHosts {
		return invalid("known_hosts", "the known hosts have more than %d bytes", maxKnownHosts).WithHint("%s", hint)
	}
	// Line by line: the parser itself passes over what has no key.
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if _, _, _, _, _, err := ssh.ParseKnownHosts([]byte(line)); err != nil {
			return invalid("known_hosts", "the known hosts have a line that is no host key").WithHint("%s", hint)
		}
	}
	return nil
}

func line(text string, most int) bool {
	return text != "" && len(text) <= most && !strings.ContainsFunc(text, unicode.IsControl)
}

func checkLabels(labels []string) error {
	if len(labels) > maxLabels {
		return invalid("labels", "an integration has at most %d labels", maxLabels)
	}
	for _, l := range labels {
		if !line(l, maxText) {
			return invalid("labels", "a label has 1 to %d bytes, none of them a control character", maxText)
		}
	}
	return nil
}

func checkDescription(text string) error {
	if len(text) > maxLong {
		return invalid("description", "the description has at most %d bytes", maxLong)
	}
	return nil
}
