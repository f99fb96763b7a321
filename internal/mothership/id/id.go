// Package id makes ULIDs: ids that sort by the time they were made at.
package id

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// Maker returns a function that makes a new ULID at each call, each greater than
// the one before. It is safe for concurrent use. random must be a source fit for
// keys: a reader that fails, as none of the system's does, ends the program.
func Maker(now func() time.Time, random io.Reader) func() string {
	var mu sync.Mutex
	entropy := ulid.Monotonic(random, 0)
	var last uint64
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		// A clock that is set back must not make ids that sort before older ones.
		last = max(last, ulid.Timestamp(now()))
		made, err := ulid.New(last, entropy)
		if err != nil {
			panic(fmt.Sprintf("no randomness for an id: %v", err))
		}
		return made.String()
	}
}
