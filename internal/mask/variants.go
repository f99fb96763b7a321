package mask

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// longSecret is the length in bytes from which a secret is looked for only as it
// is and line by line. Each form of it costs memory in proportion, and a mounted
// file of megabytes must not take the launcher's.
const longSecret = 32 << 10

// variants calls add with each form in which tools print a secret. The same form
// may be given twice.
func variants(secret string, add func(string)) {
	if !Maskable(secret) {
		return
	}
	whole := strings.TrimSpace(secret)
	emit := func(s string) {
		if len(s) >= MinLength {
			add(s)
		}
	}
	emit(whole)
	lines := splitLines(whole)
	for _, v := range values(whole, lines) {
		variants(v, add)
	}
	if len(lines) > 1 {
		for _, l := range lines {
			if l = strings.TrimSpace(l); len(l) >= MinLength {
				emit(l)
				quoted(l, emit)
			}
		}
	}
	if len(whole) > longSecret {
		return
	}
	if len(lines) > 1 {
		// echo $X, GitHub-style commands, terminals, and tools that drop breaks.
		for _, sep := range []string{"\n", "\r\n", `\n`, `\r\n`, " ", "", "%0A", "%0a", "%0D%0A"} {
			joined := strings.Join(lines, sep)
			emit(joined)
			if strings.HasSuffix(sep, "\n") && sep[0] < ' ' {
				quoted(joined, emit)
			}
		}
	}
	// An unquoted $X in a shell: all white space becomes one space.
	emit(strings.Join(strings.Fields(whole), " "))
	quoted(whole, emit)
	encoded(whole, emit)
	if secret != whole {
		// With the spaces and line ends that surround it, encodings differ.
		encoded(secret, emit)
	} else {
		encoded(whole+"\n", emit) // echo "$X" | base64
	}
}

// splitLines splits at either kind of line end.
func splitLines(s string) []string {
	return strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
}

// encoded gives base64 and hex. What surrounds a secret shifts its base64 by
// zero, one or two bytes. Of each shift those characters are taken that depend
// on the secret alone; one at either end shares its bits with a neighbour.
func encoded(s string, add func(string)) {
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		full := enc.EncodeToString([]byte(s))
		add(full)
		add(strings.TrimRight(full, "="))
		for shift := range 3 {
			shifted := enc.EncodeToString(append(make([]byte, shift), s...))
			from := (shift*8 + 5) / 6
			to := (shift + len(s)) * 8 / 6
			add(shifted[from:to])
		}
		// The base64 command breaks lines at 76 characters, openssl and PEM at 64.
		for _, width := range []int{76, 64} {
			for _, l := range chunks(full, width) {
				add(l)
			}
		}
	}
	add(hex.EncodeToString([]byte(s)))
	add(strings.ToUpper(hex.EncodeToString([]byte(s))))
}

// chunks cuts s into pieces of width bytes; the last may be shorter.
func chunks(s string, width int) []string {
	var all []string
	for len(s) > width {
		all = append(all, s[:width])
		s = s[width:]
	}
	return append(all, s)
}
