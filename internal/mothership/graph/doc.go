// Package graph is the public GraphQL API: it decodes a call, asks one service
// method, and encodes the answer. It decides nothing itself.
//
// The schema in schema/ has the names and shapes that the public clients send and
// read; what is ours is marked as an addition. gen/ is generated from it by
// scripts/generate.sh and never edited; what it cannot know is written here, and
// the compiler tells what is missing.
//
//	server.go      the HTTP handler: who asks, limits, one transport
//	errors.go      a fault becomes a message and extensions.code
//	resolver.go    the roots, and what they need of the services
//	account.go, pool.go, run.go, stack.go    operations, by noun
//	*_view.go      how a thing of the domain is answered
//	stack_input.go what a client may ask of a stack; what does nothing yet is refused
//
// An answer that leaves something undone is never a success: an input that has no
// effect in this version is refused with the code "unsupported" and its name.
package graph
