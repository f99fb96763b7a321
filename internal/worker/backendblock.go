package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// block is a backend or cloud block in a user's code.
type block struct {
	file  string
	line  int
	block string // backend "s3", cloud
}

// maxSource bounds a configuration file that is looked into, in bytes.
const maxSource = 8 << 20

// findBackend looks for the first backend or cloud block in the configuration
// files of a directory, not below it. Files with the name ours are left out.
func findBackend(dir string, suffixes []string, ours string) (*block, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the project root: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		var native, asJSON bool
		for _, s := range suffixes {
			native = native || strings.HasSuffix(name, s)
			asJSON = asJSON || strings.HasSuffix(name, s+".json")
		}
		if e.IsDir() || name == ours || strings.HasPrefix(name, ".") || !native && !asJSON {
			continue
		}
		data, err := readSource(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		found := scanBackend(string(data))
		if asJSON {
			found = scanBackendJSON(data)
		}
		if found != nil {
			found.file = name
			return found, nil
		}
	}
	return nil, nil
}

func readSource(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a link to nowhere: the tool will say so
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if !st.Mode().IsRegular() || st.Size() > maxSource {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return data, nil
}

// scanBackend finds the block in a file. It is no parser: it follows brackets,
// strings and comments just far enough to know which words stand directly in a
// top-level terraform block.
func scanBackend(src string) *block {
	s := scanner{src: src, line: 1}
	depth := 0
	inTerraform := false
	lineStart := true // blocks begin on a new line
	for {
		tok, ok := s.next()
		if !ok {
			return nil
		}
		switch tok {
		case "{":
			depth++
		case "}":
			depth = max(depth-1, 0)
			inTerraform = inTerraform && depth > 0
		case "terraform":
			if lineStart && depth == 0 && s.peek() == "{" {
				inTerraform = true
			}
		case "backend", "cloud":
			if lineStart && inTerraform && depth == 1 {
				if found := s.label(tok); found != nil {
					return found
				}
			}
		}
		lineStart = tok == "\n" || tok == "{" || tok == "}"
	}
}

// scanner splits a configuration into words, brackets and line ends. Strings come
// as one token with their quotes.
type scanner struct {
	src  string
	pos  int
	line int
}

func (s *scanner) peek() string {
	look := *s
	tok, _ := look.next()
	return tok
}

// label returns the block if a name, where one is due, and a bracket follow.
func (s *scanner) label(word string) *block {
	look := *s
	found := &block{line: s.line, block: word}
	tok, _ := look.next()
	if word == "backend" {
		if tok == "" || tok == "{" || tok == "=" || tok == "\n" {
			return nil
		}
		found.block = "backend " + tok
		tok, _ = look.next()
	}
	if tok != "{" {
		return nil
	}
	return found
}

func (s *scanner) next() (string, bool) {
	for s.pos < len(s.src) {
		rest := s.src[s.pos:]
		c := rest[0]
		switch {
		case c == '\n':
			s.pos++
			s.line++
			return "\n", true
		case c == ' ' || c == '\t' || c == '\r':
			s.pos++
		case c == '#', strings.HasPrefix(rest, "//"):
			s.skip(untilLineEnd(rest))
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				s.skip(len(rest))
			} else {
				s.skip(end + 4)
			}
		case c == '"':
			return s.take(quoted(rest)), true
		case strings.HasPrefix(rest, "<<"):
			s.skip(heredoc(rest))
		case wordByte(c):
			n := 1
			for n < len(rest) && wordByte(rest[n]) {
				n++
			}
			return s.take(n), true
		default:
			return s.take(1), true
		}
	}
	return "", false
}

func (s *scanner) take(n int) string {
	tok := s.src[s.pos : s.pos+n]
	s.skip(n)
	return tok
}

func (s *scanner) skip(n int) {
	s.line += strings.Count(s.src[s.pos:s.pos+n], "\n")
	s.pos += n
}

func wordByte(c byte) bool {
	return c == '_' || c == '-' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}

func untilLineEnd(s string) int {
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		return i
	}
	return len(s)
}

// quoted returns the length of the string at the start of s, with what ${} in it
// holds, which may be strings again.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == '"':
			return i + 1
		case s[i] == '\n':
			return i // not closed: a plain string has no line ends
		case strings.HasPrefix(s[i:], "$${"), strings.HasPrefix(s[i:], "%%{"):
			i += 2
		case strings.HasPrefix(s[i:], "${"), strings.HasPrefix(s[i:], "%{"):
			i += interpolation(s[i:]) - 1
		}
	}
	return len(s)
}

// interpolation returns the length of "${ … }" at the start of s.
func interpolation(s string) int {
	depth := 0
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			i += quoted(s[i:]) - 1
		}
	}
	return len(s)
}

// heredoc returns the length of the heredoc at the start of s, up to its last line.
func heredoc(s string) int {
	first := untilLineEnd(s)
	name := strings.TrimSpace(strings.TrimPrefix(s[2:first], "-"))
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return 2
	}
	for at := first; at < len(s); {
		at++
		end := at + untilLineEnd(s[at:])
		if strings.TrimSpace(s[at:end]) == name {
			return end
		}
		at = end
	}
	return len(s)
}

// scanBackendJSON finds the block in a file in JSON syntax.
func scanBackendJSON(data []byte) *block {
	var root struct {
		Terraform json.RawMessage `json:"terraform"`
	}
	if json.Unmarshal(data, &root) != nil || len(root.Terraform) == 0 {
		return nil
	}
	var blocks []map[string]json.RawMessage
	var one map[string]json.RawMessage
	if json.Unmarshal(root.Terraform, &one) == nil {
		blocks = append(blocks, one)
	} else if json.Unmarshal(root.Terraform, &blocks) != nil {
		return nil
	}
	for _, b := range blocks {
		for _, word := range []string{"backend", "cloud"} {
			if _, has := b[word]; has {
				line := 1
				if i := strings.Index(string(data), `"`+word+`"`); i >= 0 {
					line += strings.Count(string(data[:i]), "\n")
				}
				return &block{line: line, block: word}
			}
		}
	}
	return nil
}
