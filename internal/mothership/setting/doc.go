// Package setting is the settings of the mothership: one struct whose tags are the
// one table of flags, environment names, defaults and descriptions. The command
// line reads them from there, the documentation is made from there, and a test
// holds the two together.
//
// Names that operators of such installations know are kept. A value that this
// version cannot honour is refused by its setting's name; a name that is taken and
// read by nothing is listed as such in Unused.
package setting
