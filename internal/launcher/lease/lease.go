// Package lease is the launcher's own fence: it knows for how long an attempt
// has had no contact with the mothership.
//
// It counts from the moment when the last acknowledged beat was SENT, since the
// mothership may have read it at once and have counted ever since. A beat whose
// acknowledgement took too long counts for nothing. Time is the boot clock, which
// goes on while the machine sleeps and never jumps; what is kept on disk names
// the boot, so that a restarted launcher goes on counting and a rebooted machine
// doesn't compare two clocks.
package lease

import (
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Clock tells time since boot, suspension included.
type Clock func() time.Duration

// BootClock reads the machine's boot clock.
func BootClock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// BootID names this boot of the machine; it is "" where that is not known.
func BootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// Note is what a restarted launcher needs to go on counting.
type Note struct {
	Boot string        `json:"boot"`
	Beat int64         `json:"beat"` // the last that was sent
	Sent time.Duration `json:"sent"` // boot clock at which the last acknowledged one was sent
}

// Lease is that of one attempt. It is safe for concurrent use.
type Lease struct {
	clock Clock
	boot  string

	mu    sync.Mutex
	terms wire.Terms
	beat  int64
	sent  time.Duration
}

// New makes a lease that counts from sent, when the call was made that recorded
// the container's start.
func New(clock Clock, boot string, terms wire.Terms, sent time.Duration) *Lease {
	return &Lease{clock: clock, boot: boot, terms: terms, sent: sent}
}

// Resume makes a lease of a note. After a reboot it is expired: no container of
// before lives, and what the old clock said means nothing.
func Resume(clock Clock, boot string, terms wire.Terms, n Note) *Lease {
	l := New(clock, boot, terms, n.Sent)
	l.beat = n.Beat
	// A machine that does not tell its boots must not take an old clock for its own:
	// a moment that is still to come would put the fence off by as much.
	if n.Boot != boot || boot == "" || n.Sent > clock() {
		l.sent = clock() - time.Duration(terms.FenceMs)*time.Millisecond
	}
	return l
}

// Renew gives other terms, with the start of another container recorded by a
// call made at sent.
func (l *Lease) Renew(terms wire.Terms, sent time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.terms, l.sent = terms, max(l.sent, sent)
}

// Terms returns the present terms.
func (l *Lease) Terms() wire.Terms {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.terms
}

// Now returns the boot clock, to be taken before a call that Renew or New counts from.
func (l *Lease) Now() time.Duration { return l.clock() }

// Next returns the number of the next beat and the moment it is sent.
func (l *Lease) Next() (beat int64, sent time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beat++
	return l.beat, l.clock()
}

// Acknowledged notes that the beat sent at that moment was acknowledged, and
// reports whether it counts.
func (l *Lease) Acknowledged(sent time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clock()-sent > time.Duration(l.terms.AckWithinMs)*time.Millisecond {
		return false
	}
	l.sent = max(l.sent, sent)
	return true
}

// Silence returns for how long there has been no contact.
func (l *Lease) Silence() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clock() - l.sent
}

// Left returns in how much time the attempt has to be interrupted; zero or less
// means now.
func (l *Lease) Left() time.Duration {
	return time.Duration(l.Terms().FenceMs)*time.Millisecond - l.Silence()
}

// Note returns what to keep on disk.
func (l *Lease) Note() Note {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Note{Boot: l.boot, Beat: l.beat, Sent: l.sent}
}
