// Package stack is stacks: where their source is, how they run, and the variables
// and files that their runs get.
//
// A stack has two names. Its id is a ULID and never reused; everything that is
// signed or sealed uses it. Its slug is what people and the public API use; it is
// made from the first name, survives a rename, and is free again after a deletion.
//
// Values of variables and files are wrapped at rest, secret or not. Those marked
// write-only are never answered again, to anybody; a run gets them by Resolve.
package stack
