package mask

import (
	"bytes"
	"regexp"
)

// A shape is a kind of credential that can be told by its looks, so that it is
// hidden although nobody named it. All but private keys are single words.
type shape struct {
	name string
	// hints are what one of must stand in a word of this shape. They are looked for
	// first, since an expression costs far more.
	hints [][]byte
	expr  *regexp.Regexp
}

// words are the shapes of single words, from their makers' descriptions.
func words() []shape {
	word := func(name, expr string, hints ...string) shape {
		sh := shape{name: name, expr: regexp.MustCompile(expr)}
		for _, h := range hints {
			sh.hints = append(sh.hints, []byte(h))
		}
		return sh
	}
	return []shape{
		word("AWS access key id", `(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}`, "A3T", "AKIA", "ASIA", "ABIA", "ACCA"),
		word("Azure AD client secret", `[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}`,
			"0Q~", "1Q~", "2Q~", "3Q~", "4Q~", "5Q~", "6Q~", "7Q~", "8Q~", "9Q~"),
		word("Azure connection string", `(?:Account|SharedAccess)Key=[A-Za-z0-9+/]{32,}={0,2}|SharedAccessSignature=[A-Za-z0-9%&=+/._-]{32,}`, "AccountKey=", "SharedAccess"),
		word("GitHub token", `gh[pousr]_[A-Za-z0-9_]{36,}`, "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
		word("GitHub fine-grained token", `github_pat_[A-Za-z0-9_]{36,}`, "github_pat_"),
		// Header and payload are JSON objects; an unsigned token ends with a dot.
		word("JSON web token", `eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`, "eyJ"),
		word("Slack token", `xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,}`, "xox", "xapp-"),
	}
}

const (
	// shortestWord is the length in bytes of the shortest word that has a shape.
	shortestWord = 15
	// longestWord bounds what is held of a word that does not end, in bytes: a JSON
	// web token with many claims has some thousand.
	longestWord = 16 << 10
	// longestKey bounds how much is hidden behind the first line of a private key
	// whose last line never comes, in bytes. A key of 16384 bits has 13 KiB.
	longestKey = 16 << 10
	// longestHead bounds the first and the last line of a private key, in bytes.
	longestHead = 80
)

var (
	keyMark = []byte("-----BEGIN")
	// "KEY BLOCK" is OpenPGP's.
	keyBegin = regexp.MustCompile(`^-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`)
	keyEnd   = regexp.MustCompile(`-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`)
)

// wordBytes are the bytes that a word of any shape consists of.
var wordBytes = func() (set [256]bool) {
	for _, b := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~.-+/=%&") {
		set[b] = true
	}
	return set
}()

// shapes finds credentials by their looks in a stream.
//
//	          space…          KEY-----
//	word ───────────────► head ───────► body
//	  ▲  after -----BEGIN   │             │ -----END … KEY-----, or longestKey
//	  └─────────────────────┴─────────────┘
//
// It keeps copies of what it is undecided about, so that the writer may pass on
// any of it without an effect on what is found.
type shapes struct {
	words []shape
	hints *automaton // over the beginnings of all hints
	word  []byte     // the beginning of a word that may go on
	head  []byte     // the beginning of a line that may be a private key's first
	open  bool       // a word of some shape goes on: all of it is hidden
	body  int        // bytes still to be hidden of a private key; 0 outside of one
	tail  []byte     // the last bytes of a private key's body
}

// scan looks at the bytes of buf from an index on and calls cover with the spans
// to be hidden, which may begin before buf. It returns how many of the last bytes
// are undecided.
func (s *shapes) scan(buf []byte, from int, cover func(span)) (undecided int) {
	for i := from; i < len(buf); {
		switch {
		case s.body > 0:
			i = s.inBody(buf, i, cover)
		case len(s.head) > 0:
			i = s.inHead(buf, i, cover)
		default:
			i = s.inWord(buf, i, cover)
		}
	}
	if s.open {
		return 0
	}
	return max(len(s.word), len(s.head))
}

