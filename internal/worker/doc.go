// Package worker is PID 1 in a run's container: it reads the job, runs its phases
// and writes down how they ended. It knows no key, no network and no mothership,
// only the run's directory (internal/rundir).
//
//	wait for in/job.json ─► event read ─► phase ─► … ─► after_run ─► out/carry.json ─► out/result.json
//
// # A phase
//
// A phase is hooks, the vendor's commands, hooks, in one sh, in the project root,
// with standard input at /dev/null. Each step is a file that this sh reads, so what
// a hook exports, the next step has. Each step is shown in the log before it runs.
//
// Every step begins with "set -e" in force. A command that fails in the middle of a
// hook, on a line of its own or behind a semicolon, therefore ends the phase, and
// is not hidden by what follows it. A hook may say "set +e", or "command || true";
// then its last status counts. A hook that calls exit, even with 0, ends the phase
// as failed, because what should have followed it did not run. A hook that is not
// valid shell spoils nothing but itself.
//
//	before hook fails   the commands and the after hooks don't run
//	a command fails     the after hooks don't run
//	a phase fails       the phases after it don't run, except destroy in a test
//
// after_run hooks run at the end whatever it was, unless the container has to be
// gone: killed, cut off from its launcher, or out of time.
//
// # Environment
//
// The first phase starts with the image's own variables and the delivered ones.
// Where a phase has hooks, our binary dumps the environment at its end, since an
// image may have no tool that can; the next phase starts from it. Names that speak
// for the run (SPACELIFT_*, TF_VAR_spacelift_*, TF_HTTP_*) always have the delivered
// value. What differs from what was delivered goes to the next container in
// out/carry.json.
//
// # How it ends
//
// Limits, orders and the fence end a phase in one way: one SIGINT to its process
// group, as Ctrl-C would send, so that the tool gives back its lock; after the
// grace, SIGKILL to everything. The result then says which it was. What is left in
// a phase's session when its shell has ended is killed: a process in the background
// that holds the output must not hold up the run. One that made itself a session of
// its own lives until the container ends.
//
// # Secrets
//
// The process cannot be traced or dumped, and its own environment is wiped. All
// output goes through one masking writer; so does every text of the worker's own.
// Scripts and results of the tool pass through a directory that only the run's user
// can read and that is gone at the end.
package worker
