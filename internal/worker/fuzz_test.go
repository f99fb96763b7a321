package worker

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzScanBackend: whatever the file, the search ends, names a line that exists
// and one on which the word stands.
func FuzzScanBackend(f *testing.F) {
	for _, seed := range []string{
		"terraform {\n  backend \"s3\" {}\n}", "terraform { cloud {} }", "a = \"${b(\"}\")}\"", "<<EOT\nx\nEOT\n",
		"<<-\n", "\"\\", "/*", "\"${", "\"%{ if a ~}\"", "terraform{backend<<A\n{", "}}}{{{",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, src string) {
		found := scanBackend(src)
		if found == nil {
			return
		}
		lines := strings.Split(src, "\n")
		if found.line < 1 || found.line > len(lines) {
			t.Fatalf("line %d of %d", found.line, len(lines))
		}
		word, _, _ := strings.Cut(found.block, " ")
		if !strings.Contains(lines[found.line-1], word) {
			t.Errorf("%q is not on line %d", word, found.line)
		}
	})
}

// FuzzCommands: whatever the borders, all bytes come out, in order.
func FuzzCommands(f *testing.F) {
	f.Add([]byte("::add-mask a b\nc\n::add-m"), 3)
	f.Add([]byte("\n\n::\n::add-mask "), 1)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		if size < 1 || size > 1<<20 {
			return
		}
		dst := &sink{}
		c := &commands{dst: dst, learn: func([]string) int { return 0 }}
		for rest := text; len(rest) > 0; {
			n := min(size, len(rest))
			if _, err := c.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := c.Close(); err != nil || !bytes.Equal(dst.Bytes(), text) {
			t.Errorf("%q became %q, %v", text, dst.String(), err)
		}
	})
}
