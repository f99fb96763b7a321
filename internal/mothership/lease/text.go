package lease

import (
	"strings"
	"unicode/utf8"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Bounds of texts that launchers send, in bytes. They stand in histories, lists
// and events, which must not grow by what a broken launcher says.
const (
	maxReason  = 4 << 10
	maxMessage = 16 << 10 // of a commit
	maxName    = 256      // of an author
)

// clip shortens text to at most n bytes, between characters, and marks that.
func clip(text string, n int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= n {
		return text
	}
	const mark = "…"
	cut := n - len(mark)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + mark
}

func clipCommit(c wire.Commit) wire.Commit {
	c.Author, c.Message = clip(c.Author, maxName), clip(c.Message, maxMessage)
	return c
}
