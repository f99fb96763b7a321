// Package container is where a run's container lives: one interface, Backend,
// and the ways to keep its promises.
//
// A container here is one worker process (our own static binary, as PID 1 or
// what stands for it) that sees the trees of one run directory and nothing else
// of ours. It is known by one name alone, the ULID that also names its run
// directory. No job, environment or secret ever goes through a backend: those
// travel as files in the run directory, so neither an engine's inspect call nor
// a process list can show them.
//
// Two backends exist.
//
//   - docker: an engine that speaks API 1.41 or newer. The container drops all
//     capabilities, gains no new privileges, runs as the run's own uid and
//     survives both the launcher and its restarts.
//   - process: a plain process of this host. It isolates nothing and says so in
//     its Capabilities; it exists for a first look on a machine without an
//     engine. A supervisor (supervise.Main, the worker's binary called again) starts
//     the worker, adopts whatever that leaves behind, ends the whole tree and
//     writes down the exit status, so a launcher may be killed and another one
//     may wait in its place.
//
// What the process backend does not do yet: give each run a uid of its own (a
// worker runs as the launcher does) and put a run into a cgroup (so memory
// limits and the out-of-memory flag are missing there, and a process that
// outlives a supervisor killed by hand is not found again; nor is what a worker
// writes to its own standard streams bounded). They come with the hostile suite.
//
// The binary that is handed over as Spec.Binary must know two subcommands of
// this package: supervise (supervise.Main) and own (own.Main).
//
// The package containertest holds the conformance suite that each backend
// passes.
package container
