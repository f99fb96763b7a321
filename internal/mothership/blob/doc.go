// Package blob is the object store: log chunks, states, parked workspaces.
//
// The mothership itself uses Put, Get and Delete. Launchers get URLs that are
// signed for one method, one key, one size limit and a short time, and PUT or GET
// there without any other credential; they never see the store's own.
//
// Local keeps objects as files below one directory, reached through os.Root: a
// key can name nothing outside of it. An object appears whole or not at all.
package blob
