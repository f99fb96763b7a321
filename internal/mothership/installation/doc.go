// Package installation is the data directory of a mothership, and what an
// installation is before it has any pool or stack.
//
//	server.lock   held by the running server; holds its process id
//	root.key      32 bytes, mode 0600: opens the database's secrets
//	spaceport.db  the database
//	objects/      the local object store
//
// The directory has mode 0700. A copy of the database without root.key opens no
// secret, and root.key without the database is of no use; back up both, apart.
package installation
