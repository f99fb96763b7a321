// Package launcher is the process on the customer's machine that takes runs for a
// worker pool: it holds the pool's private key, decides whether a run may start,
// and leads it.
//
//	setting    what the operator decided
//	identity   the slot of the data directory, and the worker's key
//	client     HTTPS to the mothership: the truth
//	hint       MQTT: "look again"
//	attempt    one run at a time, from its job to its outcome
//	  source, tool, container, park, state, journal, lease, logship
//
// # The loop
//
// Run registers, asks what it should be doing (orders), and makes it so. A hint,
// the end of a run, or the time that the last answer named makes it ask again.
// Trouble with network, mothership or broker never ends the process; a setting,
// token or key that cannot work does, with exit code 2 and one sentence.
//
// # Leaving
//
// The first SIGTERM or SIGINT drains: no new run is taken, the present one ends,
// the worker deregisters, the exit code is 0. A second one stops the run. When
// the process is killed instead, its container lives on, and the next launcher
// with the same data directory adopts it.
package launcher
