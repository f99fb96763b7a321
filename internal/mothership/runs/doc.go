// Package runs is the noun "run" of the mothership: what people do with runs,
// where a run is kept, and the one place in which its state changes.
//
// Mover.Move is the only writer of run.state: it asks internal/run whether the
// move exists for the actor, raises the state version, and in the caller's
// transaction writes the history, the event and, for tracked runs, the stack's
// state. The queue, the lease watcher and the worker's reports all go through it.
//
// Service is what people call. Each method asks first whether the caller may,
// and writes an audit row in the transaction that makes the change. Repeating an
// action that already had its effect answers the run as it is; any other action
// that does not fit is refused with a sentence that says why.
//
// Composer makes the job of an attempt: resolved configuration, sealed to the
// worker's session and signed by the mothership's job key.
package runs
