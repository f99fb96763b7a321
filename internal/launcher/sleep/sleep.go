// Package sleep waits between tries, for as long as somebody still wants them.
package sleep

import (
	"context"
	"time"
)

// For returns nil once d has passed, or the context's error as soon as ctx ends. A
// d of zero or less does not wait.
func For(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
