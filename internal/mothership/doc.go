// Package mothership puts the mothership together: what needs what is written in
// one file, by hand, in the order in which it can be made.
package mothership
