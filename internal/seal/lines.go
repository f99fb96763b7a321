package seal

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Statements and job headers are texts of fixed lines: a title, then one
// "name value" line per field in a fixed order. They are kept and checked as
// exact bytes. A reader that re-serialises must get the same bytes back, so
// there is one way to write each meaning, and a signature over the bytes is a
// signature over the meaning.

// maxLines bounds such a text.
const maxLines = 64 << 10

// none stands for an absent value, since an empty one would be invisible.
const none = "none"

// line is one field. Exactly one of text and number is set.
type line struct {
	name     string
	text     *string
	number   *int64
	optional bool // text may be empty, written as none
}

// marshalLines writes title and fields.
func marshalLines(title string, fields []line) ([]byte, error) {
	var b strings.Builder
	b.WriteString(title)
	b.WriteByte('\n')
	for _, f := range fields {
		value, err := f.write()
		if err != nil {
			return nil, err
		}
		b.WriteString(f.name)
		b.WriteByte(' ')
		b.WriteString(value)
		b.WriteByte('\n')
	}
	if b.Len() > maxLines {
		return nil, fmt.Errorf("the text is longer than %d bytes", maxLines)
	}
	return []byte(b.String()), nil
}

func (f line) write() (string, error) {
	if f.number != nil {
		if *f.number < 0 {
			return "", fmt.Errorf("%s is negative", f.name)
		}
		return strconv.FormatInt(*f.number, 10), nil
	}
	switch {
	case *f.text == "" && f.optional:
		return none, nil
	case *f.text == "":
		return "", fmt.Errorf("%s is empty", f.name)
	case *f.text == none:
		// Else absent and present would share one text.
		return "", fmt.Errorf("%s has the value %q, which stands for an absent one", f.name, none)
	}
	return *f.text, checkValue(f.name, *f.text)
}

// checkValue refuses what could end a line, hide in it, or print as another.
func checkValue(name, value string) error {
	if !utf8.ValidString(value) {
		return fmt.Errorf("%s is not UTF-8", name)
	}
	for _, r := range value {
		if unicode.Is(unicode.C, r) || r == '\u2028' || r == '\u2029' {
			return fmt.Errorf("%s holds the character %U, which a line may not hold", name, r)
		}
	}
	if strings.TrimSpace(value) != value {
		return fmt.Errorf("%s begins or ends with a space", name)
	}
	return nil
}

// parseLines fills the fields of a text that marshalLines wrote. The caller
// marshals again and compares: that is what makes reading strict.
func parseLines(data []byte, title string, fields []line) error {
	if len(data) > maxLines {
		return fmt.Errorf("it is longer than %d bytes", maxLines)
	}
	text, ok := strings.CutSuffix(string(data), "\n")
	if !ok {
		return fmt.Errorf("its last line has no end")
	}
	lines := strings.Split(text, "\n")
	if lines[0] != title {
		return fmt.Errorf("it does not begin with %q", title)
	}
	if len(lines)-1 != len(fields) {
		return fmt.Errorf("it has %d fields, not %d", len(lines)-1, len(fields))
	}
	for i, f := range fields {
		value, ok := strings.CutPrefix(lines[i+1], f.name+" ")
		if !ok {
			return fmt.Errorf("line %d is not %s", i+2, f.name)
		}
		if err := f.read(value); err != nil {
			return err
		}
	}
	return nil
}

func (f line) read(value string) error {
	if f.number != nil {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%s is not a number", f.name)
		}
		*f.number = n
		return nil
	}
	if value == none && f.optional {
		value = ""
	}
	*f.text = value
	return nil
}
