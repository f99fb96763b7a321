package mask

import (
	"encoding/json"
	"regexp"
	"strings"
)

// minValue is the length in bytes from which a value within a secret is a secret
// of its own. It is more than MinLength, since beside a password such a file tells
// that the port is 5432.
const minValue = 8

// assignment is a line of a credentials file, of YAML, HCL or the like.
var assignment = regexp.MustCompile(`^[\w."'-]+(?:\s*=\s*|\s*:\s+)(.+)$`)

// values are what stands in a secret that has structure: the strings of a JSON
// document, what the lines of a file assign. Tools that read such a file print it
// again in their own layout, or print one value of it alone.
func values(whole string, lines []string) (all []string) {
	add := func(v string) {
		if len(v) >= minValue && v != whole {
			all = append(all, v)
		}
	}
	if strings.HasPrefix(whole, "{") || strings.HasPrefix(whole, "[") {
		var document any
		if json.Unmarshal([]byte(whole), &document) == nil {
			leaves(document, add)
			return all
		}
	}
	if len(lines) == 1 {
		return nil
	}
	for _, l := range lines {
		if m := assignment.FindStringSubmatch(strings.TrimSpace(l)); m != nil {
			add(strings.Trim(strings.TrimSuffix(m[1], ","), `"'`))
		}
	}
	return all
}

// leaves calls add with the strings of a JSON document.
func leaves(document any, add func(string)) {
	switch d := document.(type) {
	case string:
		add(d)
	case []any:
		for _, v := range d {
			leaves(v, add)
		}
	case map[string]any:
		for _, v := range d {
			leaves(v, add)
		}
	}
}
