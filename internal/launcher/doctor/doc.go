// Package doctor looks at all that a launcher needs before it can take a run, and
// says of each what is wrong and what to do. It changes nothing and registers
// nothing.
package doctor
