package mask

import (
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strings"
	"unicode/utf16"
)

// quoted gives the forms that escape single characters.
func quoted(s string, add func(string)) {
	if strings.IndexFunc(s, special) < 0 {
		return
	}
	for _, q := range urlForms(s) {
		add(q)
		add(lowerEscapes(q))
	}
	once := jsonEscape(s, true)
	for _, j := range []string{
		once, jsonEscape(s, false), jsonEscape(once, true), jsonEscape(jsonEscape(s, false), false),
		jsonASCII(s), strings.ReplaceAll(jsonEscape(s, false), "/", `\/`),
	} {
		add(j)
	}
	add(html.EscapeString(s))
	add(htmlNames.Replace(s))
	add(strings.ReplaceAll(s, `\`, `\\`)) // within quotes that it does not hold
	add(strings.ReplaceAll(s, `'`, `'\''`))
	add(strings.ReplaceAll(s, `'`, `'"'"'`))
	add(shellDouble.Replace(s))
	add(shellAnsi.Replace(s))
	add(shellBackslash(s))
	add(hclTemplate.Replace(jsonEscape(s, false)))
}

// special reports whether any of the forms writes r in another way.
func special(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
}

var (
	// XML's own names, which html.EscapeString writes as numbers.
	htmlNames   = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;")
	shellDouble = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`")
	// $'…', as by bash's printf %q and set -x.
	shellAnsi = strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`,
		"\a", `\a`, "\b", `\b`, "\f", `\f`, "\v", `\v`, "\x1b", `\E`)
	// Terraform prints a string's own ${ and %{ as $${ and %%{.
	hclTemplate = strings.NewReplacer(`${`, `$${`, `%{`, `%%{`)
)

// shellBackslash quotes as bash's printf %q does where no control character asks
// for more.
func shellBackslash(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(" \t!\"#$&'()*,;<>?[\\]^`{|}~", s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func jsonEscape(s string, html bool) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	if err := e.Encode(s); err != nil {
		return s
	}
	out := strings.TrimSuffix(b.String(), "\n")
	return out[1 : len(out)-1]
}

// urlForms percent-encodes as libraries do. They agree on letters, digits, "-", "_"
// and ".", and on little else: what else each leaves as it is stands behind it.
func urlForms(s string) []string {
	query := url.QueryEscape(s) // "~", and a space is "+"
	forms := []string{query, url.PathEscape(s)}
	for _, bare := range []string{
		"~",                 // RFC 3986, jq, curl
		"~/",                // Python
		"~!'()*",            // encodeURIComponent
		"~!'()*;/?:@&=+$,#", // encodeURI
	} {
		forms = append(forms, percent(s, bare))
	}
	return forms
}

// percent writes all bytes as %XX but letters, digits, "-", "_", "." and those of bare.
func percent(s, bare string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; !special(rune(c)) || strings.IndexByte("-_."+bare, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// jsonASCII is a JSON string of ASCII alone, as Python writes it.
func jsonASCII(s string) string {
	var b strings.Builder
	for _, r := range jsonEscape(s, false) {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// lowerEscapes turns %2F into %2f.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToLower(string(b[i+1:i+3])))
			i += 2
		}
	}
	return string(b)
}
