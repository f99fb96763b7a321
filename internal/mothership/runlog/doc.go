// Package runlog keeps what runs print, one log for each state of a run.
//
// A launcher PUTs chunks to signed URLs and then commits them, in order, by
// offset and length; only what is committed is ever read. An object's key carries
// run, attempt, state version and chunk number, so that a stale attempt can
// overwrite nothing. The closing call of a state says how many bytes its log has;
// a log is complete when that many are committed or were declared lost.
//
// Reading is by byte offset and verbatim: the messages joined are the log.
package runlog
