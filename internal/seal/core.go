package seal

import (
	"strings"
)

const coreTitle = "spaceport-core-v1"

// Core is the resolved job over all its phases and classes, as lines. Its digest
// goes into a parked workspace's statement; on apply a job with another core is
// refused. Which lines there are, and in what order, is the launcher's to say.
type Core struct {
	Lines []string
}

// Add appends one line: a name and its values. Every part is escaped, so that
// two different lists of parts never make the same line.
func (c *Core) Add(name string, values ...string) {
	var b strings.Builder
	b.WriteString(escapeCore(name))
	for _, v := range values {
		b.WriteByte(' ')
		b.WriteString(escapeCore(v))
	}
	c.Lines = append(c.Lines, b.String())
}

// coreEscapes keeps a part free of what separates parts and lines. An empty part
// is written as \e, else it would be lost between two spaces.
var coreEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, " ", `\s`)

func escapeCore(part string) string {
	if part == "" {
		return `\e`
	}
	return coreEscapes.Replace(part)
}

// Marshal returns the core's exact bytes.
func (c Core) Marshal() []byte {
	var b strings.Builder
	b.WriteString(coreTitle)
	b.WriteByte('\n')
	for _, l := range c.Lines {
		b.WriteString(l)
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// Digest returns the digest of the core's exact bytes.
func (c Core) Digest() string { return Digest(c.Marshal()) }
