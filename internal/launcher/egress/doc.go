// Package egress is through which proxy a launcher gets out of its network.
//
// That is the operator's setting, given once. The launcher's own connections (API,
// broker, object store), its git and its credential helpers use it, and the
// containers of runs are given it. Only the container engine pulls images by
// itself, and has settings of its own.
//
// A proxy's address may hold a password. It is never printed: [Shown] is what logs
// and errors get.
package egress
