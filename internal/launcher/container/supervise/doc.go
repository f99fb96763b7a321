// Package supervise is what the process backend has instead of an engine: a process
// that starts a worker, adopts whatever that leaves behind, ends the whole tree and
// writes down the exit status, so that a launcher may be killed and another one may
// wait in its place.
//
// It is a package of its own because it is a program of its own: two processes
// start with each run, and what a program links it pays for at each start. It must
// not import what an engine needs.
package supervise
