// Package policy asks the operator's run initialization policy whether a run may
// go on: a Rego file on the launcher's own disk, which no mothership can change.
//
// It is asked three times, and any "no" ends the run before it has its job:
//
//	job opened ── metadata ──► source, image ── resolved ──► job.json is released
//	                                                              │ plan, pause
//	job opened ── metadata ──► workspace opened ── resolved ──► apply
//
// A policy that cannot be evaluated denies. The file is read once, at the start,
// so that what is evaluated is what was checked.
//
// Rego runs in a child process (package evaluator) that has limits on memory and
// time and none of the launcher's secrets: a policy that loops, allocates without
// end or crashes costs one run, never the launcher. So the launcher's own process
// does not carry what evaluating needs while it is idle either.
package policy
