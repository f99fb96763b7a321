package source

import (
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// scpLike is git's short form of an ssh address, such as git@host:owner/name.
var scpLike = regexp.MustCompile(`^[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[^:\s][^\s]*$`)

// checkAddress refuses what may not be fetched from. The reason of each refusal
// is fit for a run's log; the address in it has no user part.
func checkAddress(raw string, allowFile bool) error {
	if strings.HasPrefix(raw, "-") || strings.ContainsAny(raw, "\x00\n\r") || raw == "" {
		return fault.New(fault.Invalid, "the repository's address cannot be used").Named("source_address")
	}
	if scpLike.MatchString(raw) {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return fault.New(fault.Invalid, "the repository's address cannot be read").Named("source_address")
	}
	switch u.Scheme {
	case "https", "ssh":
		// ssh would take a host that begins with a dash for an option.
		if u.Hostname() != "" && !strings.HasPrefix(u.Hostname(), "-") && !strings.HasPrefix(u.User.Username(), "-") {
			return nil
		}
	case "http":
		ip := net.ParseIP(u.Hostname())
		if u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback()) {
			return nil
		}
		return fault.New(fault.Forbidden, "source is not fetched by plain http from %s", u.Host).Named("source_address").
			WithHint("use https or ssh")
	case "file":
		if !allowFile {
			return fault.New(fault.Forbidden, "this launcher does not fetch source by a file:// address").Named("source_file").
				WithHint("its operator allows that with --allow-file-source")
		}
		if u.Host == "" && strings.HasPrefix(u.Path, "/") {
			return nil
		}
	}
	return fault.New(fault.Invalid, "the repository's address %s is neither https nor ssh", clean(u)).Named("source_address")
}

// clean renders an address without whatever may be secret in it.
func clean(u *url.URL) string {
	c := *u
	c.User, c.RawQuery, c.Fragment = nil, "", ""
	return c.String()
}
