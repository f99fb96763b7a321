package attempt

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/launcher/lease"
	"github.com/spaceport-iac/spaceport/internal/launcher/logship"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// shipper is one whose destinations cannot be reached.
func shipper(t *testing.T) *logship.Shipper {
	t.Helper()
	gone := errors.New("nobody is there")
	s, err := logship.New(logship.Options{
		Put:    func(context.Context, string, []byte) error { return gone },
		Commit: func(context.Context, wire.LogUpdate) (wire.LogsAnswer, error) { return wire.LogsAnswer{}, gone },
		Log:    slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The second container of an attempt has a lease that goes on, and a record of its
// own. A launcher that comes after must count from the start that was recorded for
// this one, and send no beat twice.
func TestTheLeaseOfASecondContainerIsNotedFromItsRelease(t *testing.T) {
	t.Parallel()
	ta, d, _ := held(t, &deaf{})
	now := time.Hour
	ta.o.Clock, ta.o.Boot, ta.o.Now = func() time.Duration { return now }, "b", time.Now
	ta.ship, ta.beating = shipper(t), true
	if err := ta.ship.Begin(4, logship.Place{}); err != nil {
		t.Fatal(err)
	}
	ta.version = 4
	terms := wire.Terms{BeatMs: 10_000, AckWithinMs: 10_000, FenceMs: 300_000, GraceMs: 1000}
	ta.lease = lease.New(ta.o.Clock, "b", terms, now)
	for range 3 {
		ta.lease.Next()
	}
	now += 2 * time.Minute // the first container's last contact was long ago
	sent := now
	now += time.Second
	rec := &Record{V: 1, Container: d.ID(), Step: Preparing}
	p := &prepared{dir: d, rec: rec, worker: wire.WorkerJob{Phases: []wire.WorkerPhase{{Phase: "apply"}}}}
	if err := ta.release(t.Context(), p, &begun{start: &wire.StartingAnswer{Terms: terms, StateVersion: 4}, sent: sent}); err != nil {
		t.Fatal(err)
	}
	noted, err := Load(filepath.Dir(d.Path()), d.ID())
	if err != nil {
		t.Fatal(err)
	}
	if want := (lease.Note{Boot: "b", Beat: 3, Sent: sent}); noted.Lease != want {
		t.Errorf("noted %+v, want %+v", noted.Lease, want)
	}
	if got, err := readLease(d, noted); err != nil || got != noted.Lease {
		t.Errorf("a launcher that comes after reads %+v, %v", got, err)
	}
	if noted.Released != now || noted.Boot != "b" || noted.Step != Released || !d.HandedOut() {
		t.Errorf("noted %+v", noted)
	}
}

// A container that writes byte by byte must not fill the memory with places from
// which its log could be read again.
func TestALogThatIsWrittenByteByByteLeavesFewMarks(t *testing.T) {
	t.Parallel()
	ta, d, rec := held(t, &deaf{})
	ta.ship = shipper(t)
	if err := ta.ship.Begin(4, logship.Place{}); err != nil {
		t.Fatal(err)
	}
	ta.version = 4
	w := &watcher{t: ta, dir: d, rec: rec, log: d.LogReader(rundir.LogPosition{})}
	t.Cleanup(func() { _ = w.log.Close() })
	const bytes = 64 << 10
	w.mark()
	for range bytes {
		if err := ta.ship.Write(t.Context(), 4, []byte("x")); err != nil {
			t.Fatal(err)
		}
		w.mark()
	}
	if n := len(ta.marks); n < 2 || n > bytes/markEvery+1 {
		t.Errorf("%d marks of %d bytes", n, bytes)
	}
}

// How long a container may go on is counted since its release, by the boot clock: a
// launcher that is started again gives it no time anew.
func TestTheTimeLimitOfAnAdoptedContainerIsCountedFromItsRelease(t *testing.T) {
	t.Parallel()
	ta, d, rec := held(t, &deaf{})
	ta.o.Settings = settings(t)
	ta.o.Clock, ta.o.Boot = func() time.Duration { return 10 * time.Hour }, "b"
	rec.Boot, rec.Terms.GraceMs = "b", 60_000
	w := &watcher{t: ta, dir: d, rec: rec}
	whole := ta.o.Settings.RunTimeout + time.Minute + 2*time.Minute
	for age, want := range map[time.Duration]time.Duration{0: whole, 10 * time.Minute: whole - 10*time.Minute} {
		rec.Released = 10*time.Hour - age
		if got := w.remaining(); got != want {
			t.Errorf("after %s: %s remain, want %s", age, got, want)
		}
	}
	rec.Released = 10*time.Hour - whole - time.Hour
	if got := w.remaining(); got <= 0 || got > time.Second {
		t.Errorf("beyond its time %s remain", got)
	}
}
