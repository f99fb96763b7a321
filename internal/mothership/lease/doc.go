// Package lease is the life of an attempt: from the moment a worker is given a
// run until the run is out of its hands.
//
//	assigned ─► accepted ─► started ─► … ─► outcome ─► ended
//	    │           │           │              ├─► parked ─► ended
//	    │           │           │              └─► next container (class change)
//	    └── late ───┴── lost ───┘
//
// Service answers what launchers say. Each call is one transaction that begins by
// checking that the attempt is live and the caller's; what comes late is refused
// as stale. Calls may be repeated: the same container's start or end gives the
// same answer.
//
// Watcher decides that an attempt is lost. It never compares clocks with anybody:
// it declares a loss after it has seen the same beat for a whole term of its own
// monotonic clock, while it and its database were well. After a start, an outage
// or a standstill of its own it waits a full term again.
//
// What follows from a loss depends on what ran. Before the first container was
// started, and while it only read, the run is queued again (while reading, at
// most twice). While it wrote, the run has failed and is never repeated, and the
// stack is in quarantine until the end of its container is certain.
package lease
