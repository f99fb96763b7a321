package setting

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Names of the map of private version control systems; a number follows, from 0.
const (
	mappingPrefix   = "SPACELIFT_PRIVATEVCS_MAPPING_"
	mappingName     = mappingPrefix + "NAME_"
	mappingEndpoint = mappingPrefix + "BASE_ENDPOINT_"
)

// poolName is what can stand as a host in private://NAME/path.
var poolName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// mappingNumber is the number of a name of the map, and whether it is one.
func mappingNumber(env string) (n int, is bool, err error) {
	for _, prefix := range []string{mappingName, mappingEndpoint} {
		text, ok := strings.CutPrefix(env, prefix)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || strconv.Itoa(n) != text || n > 1000 {
			return 0, true, fault.New(fault.Invalid, "%s does not end in a number from 0 to 1000", env).Named("setting")
		}
		return n, true, nil
	}
	return 0, false, nil
}

// readPrivateVCS reads which address is behind private://NAME. Numbers go from 0
// without gaps: a gap means that somebody has lost an entry.
func readPrivateVCS(environ map[string]string) (endpoints map[string]string, warnings []string, err error) {
	count, highest := 0, ""
	for env, value := range environ {
		n, is, err := mappingNumber(env)
		if err != nil {
			return nil, nil, err
		}
		if is && value != "" && n >= count {
			count, highest = n+1, env
		}
	}
	endpoints = map[string]string{}
	for n := range count {
		nameEnv, endpointEnv := mappingName+strconv.Itoa(n), mappingEndpoint+strconv.Itoa(n)
		name, endpoint := environ[nameEnv], environ[endpointEnv]
		for _, part := range []struct{ env, value string }{{nameEnv, name}, {endpointEnv, endpoint}} {
			if part.value == "" {
				return nil, nil, fault.New(fault.Invalid, "%s is not set, but %s is", part.env, highest).Named("setting_missing").
					WithHint("each number from 0 on, without gaps, needs a name and a base endpoint")
			}
		}
		if !poolName.MatchString(name) {
			return nil, nil, named(nameEnv, fmt.Errorf("%q is not a name of letters, digits, dots, dashes and underscores", name))
		}
		if _, twice := endpoints[name]; twice {
			return nil, nil, named(nameEnv, fmt.Errorf("%q is mapped twice", name))
		}
		plain, err := checkEndpoint(endpoint)
		if err != nil {
			return nil, nil, named(endpointEnv, err)
		}
		if plain {
			warnings = append(warnings, fmt.Sprintf("%s is plain http: whoever is on the way to it reads source and credentials", endpointEnv))
		}
		endpoints[name] = endpoint
	}
	return endpoints, warnings, nil
}

// checkEndpoint judges a base endpoint, and tells whether it is plain http to
// another host. The value is not repeated: it may hold a password.
func checkEndpoint(endpoint string) (plain bool, err error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "ssh") ||
		strings.HasPrefix(u.Hostname(), "-") || strings.HasPrefix(u.User.Username(), "-") {
		return false, fmt.Errorf("it is not an address such as https://git.example.com")
	}
	_, password := u.User.Password()
	if password || (u.User != nil && u.Scheme != "ssh") || u.RawQuery != "" || u.Fragment != "" {
		return false, fmt.Errorf("it is more than an address: credentials belong into a VCS integration")
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()), nil
}
