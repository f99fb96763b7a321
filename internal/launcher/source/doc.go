// Package source puts a repository's files at one exact commit into a workspace.
//
// The launcher runs the host's git itself, in a child with an empty environment
// and one configuration file of ours: no hooks, filters, LFS, credential helpers
// or submodules, and no configuration of the system or of any user. Only https
// and ssh are spoken; http on this host alone; file only where the operator's
// setting allows it. The address comes from a job, so it is never more than an
// argument behind "--", and never a path.
//
// Each repository has a bare cache below the data directory, locked while it is
// used, so that the same commit needs no network the second time. Files are
// written without a .git directory into a tree that nobody else has touched yet.
package source
