package source

import (
	"net"
	"net/url"
	"path"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// address is where a repository is, judged.
type address struct {
	given  string // as the job or .gitmodules says it
	url    string // as git is given it
	scheme string // of url: https, http, ssh or file
	host   string // of url, in lower case, with its port unless that is the scheme's own
	// home is what a credential must name to be used here: the host, or
	// private://NAME where the launcher's settings say which host that is.
	home string
}

// shown is the address without what may be secret in it, for people.
func (a address) shown() string {
	if u, err := url.Parse(a.given); err == nil && u.Scheme != "" {
		return clean(u)
	}
	return a.given
}

// address judges what a job names. The reason of each refusal is fit for a run's
// log; the address in it has no user part.
func (f *Fetcher) address(given string) (address, error) {
	a := address{given: given}
	if strings.HasPrefix(given, "-") || strings.ContainsAny(given, "\x00\n\r") || given == "" {
		return a, fault.New(fault.Invalid, "the repository's address cannot be used").Named("source_address")
	}
	a.url = given
	a.scheme, a.home = wire.RepositoryHost(given)
	a.host = a.home
	if a.scheme == "ssh" && !strings.Contains(given, "://") {
		return a, nil // git's short form
	}
	u, err := url.Parse(given)
	if err != nil {
		return a, fault.New(fault.Invalid, "the repository's address cannot be read").Named("source_address")
	}
	if a.scheme == wire.PrivateScheme {
		return f.private(a, u)
	}
	if _, has := u.User.Password(); has {
		// It would stand in git's arguments, where every user of the host reads it.
		return a, fault.New(fault.Invalid, "the repository's address %s holds a password", clean(u)).Named("source_address").
			WithHint("keep it in a source credential of the stack")
	}
	switch a.scheme {
	case "https", "ssh":
		// ssh would take a host or a user that begins with a dash for an option.
		if u.Hostname() != "" && !strings.HasPrefix(u.Hostname(), "-") && !strings.HasPrefix(u.User.Username(), "-") {
			return a, nil
		}
	case "http":
		if loopback(u.Hostname()) {
			return a, nil
		}
		return a, fault.New(fault.Forbidden, "source is not fetched by plain http from %s", u.Host).Named("source_address").
			WithHint("use https or ssh")
	case "file":
		if !f.o.AllowFile {
			return a, fault.New(fault.Forbidden, "this launcher does not fetch source by a file:// address").Named("source_file").
				WithHint("its operator allows that with --allow-file-source")
		}
		if u.Host == "" && strings.HasPrefix(u.Path, "/") {
			return a, nil
		}
	}
	return a, fault.New(fault.Invalid, "the repository's address %s is neither https nor ssh", clean(u)).Named("source_address")
}

// private translates private://NAME/path by the launcher's own settings. What the
// operator mapped it to may be plain http: their network is theirs to judge.
func (f *Fetcher) private(a address, u *url.URL) (address, error) {
	base, ok := f.o.PrivateVCS[u.Host]
	if !ok {
		return a, fault.New(fault.NotFound, "this launcher has no address for %s", a.home).Named("source_private").
			WithHint("its operator sets SPACELIFT_PRIVATEVCS_MAPPING_NAME_<n>=%s and SPACELIFT_PRIVATEVCS_MAPPING_BASE_ENDPOINT_<n>", u.Host)
	}
	at, err := url.Parse(base)
	if err != nil || at.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") == "" ||
		path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") {
		return a, fault.New(fault.Invalid, "the repository's address %s cannot be used", clean(u)).Named("source_address")
	}
	a.url = strings.TrimSuffix(base, "/") + u.EscapedPath()
	a.scheme, a.host = wire.RepositoryHost(a.url)
	return a, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// clean renders an address without whatever may be secret in it.
func clean(u *url.URL) string {
	c := *u
	c.User, c.RawQuery, c.Fragment = nil, "", ""
	return c.String()
}

// submodule judges the address of a submodule of the repository at a. One that
// begins with ./ or ../ is relative to a. Beyond https and ssh a submodule may use
// only what the repository itself uses: whoever can write to a repository must not
// reach other repositories or services of the worker's host.
func (f *Fetcher) submodule(a address, raw string) (address, error) {
	given := raw
	if strings.HasPrefix(raw, "./") || strings.HasPrefix(raw, "../") {
		var ok bool
		if given, ok = relative(a.given, raw); !ok {
			return address{}, fault.New(fault.Invalid, "%s leads out of %s", raw, a.shown()).Named("source_address")
		}
	}
	sub, err := f.address(given)
	if err != nil {
		return sub, err
	}
	if sub.scheme != "https" && sub.scheme != "ssh" && (sub.scheme != a.scheme || sub.home != a.home) {
		return sub, fault.New(fault.Forbidden, "a repository at %s cannot have a submodule at %s", a.shown(), sub.shown()).Named("source_address")
	}
	if sub.home != a.home && strings.HasPrefix(sub.home, wire.PrivateScheme+"://") {
		return sub, fault.New(fault.Forbidden, "a repository at %s cannot have a submodule at %s", a.shown(), sub.shown()).Named("source_address")
	}
	return sub, nil
}

// relative resolves ./ and ../ against an address as git does. It never goes
// beyond the host.
func relative(base, rel string) (string, bool) {
	base = strings.TrimRight(base, "/")
	separator := "/"
	for {
		if rest, ok := strings.CutPrefix(rel, "./"); ok {
			rel = rest
			continue
		}
		rest, ok := strings.CutPrefix(rel, "../")
		if !ok {
			break
		}
		rel = rest
		switch slash, colon := strings.LastIndex(base, "/"), strings.LastIndex(base, ":"); {
		case slash > 0 && !strings.HasSuffix(base[:slash], "/"):
			base = base[:slash]
		case slash < 0 && colon > 0 && separator == "/":
			base, separator = base[:colon], ":"
		default:
			return "", false
		}
	}
	if scheme, host, ok := strings.Cut(base, "://"); ok && (host == "" || strings.HasSuffix(scheme, "/")) {
		return "", false
	}
	return base + separator + rel, rel != ""
}
