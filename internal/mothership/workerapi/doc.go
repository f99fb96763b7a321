// Package workerapi is the HTTP transport for launchers: the paths of
// internal/wire. It decodes a call within a size limit, finds out whom the bearer
// speaks for, calls one service method, and encodes the answer. Whether that
// worker may do it to that attempt is decided in the services, in the transaction
// of the call.
//
// What is not a success is a wire.Problem. A call about an attempt that is over is
// answered 409 with the code "stale".
package workerapi
