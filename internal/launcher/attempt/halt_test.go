package attempt

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// deaf is a backend whose engine does not obey at first.
type deaf struct {
	container.Backend
	mu      sync.Mutex
	refuses int // kills
	kills   []time.Time
	signals []syscall.Signal
}

func (d *deaf) Kill(context.Context, string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kills = append(d.kills, time.Now())
	if len(d.kills) <= d.refuses {
		return errors.New("the engine hangs")
	}
	return nil
}

func (d *deaf) Signal(_ context.Context, _ string, s syscall.Signal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.signals = append(d.signals, s)
	return nil
}

func (d *deaf) Remove(context.Context, string) error { return nil }

func (d *deaf) Capabilities() container.Capabilities { return container.Capabilities{} }

func (d *deaf) saw() (kills []time.Time, signals []syscall.Signal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append(kills, d.kills...), append(signals, d.signals...)
}

// held is a task that holds a released container whose grace is a minute.
func held(t *testing.T, b container.Backend) (*task, *rundir.Dir, *Record) {
	t.Helper()
	d, err := rundir.Create(t.TempDir(), "01HZZZZZZZZZZZZZZZZZZZZZZZ", rundir.Options{UID: os.Getuid(), GID: os.Getgid()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	begin := time.Now()
	ta := &task{
		o:       Options{Backend: b, Clock: func() time.Duration { return time.Since(begin) }},
		log:     slog.New(slog.DiscardHandler),
		ordered: make(chan struct{}, 1),
	}
	rec := &Record{Container: d.ID(), Step: Released, Terms: wire.Terms{GraceMs: 60_000}}
	ta.hold(d, rec)
	return ta, d, rec
}

func stopFile(t *testing.T, d *rundir.Dir) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(d.In(), wire.InStop))
	if err != nil {
		return ""
	}
	return string(data)
}

func TestAContainerThatShouldHaveEndedIsKilledUntilTheEngineObeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		backend := &deaf{refuses: 3}
		ta, d, rec := held(t, backend)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { ta.halting(ctx, d, rec) })
		begin := time.Now()
		ta.stop(false, "somebody said so")
		synctest.Wait()
		if got := stopFile(t, d); got != "interrupt somebody said so" {
			t.Fatalf("the worker is told %q", got)
		}
		time.Sleep(64 * time.Second) // of the fake clock: grace and margin are 65 s
		if kills, _ := backend.saw(); len(kills) != 0 {
			t.Fatalf("it was killed after %v, within its grace", kills[0].Sub(begin))
		}
		time.Sleep(10 * time.Second)
		if kills, _ := backend.saw(); len(kills) < 4 {
			t.Fatalf("it was killed %d times, and the engine obeys at the fourth", len(kills))
		}
		cancel()
		wg.Wait()
	})
}

func TestAKillIsTheLastWord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		backend := &deaf{}
		ta, d, rec := held(t, backend)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { ta.halting(ctx, d, rec) })
		begin := time.Now()
		ta.order(false, "first", ta.patience(rec, false))
		ta.order(true, "second", ta.patience(rec, true))
		ta.order(false, "third", ta.patience(rec, false))
		time.Sleep(6 * time.Second) // of the fake clock: a kill has 5 s
		if got := stopFile(t, d); !strings.HasPrefix(got, "kill ") {
			t.Errorf("the worker is told %q", got)
		}
		if kills, _ := backend.saw(); len(kills) == 0 || kills[0].Sub(begin) > 5*time.Second {
			t.Errorf("killed at %v", kills)
		}
		cancel()
		wg.Wait()
	})
}

// As on a full disk: without a word the tool would be killed at the end of a grace
// that it never heard of.
func TestAnOrderThatCannotBeWrittenIsASignal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		backend := &deaf{}
		ta, d, rec := held(t, backend)
		if err := os.RemoveAll(d.In()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { ta.halting(ctx, d, rec) })
		ta.stop(false, "somebody said so")
		time.Sleep(time.Second) // of the fake clock
		if _, signals := backend.saw(); len(signals) != 1 || signals[0] != syscall.SIGTERM {
			t.Errorf("signals %v", signals)
		}
		cancel()
		wg.Wait()
	})
}

func TestTheAgeOfAContainerDoesNotFollowTheWallClock(t *testing.T) {
	t.Parallel()
	r := Record{Boot: "b", Released: time.Hour}
	for _, c := range []struct {
		boot string
		now  time.Duration
		want time.Duration
	}{{"b", 90 * time.Minute, 30 * time.Minute}, {"b", 30 * time.Minute, 0}, {"other", 90 * time.Minute, 0}, {"", 90 * time.Minute, 0}} {
		if got := r.age(c.boot, c.now); got != c.want {
			t.Errorf("boot %q at %v: got %v, want %v", c.boot, c.now, got, c.want)
		}
	}
}
