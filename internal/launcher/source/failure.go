package source

import (
	"errors"
	"regexp"
	"strings"
	"unicode"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// failure is a git command that failed, and all it said.
type failure struct {
	verb string
	said string
	err  error
}

func (f *failure) Error() string { return "git " + f.verb + " failed: " + lastLine(f.said) }

func (f *failure) Unwrap() error { return f.err }

func (f *failure) has(texts ...string) bool {
	for _, text := range texts {
		if strings.Contains(f.said, text) {
			return true
		}
	}
	return false
}

// redirected reports whether a server answered that the repository is elsewhere.
func (f *failure) redirected() bool { return redirect.MatchString(f.said) }

// missing is how hosts say that a repository is not there, or not for the caller.
var missing = regexp.MustCompile(`repository '[^\n]*' not found|does not appear to be a git repository|returned error: 4(04|10)\b|[Rr]epository not found|could not be found`)

var redirect = regexp.MustCompile(`returned error: 30[12378]\b`)

// explain makes one sentence of what git and ssh said, whose texts are those of
// LC_ALL=C.
func (c *cache) explain(err error) error {
	f := (*failure)(nil)
	if fault.As(err) != nil || !errors.As(err, &f) {
		return err // it says what is wrong already
	}
	host, at := c.at.host, c.at.shown()
	say := func(kind fault.Code, name, hint, message string, args ...any) error {
		return fault.Wrap(f, kind, message, args...).Named(name).WithHint("%s", hint)
	}
	const credentials = "give the stack a VCS integration that may read it"
	switch {
	case f.has("ssh: not found", "cannot run ssh"):
		return say(fault.Unsupported, "source_git", "install an OpenSSH client there", "this launcher's host has no ssh")
	case f.has("REMOTE HOST IDENTIFICATION HAS CHANGED"):
		return say(fault.Forbidden, "source_host_key", "if its operator confirms the new key, replace the old one in the VCS integration",
			"the SSH host key of %s is another than the known one, so nothing was sent to it", host)
	case f.has("Host key verification failed", "host key is known for"):
		return say(fault.Forbidden, "source_host_key", "add the host's line of ssh-keyscan, checked with its operator, to the VCS integration",
			"the SSH host key of %s is not known", host)
	case f.has("Permission denied (") && c.credential.none():
		return say(fault.Forbidden, "source_credential", credentials, "%s wants an SSH key, and there is none for it", host)
	case f.has("Permission denied ("):
		return say(fault.Forbidden, "source_credential", "check that the key's public part may read the repository", "%s refused the SSH key", host)
	case f.has("could not read Username", "could not read Password") && c.credential.none():
		return say(fault.Forbidden, "source_credential", credentials, "the repository %s is private or not there, and there is no credential for it", at)
	case f.has("Authentication failed for", "could not read Username", "could not read Password", "returned error: 401"):
		return say(fault.Forbidden, "source_credential", "check the user name and the token of the VCS integration", "%s refused the user name or token", host)
	case f.has("returned error: 403"):
		return say(fault.Forbidden, "source_credential", "check what the credential may read", "%s forbids reading %s", host, at)
	case missing.MatchString(f.said):
		return say(fault.NotFound, "source_repository", "check its address, and that the credential may read it", "there is no repository %s, or it may not be read", at)
	case f.has("Could not resolve proxy", "from proxy", "CONNECT tunnel failed", "proxy CONNECT aborted"):
		return say(fault.Unavailable, "source_proxy", "check HTTPS_PROXY and NO_PROXY of the launcher", "%s cannot be reached through the proxy: %s", host, lastLine(f.said))
	case f.has("Could not resolve host", "Could not resolve hostname", "Temporary failure in name resolution"):
		return say(fault.Unavailable, "source_unreachable", "check the name, and the name service of the worker's host", "the name of %s cannot be resolved", host)
	case f.has("Operation too slow", "Timeout, server", "timed out"):
		return say(fault.Unavailable, "source_timeout", "check the way from the worker to it", "%s did not answer in time", host)
	case f.has("Connection refused", "Failed to connect", "No route to host", "Network is unreachable", "Could not connect"):
		return say(fault.Unavailable, "source_unreachable", "check the address, and that the worker's host may connect to it", "%s cannot be reached", host)
	case f.has("certificate", "SSL routines", "TLS handshake"):
		return say(fault.Forbidden, "source_certificate", "give the launcher its certificate authority in ADDITIONAL_ROOT_CAS", "the certificate of %s is not trusted", host)
	case f.has("returned error: 5"):
		return say(fault.Unavailable, "source_unreachable", "try again later", "%s has a fault of its own: %s", host, lastLine(f.said))
	case f.has("early EOF", "unexpected disconnect", "remote end hung up", "RPC failed", "Connection reset"):
		return say(fault.Unavailable, "source_unreachable", "try again", "the connection to %s broke off", host)
	}
	return fault.Wrap(f, fault.Invalid, "%s", f.Error()).Named("source_git")
}

// lastLine returns what git said, as one line. A server may have had a part in it.
func lastLine(said string) string {
	lines := strings.Split(said, "\n")
	line := lines[len(lines)-1]
	for _, prefix := range []string{"fatal: ", "error: "} {
		found := false
		for _, l := range lines {
			if rest, ok := strings.CutPrefix(l, prefix); ok {
				line, found = rest, true
				break
			}
		}
		if found {
			break
		}
	}
	line = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, line)
	switch {
	case line == "":
		return "it said nothing"
	case len(line) > 300:
		return strings.ToValidUTF8(line[:300], "") + "…"
	}
	return line
}