// inWord goes on to behind the next word that may have a shape, or to the end of
// buf.
func (s *shapes) inWord(buf []byte, i int, cover func(span)) int {
	if !s.open && len(s.word) == 0 {
		i = s.skip(buf, i)
	}
	start := i
	for i < len(buf) && wordBytes[buf[i]] {
		i++
	}
	if s.open && i > start {
		cover(span{start, i})
	}
	if i == len(buf) {
		switch {
		case s.open:
		case len(s.word)+i-start > longestWord:
			// Whatever has a shape by now has it for good.
			s.word = append(s.word, buf[start:]...)
			s.open = s.find(s.word, i, cover)
			s.word = append(s.word[:0], s.word[len(s.word)-longestHead:]...)
		default:
			s.word = append(s.word, buf[start:]...)
		}
		return i
	}
	word := buf[start:i]
	if len(s.word) > 0 {
		s.word = append(s.word, word...)
		word = s.word
	}
	if !s.open {
		s.find(word, i, cover)
		if buf[i] == ' ' && bytes.HasSuffix(word, keyMark) {
			s.head = append(s.head[:0], keyMark...)
		}
	}
	s.open, s.word = false, s.word[:0]
	if len(s.head) == 0 {
		i++ // which is of no word
	}
	return i
}

// skip returns the beginning of the first word from i on that may have a shape, or
// that is the last and may go on.
func (s *shapes) skip(buf []byte, i int) int {
	hint := s.hints.skip(buf, i)
	if hint+MinLength > len(buf) {
		hint = len(buf)
	}
	for hint > i && wordBytes[buf[hint-1]] {
		hint--
	}
	return hint
}

// find covers what has a shape in a word that ends before an index of the buffer,
// and reports whether the last of it ends with the word.
func (s *shapes) find(word []byte, end int, cover func(span)) (last bool) {
	if len(word) < shortestWord {
		return false
	}
	for _, sh := range s.words {
		if !sh.hinted(word) {
			continue
		}
		for _, at := range sh.expr.FindAllIndex(word, -1) {
			cover(span{end - len(word) + at[0], end - len(word) + at[1]})
			last = last || at[1] == len(word)
		}
	}
	return last
}

func (sh *shape) hinted(word []byte) bool {
	for _, h := range sh.hints {
		if bytes.Contains(word, h) {
			return true
		}
	}
	return false
}

// hintAutomaton finds places at which a hint may stand. It judges by four bytes, so
// a hint that is shorter is given with every byte that may follow.
func hintAutomaton(words []shape) *automaton {
	a := &automaton{}
	a.node(0, 0)
	a.insert(string(keyMark))
	for _, sh := range words {
		for _, h := range sh.hints {
			a.fill(string(h))
		}
	}
	return a
}

// fill inserts a pattern with all endings that a word may give it.
func (a *automaton) fill(pattern string) {
	if len(pattern) >= MinLength {
		a.insert(pattern)
		return
	}
	for b, ok := range wordBytes {
		if ok {
			a.fill(pattern + string([]byte{byte(b)}))
		}
	}
}

// inHead reads what may be the first line of a private key.
func (s *shapes) inHead(buf []byte, i int, cover func(span)) int {
	for ; i < len(buf); i++ {
		b := buf[i]
		if (b < 'A' || b > 'Z') && (b < '0' || b > '9') && b != ' ' && b != '-' || len(s.head) >= longestHead {
			s.head = s.head[:0]
			return i
		}
		s.head = append(s.head, b)
		if keyBegin.Match(s.head) {
			cover(span{i + 1 - len(s.head), i + 1})
			s.head, s.tail, s.body = s.head[:0], s.tail[:0], longestKey
			return i + 1
		}
		if len(s.head) > len(keyMark) && bytes.HasSuffix(s.head, keyMark[:5]) {
			s.head = s.head[:0] // a certificate or the like
			return i + 1
		}
	}
	return i
}

// inBody hides what stands in a private key.
func (s *shapes) inBody(buf []byte, i int, cover func(span)) int {
	part := buf[i:min(len(buf), i+s.body)]
	s.body -= len(part)
	before := len(s.tail)
	s.tail = append(s.tail, part...)
	end := i + len(part)
	if at := keyEnd.FindIndex(s.tail); at != nil {
		end = i + at[1] - before
		s.body = 0
	}
	cover(span{i, end})
	s.tail = append(s.tail[:0], s.tail[max(0, len(s.tail)-longestHead):]...)
	return end
}

// end looks at what is undecided when the stream has ended with buf.
func (s *shapes) end(buf []byte, cover func(span)) {
	if !s.open {
		s.find(s.word, len(buf), cover)
	}
}

// suspect reports whether what is undecided may well be a credential.
func (s *shapes) suspect() bool {
	if len(s.word) < MinLength {
		return false // no more than what tells its kind
	}
	for _, sh := range s.words {
		if sh.hinted(s.word) {
			return true
		}
	}
	return false
}

// hide says that all of the word that goes on is hidden from now on.
func (s *shapes) hide() { s.open, s.word = true, s.word[:0] }
