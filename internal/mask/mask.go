package mask

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

const (
	// Stars is what stands for a secret.
	Stars = "*****"
	// MinLength is the length in bytes, without surrounding white space, from
	// which a secret is masked.
	MinLength = 4
)

// Maskable reports whether a secret is long enough to be masked, so that a user
// can be told when they save it.
func Maskable(secret string) bool {
	trimmed := strings.TrimSpace(secret)
	// Stars cannot hide among stars.
	return len(trimmed) >= MinLength && strings.Trim(trimmed, "*") != ""
}

// Options are what is hidden from the start.
type Options struct {
	Secrets []string
	// WellKnown also hides what looks like a credential of a well-known kind,
	// though nobody named it. See shapes.go for the list.
	WellKnown bool
}

// Masker knows the secrets. Safe for concurrent use.
type Masker struct {
	mu      sync.RWMutex
	known   map[string]bool
	secrets []string // maskable ones, in the order in which they came
	skipped int
	shapes  []shape // looked for beside the secrets; nil without Options.WellKnown
	hints   *automaton
	// machine is built from secrets when it is next needed, so that adding a
	// hundred secrets one by one costs one construction. Nil means: build it.
	machine *automaton
}

// New makes a Masker.
func New(opts Options) *Masker {
	m := &Masker{known: map[string]bool{}}
	if opts.WellKnown {
		m.HideWellKnown()
	}
	m.Add(opts.Secrets...)
	return m
}

// Add makes more secrets known, to all writers from their next Write on. It
// returns how many were too short to be masked.
func (m *Masker) Add(secrets ...string) (skipped int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range secrets {
		if m.known[s] || strings.TrimSpace(s) == "" {
			continue
		}
		m.known[s] = true
		if !Maskable(s) {
			skipped++
			continue
		}
		m.secrets = append(m.secrets, s)
		m.machine = nil
	}
	m.skipped += skipped
	return skipped
}

// HideWellKnown also hides well-known kinds of credentials from now on, in writers
// that are made after it.
func (m *Masker) HideWellKnown() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shapes == nil {
		m.shapes = words()
		m.hints = hintAutomaton(m.shapes)
	}
}

// Skipped returns how many different secrets were too short to be masked.
func (m *Masker) Skipped() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.skipped
}

// Secrets returns the secrets that are masked, so that another process can go
// on masking them. Keep the list as secret as they are.
func (m *Masker) Secrets() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Clone(m.secrets)
}

// String masks a short text: an error, a reason, a name.
func (m *Masker) String(text string) string {
	var b strings.Builder
	w := m.Writer(&b)
	_, _ = io.WriteString(w, text) // a Builder never fails
	_ = w.Close()
	return b.String()
}

// current returns the automaton over all secrets known now.
func (m *Masker) current() *automaton {
	m.mu.RLock()
	a := m.machine
	m.mu.RUnlock()
	if a != nil {
		return a
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.machine == nil {
		m.machine = build(m.secrets)
	}
	return m.machine
}

// Format writes stars for every verb: a Masker is full of secrets.
func (*Masker) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Stars) }

// LogValue returns stars.
func (*Masker) LogValue() slog.Value { return slog.StringValue(Stars) }
