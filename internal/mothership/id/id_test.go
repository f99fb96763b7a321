package id

import (
	"crypto/rand"
	"testing"
	"time"
)

func TestEachIDIsGreaterThanTheOneBeforeEvenWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_700_000_000_000)
	next := Maker(func() time.Time { return now }, rand.Reader)
	last := next()
	for i := range 1000 {
		if i == 500 {
			now = now.Add(-time.Hour)
		}
		made := next()
		if made <= last || len(made) != 26 {
			t.Fatalf("%s came after %s", made, last)
		}
		last = made
	}
}
