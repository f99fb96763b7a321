// Package command is the command line of the mothership's binary.
//
//	server          the mothership itself
//	apikey create   a key, made in the data directory
//	pool create     a worker pool, made through the API
//	vcs             integrations that open private repositories
//	quickstart      mothership, launchers and a whole run on this machine
//	version
//
// What a script reads goes to standard output and is nothing but that: the token
// of a pool, the JSON of a key. An error is one line on standard error, a sentence
// and what to do about it. The exit code is 0, 1 when the command failed, or 2 when it was not used
// as it should be.
package command
