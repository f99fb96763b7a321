//go:build !embedded

package program

// Contents holds the programs by their names; nil if this binary was built without
// them.
func Contents() map[string]string { return nil }

// Release does nothing here.
func Release() {}
