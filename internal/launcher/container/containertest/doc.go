// Package containertest is the conformance suite of container backends. What it
// asserts is what container.Backend promises; where Capabilities say that a
// backend cannot do something, that part is not asked of it.
package containertest
