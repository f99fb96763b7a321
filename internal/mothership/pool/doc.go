// Package pool is pools of workers: their certificates, their workers, and which
// of those are there.
//
// A pool is made from a customer's signing request. Only its public key is kept;
// what comes back is a token, which is useless without the private key. The token
// is stored as it was issued and answered byte for byte until a reset.
//
// A launcher registers with a statement signed by the pool's key (Register) and
// becomes a worker, one row for each (pool, worker key) whatever the number of
// restarts. It then shows a bearer, a short HMAC token that carries pool, worker,
// session and epoch (Authenticate). A bearer ends with its session, or with its
// pool's epoch: a reset cuts off all registrations at once. A running attempt has
// a bearer of its own, which outlives a reset but is good for that attempt alone.
//
//	nonce ─► register ─► IDLE ◄──► BUSY
//	                      │ ▲        │  drain: BUSY with a mark, DRAINED once idle
//	                      ▼ │        ▼
//	                     DRAINED ◄───┘
//
// Busy is never stored: a worker is busy if a live attempt names it. Whether a
// worker is there is kept in memory and written seldom (Presence).
package pool
