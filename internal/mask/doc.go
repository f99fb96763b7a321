// Package mask hides secrets in text that streams by. Every run of bytes that
// belongs to a known secret comes out as five stars.
//
// One [Masker] knows the secrets; any number of [Writer]s share it, and secrets
// may be added while they write. A writer holds back only what could still turn
// out to be the beginning of a secret, so that a secret cut into pieces by
// buffers is found like one that comes whole: how text is cut never changes what
// comes out.
//
// A secret is looked for in the forms in which tools print it: as it is, line by
// line, with its line breaks flattened, in base64 at every alignment, URL-, JSON-
// and shell-quoted, and in hex. See variants.go for the list.
//
// What it cannot do: hide a secret that a program transforms in another way
// (reversed, encrypted, letter by letter), or one shorter than [MinLength] bytes,
// since masking "dev" or "no" would make a log unreadable and give the value away
// by what is missing. [Masker.Skipped] counts those, [Maskable] tells beforehand.
package mask
