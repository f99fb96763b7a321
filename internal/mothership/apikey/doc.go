// Package apikey is API keys: an id and a secret that programs log in with.
//
// The secret is 32 random bytes, shown once. What is stored is its SHA-256: a
// value with that much randomness cannot be guessed, so a slow hash would only
// slow the server. Comparison takes the same time whatever differs, and a key
// that is not there is refused like a wrong secret.
package apikey
