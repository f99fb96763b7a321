package worker

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/mask"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// output is the way of every text to the log:
//
//	tool ─► commands ─► mask ─► log
//	worker's own ──────► mask ─► log
type output struct {
	log    *rundir.LogWriter
	events *rundir.EventWriter
	masker *mask.Masker
}

// say writes a line of the worker's own. It is for between phases and for the
// shell's absence; inside a phase the shell's output may be in the middle of a line.
func (o *output) say(line string) {
	_, _ = io.WriteString(o.log, "[worker] "+o.masker.String(line)+"\n")
}

// stream returns a new way for one phase's output. Close it, so that what the
// masking holds back comes out.
func (o *output) stream() *commands {
	return &commands{dst: o.masker.Writer(o.log), learn: o.learn}
}

// learn adds masks from now on and tells the launcher. It returns how many words
// are too short to be masked.
func (o *output) learn(words []string) (short int) {
	short = o.masker.Add(words...)
	for _, w := range words {
		if mask.Maskable(w) {
			_ = o.events.Write(wire.Event{Type: wire.EventMask, Value: w, LogBytes: o.log.Written()})
		}
	}
	return short
}

// addMask begins a line that names secrets: "::add-mask one two".
const addMask = "::add-mask "

// maxCommand bounds a line that is held back because it may be a command, in bytes.
const maxCommand = 64 << 10

// commands finds lines that speak to the worker. The line itself stays in the log,
// where the masking, which knows the words by then, stars them.
//
// A line is held back only while it may still be a command, so that a prompt or a
// progress bar without a newline is seen at once.
type commands struct {
	dst   io.WriteCloser
	learn func(words []string) (short int)
	held  []byte // a line's beginning that may be a command
	mid   bool   // we are inside a line that is none
}

func (c *commands) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if c.mid {
			end := bytes.IndexByte(p, '\n')
			// Everything up to the last newline that is not followed by what may be
			// a command goes on in one piece.
			if end >= 0 {
				end = c.plain(p, end)
				c.mid = p[end-1] != '\n'
			} else {
				end = len(p)
			}
			if _, err := c.dst.Write(p[:end]); err != nil {
				return 0, err
			}
			p = p[end:]
			continue
		}
		end := bytes.IndexByte(p, '\n') + 1
		if end == 0 {
			end = len(p)
		}
		c.held = append(c.held, p[:end]...)
		p = p[end:]
		if err := c.decide(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// plain returns how far p can go on without a look: at[end] is a newline, and lines
// behind it that do not begin like a command are taken along.
func (c *commands) plain(p []byte, end int) int {
	end++
	for end < len(p) && p[end] != addMask[0] {
		next := bytes.IndexByte(p[end:], '\n')
		if next < 0 {
			return len(p)
		}
		end += next + 1
	}
	return end
}

// decide passes on the held line once it is clear what it is.
func (c *commands) decide() error {
	line := string(c.held)
	whole := strings.HasSuffix(line, "\n")
	short := 0
	switch {
	case strings.HasPrefix(line, addMask):
		if !whole && len(line) < maxCommand {
			return nil
		}
		short = c.learn(strings.Fields(line[len(addMask):]))
	case !whole && strings.HasPrefix(addMask, line):
		return nil
	}
	c.mid = !whole
	_, err := c.dst.Write(c.held)
	c.held = c.held[:0]
	if err == nil && short > 0 && whole {
		// We are at a line's beginning: nothing of the tool's is torn apart.
		_, err = fmt.Fprintf(c.dst, "[worker] %d of these words cannot be masked: a mask has at least %d bytes\n", short, mask.MinLength)
	}
	return err
}

// Idle says that the tool has printed nothing for a while. A command that is not
// whole stays held: its words are not known yet.
func (c *commands) Idle() error {
	if d, ok := c.dst.(interface{ Idle() error }); ok {
		return d.Idle()
	}
	return nil
}

// Close passes on what is held.
func (c *commands) Close() error {
	if len(c.held) > 0 {
		if line := string(c.held); strings.HasPrefix(line, addMask) {
			c.learn(strings.Fields(line[len(addMask):]))
		}
		if _, err := c.dst.Write(c.held); err != nil {
			return err
		}
		c.held = nil
	}
	return c.dst.Close()
}
