// Package source puts a repository's files at one exact commit into a workspace.
//
// The launcher runs the host's git itself, in a child with an empty environment
// and one configuration file of ours: no hooks, filters, LFS or prompts, and no
// configuration of the system or of any user. Only https and ssh are spoken; http
// on this host, or where the operator's own map leads; file only where the
// operator's setting allows it. The address comes from a job, so it is never more
// than an argument behind "--", and never a path.
//
// A credential is for one host. A token is read by git's helper from a file in
// memory, an SSH key stays in this process behind an agent of its own; neither
// stands in arguments, environments, files or messages. ssh believes only host
// keys that were told to it beforehand. A redirect to another host is refused.
//
// Each repository has a bare cache below the data directory, locked while it is
// used, so that the same commit needs no network the second time. Files are
// written without a .git directory into a tree that nobody else has touched yet;
// then come its submodules, each a repository like it.
//
//	source.go      what is fetched, and in which order
//	address.go     which addresses are, and what a submodule may name
//	credential.go  how secrets reach git and ssh, and nobody else
//	git.go         one git command
//	cache.go       one repository: fetch, redirects, what is known
//	content.go     what a commit holds, and writing it
//	tree.go        checked-out trees that are kept
//	submodule.go   repositories in repositories
//	progress.go    what git says meanwhile
//	failure.go     one sentence out of what git said at its end
package source
