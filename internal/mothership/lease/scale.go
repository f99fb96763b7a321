package lease

import "time"

// Scaled returns the terms, defaults included, with every duration multiplied, so
// that tests see whole leases in seconds.
func (t Terms) Scaled(by float64) Terms {
	t.defaults()
	for _, d := range []*time.Duration{
		&t.Beat, &t.AckWithin, &t.Accept, &t.Lost, &t.ReadFence, &t.WriteFence, &t.ReadGrace, &t.WriteGrace, &t.Margin, &t.Slack,
		&t.RetryCap, &t.RunTimeout, &t.HardMargin, &t.LogWait, &t.ParkedFor, &t.AskHinted, &t.AskPolling, &t.Tick,
	} {
		*d = time.Duration(float64(*d) * by)
	}
	return t
}
