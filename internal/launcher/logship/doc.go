// Package logship brings the log of an attempt to the object store, in order
// and complete.
//
// A log is one stream of bytes per state version. Bytes are cut into chunks, each
// PUT to a signed address of its own; once stored, a chunk is committed (offset,
// length, hash) with the next call to the mothership, and the last commit of a
// state travels with its close (total bytes, hash of the whole).
//
//	Write ─► buffer ─► chunk ─► PUT ─► commit ─► settled
//	           │ full: Write waits, so the log stays in the worker's files
//
// When a chunk is cut: the first bytes of a state after 10 ms, so that a command
// and its first line of output go together; then every 250 ms in the first ten
// seconds of a state and while somebody watches; else every 5 s, or at 4 MiB; and
// at once when the state has ended or nobody will write more for now (Flush).
//
// What has been committed is known to the mothership alone. A launcher that was
// restarted feeds a stream again from its first byte and tells how many bytes
// are committed: those count for offset and hash and are not sent again.
package logship
