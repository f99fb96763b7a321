package quickstart

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// States of a step, beside the run's own states, which the steps "phase" and
// "log" carry. They are part of what scripts read.
const (
	Started = "started"
	Finish  = "done"
	Note    = "note"
	Waiting = "waiting"
	Failed  = "failed"
	Skipped = "skipped" // nothing had to be done
)

// Steps whose events are not the progress of a step of ours.
const (
	StepPhase = "phase" // the run entered State
	StepLog   = "log"   // one line of the run's log in State
)

// Event is one thing that happened. As JSON it is one line of --json; fields are
// added, never renamed.
type Event struct {
	Step    string `json:"step"`
	State   string `json:"state"`
	Run     string `json:"run,omitempty"`
	Worker  string `json:"worker,omitempty"`
	Message string `json:"message"`
	// ElapsedMs counts from the start of the quickstart, in milliseconds.
	ElapsedMs int64 `json:"elapsed_ms"`
	// Took is how long the step took; set when State is Finish.
	Took time.Duration `json:"-"`
	// ForPeople stands for Message where a person reads; it may hold a secret.
	ForPeople string `json:"-"`
	// Data has what belongs to the step: addresses, file names, outputs.
	Data map[string]any `json:"data,omitempty"`
}

// Reporter is told what happens. It is called from one goroutine at a time.
type Reporter interface{ Report(Event) }

// JSONReporter writes an event a line.
type JSONReporter struct{ W io.Writer }

// Report writes e as a line. A reader that has gone away does not end the
// quickstart: it has processes to stop first.
func (r JSONReporter) Report(e Event) {
	enc := json.NewEncoder(r.W)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(e)
}

// TextReporter writes short lines for people.
type TextReporter struct {
	w        io.Writer
	terminal bool

	mu      sync.Mutex
	pending bool // a line that is to be written over stands on the terminal
	asked   bool // a question stands at the end of the output
}

// NewTextReporter returns a reporter that writes to w. On a terminal a step
// shows while it goes on, and its line is then written over.
func NewTextReporter(w io.Writer, terminal bool) *TextReporter {
	return &TextReporter{w: w, terminal: terminal}
}

// Report writes e.
func (r *TextReporter) Report(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case e.Step == StepLog:
		r.line("  │ " + printable(e.Message))
	case e.Step == StepPhase:
		r.line(fmt.Sprintf("▸ %-15s %s", e.State, e.Message) + elapsed(time.Duration(e.ElapsedMs)*time.Millisecond))
	case e.State == Started:
		if r.terminal {
			r.clear()
			_, _ = fmt.Fprintf(r.w, "· %-12s %s …", e.Step, e.Message)
			r.pending = true
		}
	case e.State == Finish:
		// Further lines stand below the first one's text.
		message := strings.ReplaceAll(e.Message, "\n", fmt.Sprintf("\n%15s", ""))
		r.line(fmt.Sprintf("✓ %-12s %s", e.Step, message) + elapsed(e.Took))
	case e.State == Skipped:
		r.clear()
	case e.State == Waiting:
		r.clear()
		_, _ = fmt.Fprintf(r.w, "? %s ", e.Message)
		r.asked = true
	case e.State == Failed:
		r.line("✗ " + e.Step + " failed")
	default:
		if e.ForPeople != "" {
			e.Message = e.ForPeople
		}
		for i, text := range strings.Split(e.Message, "\n") {
			mark := "  "
			if i == 0 {
				mark = "! "
			}
			r.line(mark + text)
		}
	}
}

func (r *TextReporter) clear() {
	if r.asked && !r.terminal {
		// On a terminal the person's own Enter has ended the line.
		_, _ = io.WriteString(r.w, "\n")
	}
	r.asked = false
	if r.pending {
		_, _ = io.WriteString(r.w, "\r\x1b[K")
		r.pending = false
	}
}

func (r *TextReporter) line(text string) {
	r.clear()
	_, _ = io.WriteString(r.w, text+"\n")
}

func elapsed(d time.Duration) string { return fmt.Sprintf("  (%.1fs)", d.Seconds()) }
