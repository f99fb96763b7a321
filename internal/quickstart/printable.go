package quickstart

import (
	"strings"
	"unicode/utf8"
)

// printable keeps a run's log from moving the cursor or setting the title of the
// terminal it is shown on: what is in it was written by code we do not trust.
// Colours stay.
func printable(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		if n := colour(text[i:]); n > 0 {
			b.WriteString(text[i : i+n])
			i += n
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == '\t' || (r >= ' ' && r != 0x7f && (r < 0x80 || r > 0x9f)) {
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// colour returns the length of the colour sequence that text begins with
// (ESC [ digits and semicolons m), or 0.
func colour(text string) int {
	if !strings.HasPrefix(text, "\x1b[") {
		return 0
	}
	rest := text[2:]
	n := len(rest) - len(strings.TrimLeft(rest, "0123456789;"))
	if n < len(rest) && rest[n] == 'm' {
		return 2 + n + 1
	}
	return 0
}
