package mask

import (
	"io"
	"slices"
)

// piece bounds how much is scanned at once, and so a writer's memory.
const piece = 64 << 10

// Writer masks what is written to it. It is not safe for concurrent use; give
// each stream its own, else their bytes mix in the destination anyway.
//
//	text    … p r e p a s s w o r d !
//	               └── held ──┘          all that could begin a secret
//	node            (depth = len(held))
//
// Each byte moves the automaton. Bytes further back than its depth can belong to
// no secret that is still to end, so they are decided: covered by a span and
// starred, or passed on. Well-known kinds of credentials are looked for beside it
// and may hold back more.
type Writer struct {
	masker *Masker
	dst    io.Writer

	machine *automaton
	node    int32
	shapes  *shapes // nil: not looked for
	buf     []byte  // held bytes, then the piece that is being scanned
	spans   []span  // covered parts of buf: apart from each other, rising
	inSpan  bool    // the byte before buf was covered: its run has its stars
	out     []byte
	err     error
	closed  bool
}

// span is a covered part of buf, from start to before end.
type span struct{ start, end int }

// Writer returns a new Writer to dst.
func (m *Masker) Writer(dst io.Writer) *Writer {
	w := &Writer{masker: m, dst: dst}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.shapes != nil {
		w.shapes = &shapes{words: m.shapes, hints: m.hints}
	}
	return w
}

// Write masks p and passes on what is decided. It returns the first error of the
// destination, also later.
func (w *Writer) Write(p []byte) (int, error) {
	if w.closed {
		return 0, io.ErrClosedPipe
	}
	n := 0
	for len(p) > 0 && w.err == nil {
		part := p[:min(piece, len(p))]
		w.scan(part)
		if w.err == nil {
			n += len(part)
		}
		p = p[len(part):]
	}
	return n, w.err
}

// Flush passes on everything that is decided, which Write has done already, and
// flushes the destination if it can. What could be the beginning of a secret
// stays held: passed on, it could not be taken back when the rest comes. See
// [Writer.Idle] for a stream that is silent.
func (w *Writer) Flush() error {
	if w.err != nil {
		return w.err
	}
	if f, ok := w.dst.(interface{ Flush() error }); ok {
		w.err = f.Flush()
	}
	return w.err
}

// Idle says that the stream has been silent for so long that a reader should not
// wait for what is held. A beginning of a secret that is long enough to be a secret
// of its own comes out as stars, and so it stays, whether the rest comes or not:
// many programs hand over their output in blocks that end anywhere, so the rest may
// well come later. A shorter one (less than MinLength bytes) stays held.
func (w *Writer) Idle() error {
	if w.closed || w.err != nil || len(w.buf) == 0 {
		return w.err
	}
	depth := min(len(w.buf), w.depth())
	hide := len(w.buf) - depth
	if w.shapes != nil && w.shapes.suspect() {
		hide = min(hide, max(0, len(w.buf)-len(w.shapes.word)))
		w.shapes.hide()
		depth = len(w.buf) - hide
	}
	if depth < MinLength {
		w.emit(hide)
		return w.err
	}
	w.emit(hide) // which moves what is hidden to the beginning of buf
	w.spans = union(w.spans, []span{{0, len(w.buf)}})
	if !w.inSpan {
		w.inSpan = true
		_, w.err = io.WriteString(w.dst, Stars)
	}
	return w.err
}

// depth returns how many of the last bytes may begin a secret.
func (w *Writer) depth() int {
	if w.machine == nil {
		return 0
	}
	return int(w.machine.depth[w.node])
}

// Held returns how many bytes are held back.
func (w *Writer) Held() int { return len(w.buf) }

// Close passes on what is held: the stream has ended, so it is no secret. It does
// not close the destination.
func (w *Writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	if w.err == nil {
		if w.shapes != nil {
			w.shapes.end(w.buf, w.shaped)
		}
		w.emit(len(w.buf))
	}
	return w.err
}

func (w *Writer) scan(p []byte) {
	a := w.masker.current()
	from := len(w.buf)
	var old []span
	if a != w.machine {
		// More is known now: what is held is looked at again with it. Spans found
		// before stay: the beginning of one may have been passed on as stars.
		w.machine, w.node, from = a, 0, 0
		old, w.spans = w.spans, nil
	}
	w.buf = append(w.buf, p...)
	buf, node := w.buf, w.node
	for i := from; i < len(buf); i++ {
		if node == 0 {
			i = a.skip(buf, i)
		}
		node = a.step(node, buf[i])
		if n := int(a.match[node]); n > 0 {
			w.cover(span{i + 1 - n, i + 1})
		}
	}
	w.node = node
	if len(old) > 0 {
		w.spans = union(w.spans, old)
	}
	undecided := int(a.depth[node])
	if w.shapes != nil {
		// What was held has been looked at.
		undecided = max(undecided, w.shapes.scan(buf, len(buf)-len(p), w.shaped))
	}
	w.emit(max(0, len(buf)-undecided))
}

// shaped adds a span of which the beginning may have been passed on.
func (w *Writer) shaped(s span) {
	if s.end > 0 {
		w.spans = union(w.spans, []span{{max(0, s.start), s.end}})
	}
}

// cover adds a span that ends after all others, merging those it touches, so that
// secrets that overlap or follow each other are one run of covered bytes.
func (w *Writer) cover(s span) {
	n := len(w.spans)
	for n > 0 && w.spans[n-1].end >= s.start {
		n--
		s.start = min(s.start, w.spans[n].start)
		s.end = max(s.end, w.spans[n].end)
	}
	w.spans = append(w.spans[:n], s)
}

// union merges two lists of spans into one of spans that are apart.
func union(a, b []span) []span {
	all := append(slices.Clone(a), b...)
	slices.SortFunc(all, func(x, y span) int { return x.start - y.start })
	var merged []span
	for _, s := range all {
		if n := len(merged); n > 0 && merged[n-1].end >= s.start {
			merged[n-1].end = max(merged[n-1].end, s.end)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// emit passes on buf's first n bytes.
func (w *Writer) emit(n int) {
	out, at := w.out[:0], 0
	rest := 0
	for ; rest < len(w.spans) && w.spans[rest].start < n; rest++ {
		s := w.spans[rest]
		if s.start > at {
			out = append(out, w.buf[at:s.start]...)
			w.inSpan = false
		}
		if !w.inSpan {
			out = append(out, Stars...)
			w.inSpan = true
		}
		at = min(s.end, n)
		if s.end > n {
			break // goes on in what is held
		}
	}
	if at < n {
		out = append(out, w.buf[at:n]...)
		w.inSpan = false
	}
	w.spans = slices.Delete(w.spans, 0, rest)
	for i := range w.spans {
		w.spans[i].start = max(0, w.spans[i].start-n)
		w.spans[i].end -= n
	}
	w.buf = w.buf[:copy(w.buf, w.buf[n:])]
	if len(out) > 0 {
		_, w.err = w.dst.Write(out)
	}
	w.out = out
}
