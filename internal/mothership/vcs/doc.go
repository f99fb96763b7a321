// Package vcs keeps VCS integrations: what opens the private repositories of one
// host to launchers.
//
// An integration holds a token or an SSH key. Both are encrypted at rest and never
// answered again: only the composer of a job reads them, and it seals them to the
// one launcher that fetches. The host is fixed when an integration is made, so that
// nobody who may change a stack or an integration can have its secret sent to a
// host of their own.
//
// A stack names its integration; where it names none, the default one of its space
// for the repository's host is taken.
package vcs
