// Package statefile keeps the states of stacks and guards who may write them.
//
// A write is made current only if, in one transaction, the stack's lock is held by
// the attempt that writes, its class is write, and the state it was based on is
// still the current one. Everything else that a launcher delivers is kept as a
// recovery version: shown on its run, never current by itself.
//
// Managed states are wrapped under the mothership's key; sealed ones are stored as
// they came, with statement and signature as exact bytes, and are never opened.
//
// The lock is a row per stack. A write attempt takes it with its start and gives
// it back with its end. If the attempt is lost while it writes, the lock stays, in
// quarantine: no new writer starts, what the lost one still delivers is taken.
package statefile
