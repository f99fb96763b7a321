// Package tool finds the binary of an infrastructure tool in the version that a
// stack asks for: in the tools directory, else on the host, else it is the runner
// image's.
//
//	<data>/tools/terraform/1.11.4/terraform   what an operator put there
//	<data>/bin/<sha256>                       what containers see
//
// A container engine may see no path of the host but the data directory, so the
// binary is copied there once, named by its content.
package tool
