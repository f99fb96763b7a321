// Package wire is what launcher and mothership say to each other, and the files
// by which launcher and worker do. It is types and encodings alone: no I/O.
//
// # Launcher and mothership
//
// An MQTT hint on <ns>/readonly/<pool>/<worker> says only "look again". All that
// matters is HTTPS and JSON below /worker/v1 (api.go), authenticated by a bearer:
//
//	nonce ─► register ─► orders ─► accept ─► starting ─► beat, report, logs … ─► outcome ─► done
//	                                                                          └─► park ─► parked
//	                                                                          └─► next job (class change)
//
// Every call about a run names its attempt; a stale one is answered 409 with the
// fault code "stale". Calls may be repeated: the answer is the same.
//
// # Launcher and worker
//
// A run is a directory (rundir.go). The job goes in as in/job.json; log, events,
// results and requests come out as files. What comes out was written by code that
// we do not trust.
//
// Changes are additive: a field is never renamed, reused or given a new meaning.
package wire
