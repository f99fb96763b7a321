package setting

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// prefix is that of environment names which are ours alone: one that no row
// knows is a mistake.
const prefix = "SPACEPORT_"

// Warnings are for the log at the start: names that are set and read by nothing,
// and names of ours that do not exist, with the nearest that does.
func Warnings(environ []string) []string {
	known := []string{}
	for _, row := range Table() {
		known = append(known, row.Env)
	}
	unused := Unused()
	var warnings []string
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		switch why, taken := unused[name]; {
		case taken && value != "":
			warnings = append(warnings, fmt.Sprintf("%s is set and has no effect: %s", name, why))
		case strings.HasPrefix(name, prefix) && !slices.Contains(known, name):
			warning := fmt.Sprintf("%s is not a setting of the server", name)
			if near := nearest(name, known); near != "" {
				warning += "; did you mean " + near + "?"
			}
			warnings = append(warnings, warning)
		}
	}
	slices.Sort(warnings)
	return warnings
}

// Docs is docs/server-settings.md.
func Docs() string {
	var b strings.Builder
	b.WriteString("# Settings of the server\n\n" +
		"This page is made from the table in `internal/mothership/setting`; a test keeps it so.\n" +
		"A flag of `spaceport server` stands before its environment name. A value that cannot be used, or an unknown\n" +
		"flag, stops the start and says which; an unknown name that begins with `SPACEPORT_` is warned about.\n\n" +
		"| flag | environment | default | what |\n|---|---|---|---|\n")
	for _, row := range Table() {
		if row.Hidden {
			continue
		}
		value := ""
		if row.Default != "" {
			value = "`" + row.Default + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s |\n", row.Flag, row.Env, value, row.Help)
	}
	b.WriteString("\n## Taken and not used\n\n" +
		"These names are known from other installations. They may be set; the server says at its start that they have no effect.\n\n" +
		"| environment | why it does no harm |\n|---|---|\n")
	unused := Unused()
	for _, name := range slices.Sorted(maps.Keys(unused)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, unused[name])
	}
	return b.String()
}

// nearest returns the candidate that shares the most with name, or "" if none is
// close enough to be meant.
func nearest(name string, candidates []string) string {
	best, least := "", 1+len(name)/3
	for _, c := range candidates {
		if d := edits(name, c); d < least {
			best, least = c, d
		}
	}
	return best
}

// edits counts the insertions, deletions and replacements between a and b.
func edits(a, b string) int {
	previous := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := range len(a) {
		current := make([]int, len(b)+1)
		current[0] = i + 1
		for j := range len(b) {
			replace := previous[j]
			if a[i] != b[j] {
				replace++
			}
			current[j+1] = min(replace, previous[j+1]+1, current[j]+1)
		}
		previous = current
	}
	return previous[len(b)]
}
