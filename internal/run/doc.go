// Package run is what a run is: its types, states, phases and the moves between
// states that exist. It is pure: it knows no time, no storage and no network.
//
// A run is one job for one stack. The mothership moves it from state to state;
// every move raises the run's state version by one, and the log is kept per
// state version. The moves are one table, in transition.go, and nothing else in
// the program decides whether a move exists.
//
// Phases are what a worker executes. Each phase has a class: reading phases
// (init, plan) may not change anything, writing phases (apply, perform, destroy)
// may. One container holds phases of one class only, so a run that plans and
// applies lives in two containers even when nobody has to confirm it.
package run
