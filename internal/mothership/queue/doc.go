// Package queue decides which run goes on and which worker takes it.
//
// A QUEUED run is asked for its blockers; one without any becomes READY. Waiting
// runs (READY, CONFIRMED, REPLAN_REQUESTED) stand in one order per pool, by a sort
// key that is computed once, when a run becomes schedulable, and indexed. The
// first of them goes to the newest idle worker of the pool, which gets attempt
// n + 1 in the same transaction.
//
// That there is no worker is a reason shown on a waiting run, never a blocker: an
// empty pool must show its demand, or nothing would scale it up from zero.
//
// A new rule that holds runs back is a new Blocker in the list, not a new case.
//
// Whoever changes something that may let a run go on calls Stack or Pool in the
// transaction of that change, so that the decision needs no wake-up. Run is the
// net below: it listens to events and looks at everything now and then.
package queue
