// Package testkit gives tests what they need from the machine: a container
// engine and a runner image. What is missing fails a test, with the command that
// brings it; it never skips one, since a suite that skips looks green.
package testkit
