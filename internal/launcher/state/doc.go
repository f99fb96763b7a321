// Package state serves the tool's requests for its state: what the worker asks
// for by files, done by the mothership, with everything that a worker must not
// decide decided here.
//
// A request carries an operation and bytes. Kind, stack, run, sequence and what
// came before are the launcher's, from the signed job and its own last write; the
// class of the container decides what is granted at all.
//
// A write is sealed to the pool's key (and the recovery recipients) in both state
// modes, its statement signed, both kept in the journal, and then sent until it
// is acknowledged. The tool's request stays open until then, or until the run has
// been without contact for too long: then the journal is enough.
//
// A sealed state that is read is judged before it is opened: signature, meaning,
// ciphertext, and the high-water mark of its stack.
package state
