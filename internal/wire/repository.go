package wire

import (
	"net/url"
	"regexp"
	"strings"
)

// PrivateScheme begins an address whose host only the launcher's own settings
// know: private://NAME/path.
const PrivateScheme = "private"

// scpLike is git's short form of an ssh address, such as git@host:owner/name.
var scpLike = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*@([A-Za-z0-9][A-Za-z0-9.-]*):[^:\s][^\s]*$`)

var ownPorts = map[string]string{"https": "443", "http": "80", "ssh": "22"}

// RepositoryHost tells how and where a repository's address is reached. The host
// is what a [SourceCredential] must name to be used there: a name in lower case,
// with its port unless that is the scheme's own, or private://NAME. It is empty for
// a file, and scheme is empty if address is none.
func RepositoryHost(address string) (scheme, host string) {
	if part := scpLike.FindStringSubmatch(address); part != nil {
		return "ssh", strings.ToLower(part[1])
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme == "" || (u.Opaque != "" && u.Host == ""):
		return "", ""
	case u.Scheme == PrivateScheme:
		if u.Host == "" {
			return "", ""
		}
		return PrivateScheme, PrivateScheme + "://" + u.Host
	}
	host = strings.ToLower(u.Host)
	if port := u.Port(); port != "" && port == ownPorts[u.Scheme] {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return u.Scheme, host
}
