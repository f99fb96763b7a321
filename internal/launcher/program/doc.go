// Package program holds the programs that a launcher starts and is not itself:
//
//	worker      PID 1 of a run, its supervisor on the process backend, and the
//	            container that changes owners: see package dispatch
//	evaluator   evaluates a run initialization policy
//
// Each is small because of what it does not link. The worker's program starts
// twice with each run, and what a Go program links it initialises at each start: the
// launcher's clients of engines and clouds cost many times what a worker needs. And
// the policy engine would lie in every launcher's memory, policy or not.
//
// Still there is one file to install: `make build` builds both first, and then the
// launcher with the tag embedded, which carries them (Contents). Built without that tag
// the launcher is all three itself.
package program

// Names of the programs in Contents.
const (
	Worker    = "worker"
	Evaluator = "evaluator"
)
