// Package version tells which release this is.
package version

// version is set by the linker.
var version = "dev"

// String returns the release's name, or "dev".
func String() string { return version }
