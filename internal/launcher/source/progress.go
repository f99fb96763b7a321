package source

import (
	"bytes"
	"regexp"
	"strings"
	"time"
)

// progressEvery is how often a long fetch tells how far it is.
const progressEvery = 5 * time.Second

// progressLine is what git says of its own work. What a server says of its work is
// not passed on.
var progressLine = regexp.MustCompile(`^(Receiving objects|Resolving deltas): +\d+% \(\d+/\d+\)[^\x00-\x1f\x7f]*$`)

// output takes git's standard error apart: progress, which is told now and then,
// and the rest, of which the last lines are kept.
type output struct {
	say   func(string)
	every time.Duration
	now   func() time.Time

	told  time.Time
	line  []byte
	lines []string
}

const (
	maxLine  = 4 << 10 // bytes of a line that are kept
	maxLines = 100
)

func (o *output) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		end := bytes.IndexAny(p, "\r\n")
		piece := p
		if end >= 0 {
			piece = p[:end]
		}
		if room := maxLine - len(o.line); room > 0 {
			o.line = append(o.line, piece[:min(room, len(piece))]...)
		}
		if end < 0 {
			break
		}
		o.take(string(o.line))
		o.line, p = o.line[:0], p[end+1:]
	}
	return n, nil
}

func (o *output) take(line string) {
	line = strings.TrimSpace(line)
	if line == "" {
		return
	}
	if !progressLine.MatchString(line) {
		if o.lines = append(o.lines, line); len(o.lines) > maxLines {
			o.lines = o.lines[1:]
		}
		return
	}
	if o.say == nil {
		return
	}
	switch now := o.now(); {
	case o.told.IsZero():
		o.told = now // a quick fetch tells nothing
		if o.every > 0 {
			return
		}
		fallthrough
	case now.Sub(o.told) >= o.every:
		o.told = now
		o.say(line)
	}
}

// text is what git said, without progress.
func (o *output) text() string {
	if len(o.line) > 0 {
		o.take(string(o.line))
		o.line = nil
	}
	return strings.Join(o.lines, "\n")
}
