// Package client is the typed client of the public API that our own commands use.
//
// A Client logs in by itself with an API key, again before its token ends, and
// returns what the server refuses as faults with the server's own code, sentence
// and hint. It follows no redirect: a token goes to the endpoint it was made for
// and nowhere else.
package client
