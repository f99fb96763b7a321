package container

import (
	"fmt"
	"strings"
	"sync"

	"github.com/moby/moby/api/types/jsonstream"
)

// pullProgress sums up what the engine says many times a second about each layer.
type pullProgress struct {
	mu     sync.Mutex
	layers map[string]*layer
	last   string // a state of the whole that is no layer's
}

type layer struct {
	have, size int64 // bytes; size 0: not known yet
	here       bool  // downloaded and unpacked, or never had to be
}

// heard takes one message of the engine in.
func (p *pullProgress) heard(m jsonstream.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = ""
	// The engine's ids are those of layers, but for the first message, which has
	// the tag for an id.
	if m.ID == "" || strings.HasPrefix(m.Status, "Pulling from") {
		return
	}
	if p.layers == nil {
		p.layers = map[string]*layer{}
	}
	l := p.layers[m.ID]
	if l == nil {
		l = &layer{}
		p.layers[m.ID] = l
	}
	switch m.Status {
	case "Already exists":
		l.here = true
	case "Pull complete":
		l.here, l.have = true, l.size
	case "Download complete", "Verifying Checksum":
		l.have = l.size
	case "Downloading":
		if m.Progress != nil && m.Progress.Total > 0 {
			l.have, l.size = m.Progress.Current, m.Progress.Total
		}
	}
}

// status says something about the whole, until the engine is heard again.
func (p *pullProgress) status(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = text
}

// line is where the pull stands, or "" before anything is known.
func (p *pullProgress) line() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != "" || len(p.layers) == 0 {
		return p.last
	}
	here, have, size := p.sum()
	return fmt.Sprintf("%d of %d layers, %s of %s", here, len(p.layers), bytesText(have), bytesText(size))
}

// total tells how much was downloaded, as the end of a sentence.
func (p *pullProgress) total() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, _, size := p.sum(); size > 0 {
		return " (" + bytesText(size) + ")"
	}
	return ""
}

func (p *pullProgress) sum() (here int, have, size int64) {
	for _, l := range p.layers {
		if l.here {
			here++
		}
		have, size = have+l.have, size+l.size
	}
	return here, have, size
}

// bytesText writes a size as registries do, in decimal units.
func bytesText(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f kB", float64(n)/1e3)
}
