// Package setting is what an operator can tell a launcher.
//
// Every setting is one row of one table (table.go): its environment name, its
// flag, its default, its line in docs/launcher-settings.md and how its value is
// read. Flags win over the environment. A value that cannot be used, and a flag
// that does not exist, stop the start with one sentence; an environment name of
// ours that no row knows is only warned about, with the nearest known one,
// because other programs on the host may have names that begin like ours.
//
// Secrets come by the environment alone: a flag could be read in the list of
// processes by every user of the host.
package setting
