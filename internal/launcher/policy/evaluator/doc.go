// Package evaluator parses, compiles and evaluates a run initialization policy, in
// a process of its own that package policy starts. See there for why.
package evaluator
