// Package vault keeps secret values at rest.
//
// Each value is encrypted (XChaCha20-Poly1305) under one data key, which is kept
// in the database, itself encrypted by the installation's root: a key file beside
// the database by default. So a copy of the database alone opens nothing, a
// value costs a microsecond, and a root that is a remote service is asked once,
// at the start.
//
// A value is bound to its purpose, the table and row it belongs to. Whoever can
// write to the database can therefore not move a ciphertext to another row and
// have it opened there. They can put back an older value of the same row.
package vault
