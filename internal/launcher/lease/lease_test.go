package lease

import (
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

var terms = wire.Terms{BeatMs: 10_000, AckWithinMs: 10_000, FenceMs: 300_000, GraceMs: 600_000}

type clock struct{ now time.Duration }

func (c *clock) read() time.Duration { return c.now }

func TestSilenceCountsFromTheSendingOfTheLastAcknowledgedBeat(t *testing.T) {
	t.Parallel()
	c := &clock{now: time.Hour}
	l := New(c.read, "b", terms, c.now)
	c.now += 10 * time.Second
	n, sent := l.Next()
	c.now += 9 * time.Second
	if n != 1 || !l.Acknowledged(sent) || l.Silence() != 9*time.Second {
		t.Fatalf("beat %d, silence %s", n, l.Silence())
	}
	if l.Left() != 291*time.Second {
		t.Fatalf("left %s", l.Left())
	}
}

func TestALateAcknowledgementCountsForNothing(t *testing.T) {
	t.Parallel()
	c := &clock{now: time.Hour}
	l := New(c.read, "b", terms, c.now)
	_, sent := l.Next()
	c.now += 11 * time.Second
	if l.Acknowledged(sent) || l.Silence() != 11*time.Second {
		t.Fatalf("silence %s", l.Silence())
	}
	c.now += 289 * time.Second
	if l.Left() > 0 {
		t.Fatalf("left %s, want none", l.Left())
	}
}

func TestARestartedLauncherGoesOnCounting(t *testing.T) {
	t.Parallel()
	c := &clock{now: time.Hour}
	l := New(c.read, "b", terms, c.now)
	_, sent := l.Next()
	l.Acknowledged(sent)
	note := l.Note()
	c.now += 4 * time.Minute
	again := Resume(c.read, "b", terms, note)
	if again.Left() != time.Minute {
		t.Fatalf("left %s", again.Left())
	}
	if n, _ := again.Next(); n != 2 {
		t.Fatalf("beat %d", n)
	}
	c.now = time.Second // another boot
	if left := Resume(c.read, "c", terms, note).Left(); left > 0 {
		t.Fatalf("after a reboot %s are left", left)
	}
	// A machine that does not tell its boots may have been started anew each time.
	for _, boot := range []string{"", "b"} {
		note.Boot = boot
		if left := Resume(c.read, boot, terms, note).Left(); left > 0 {
			t.Fatalf("with boot %q and a note of the future %s are left", boot, left)
		}
	}
}

func TestAnEarlierCallNeverMovesTheLeaseBack(t *testing.T) {
	t.Parallel()
	c := &clock{now: time.Hour}
	l := New(c.read, "b", terms, c.now)
	l.Renew(wire.Terms{FenceMs: 1000, AckWithinMs: 1}, c.now-time.Minute)
	if l.Left() != time.Second {
		t.Fatalf("left %s", l.Left())
	}
}
