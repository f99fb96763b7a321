// Package db opens the mothership's database and runs its transactions.
//
// The SQL is portable: it runs unchanged on SQLite and PostgreSQL. Placeholders
// are $1, $2, …; column types are TEXT, BIGINT, BOOLEAN and BYTEA; times are
// microseconds since the Unix epoch; ids are ULIDs in TEXT.
//
// No transaction spans I/O. SQLite has one writer, so that a client is never
// told "locked": a writer waits for its turn in memory. What should happen only
// if a change stands (a wake-up, a hint) is given to Tx.AfterCommit.
package db
