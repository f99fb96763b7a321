// Package client is the launcher's side of the worker API: HTTPS and JSON as
// package wire has them, and signed object addresses.
//
// It follows no redirect, sends its bearer to the mothership alone and fetches
// signed addresses only from the origins that the signed bundle lists. An answer
// that says no (4xx but 408, 425 and 429) is a fault and never asked again; any
// other failure is tried again, with pauses that grow to a cap, until the
// caller's context ends. While a run is live the cap is the lease's.
package client
