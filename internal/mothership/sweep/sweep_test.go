package sweep_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/blob"
	"github.com/spaceport-iac/spaceport/internal/mothership/lease/leasetest"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/mothership/sweep"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

var ctx = context.Background()

const (
	day  = 24 * time.Hour
	pass = 6 * time.Hour // between two sweeps
)

// world is a mothership with a worker and a run that has ended.
type world struct {
	*leasetest.World
	stack   stack.Stack
	worker  pool.WorkerIdentity
	ended   *runs.Run
	sweeper *sweep.Sweeper
}

func setup(t *testing.T) *world {
	t.Helper()
	w := &world{World: leasetest.New(t)}
	w.stack = w.Stack("web", nil)
	w.worker = w.Worker("01A")
	w.ended = w.Trigger(w.stack, run.Tracked)
	ref := w.Ref(w.ended)
	w.Start(w.worker, ref, run.Read, run.PhaseInit, "c")
	w.Report(w.worker, ref, run.PhasePlan, "c")
	w.End(w.worker, ref, wire.Outcome{Container: "c", Class: run.Read, Plan: &wire.Plan{}})
	w.sweeper = w.start()
	return w
}

func (w *world) start() *sweep.Sweeper {
	w.T.Helper()
	s, err := sweep.New(sweep.Options{DB: w.DB, Objects: w.Blob, Now: w.Clock.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.T.Fatal(err)
	}
	return s
}

// put stores an object that was written now, by the world's clock.
func (w *world) put(key string) string {
	w.T.Helper()
	if err := w.Blob.Put(ctx, key, bytes.NewReader([]byte("x"))); err != nil {
		w.T.Fatal(err)
	}
	w.touch(key)
	return key
}

func (w *world) touch(key string) {
	w.T.Helper()
	if err := os.Chtimes(filepath.Join(w.Dir, "objects", filepath.FromSlash(key)), time.Time{}, w.Clock.Now()); err != nil {
		w.T.Fatal(err)
	}
}

// after lets time pass and sweeps.
func (w *world) after(d time.Duration) {
	w.T.Helper()
	w.Clock.Advance(d)
	if err := w.sweeper.Sweep(ctx); err != nil {
		w.T.Fatal(err)
	}
}

func (w *world) want(when string, there bool, keys ...string) {
	w.T.Helper()
	for _, key := range keys {
		r, err := w.Blob.Get(ctx, key)
		if err == nil {
			_ = r.Close()
		} else if !errors.Is(err, blob.ErrNotFound) {
			w.T.Fatal(err)
		}
		if (err == nil) != there {
			w.T.Errorf("%s: %s is there: %v, want %v", when, key, err == nil, there)
		}
	}
}

func TestWhatNothingNamesGoesAfterADayAndTwoSweeps(t *testing.T) {
	t.Parallel()
	w := setup(t)
	orphans := []string{
		w.put("logs/" + w.ended.ID + "/1/3/0"), w.put("logs/01NORUN/1/3/0"),
		w.put("parked/" + w.stack.ID + "/" + w.ended.ID + "/01X"), w.put("parked/01NOSTACK/01NORUN/01X"),
	}
	w.after(day - time.Minute)
	w.after(2 * time.Minute)
	w.want("after a day and one sweep", true, orphans...)
	w.after(pass)
	w.want("after another sweep", false, orphans...)
}

func TestWhatARowNamesStays(t *testing.T) {
	t.Parallel()
	w := setup(t)
	named := map[string]string{
		w.put("logs/" + w.ended.ID + "/1/3/0"): `INSERT INTO run_log_chunk (run, state_version, log_offset, length, sha256, object) VALUES ($2, 3, 0, 1, '', $1)`,
		w.put("parked/" + w.stack.ID + "/" + w.ended.ID + "/01X"): `INSERT INTO parked (run, stack, sequence, attempt, object, statement, signature, digest, ciphertext, size, recipients, created_at)
			VALUES ($2, (SELECT stack FROM run WHERE id = $2), 7, 1, $1, '', '', '', '', 1, '[]', 0)`,
		w.put("parked/" + w.stack.ID + "/" + w.ended.ID + "/01Y"): `INSERT INTO upload (object, run, attempt) VALUES ($1, $2, 1)`,
	}
	for key, insert := range named {
		w.Exec(insert, key, w.ended.ID)
	}
	for range 4 {
		w.after(day)
	}
	w.want("days later", true, slices.Collect(maps.Keys(named))...)
	w.Exec(`UPDATE parked SET removed_at = 1`)
	w.after(pass)
	w.after(pass)
	w.want("once it counts as removed", false, "parked/"+w.stack.ID+"/"+w.ended.ID+"/01X")
}

func TestStatesAndStrangersFilesAreLeftAlone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	kept := []string{w.put("states/" + w.stack.ID + "/01X"), w.put("notes"), w.put("logs/notes"), w.put("parked/a/b/c/d")}
	for range 4 {
		w.after(day)
	}
	w.want("days later", true, kept...)
}

func TestWhatARunMayStillNameIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	next := w.Trigger(w.stack, run.Tracked)
	ref := w.Ref(next)
	w.Start(w.worker, ref, run.Read, run.PhaseInit, "d")
	uncommitted := w.put("logs/" + next.ID + "/1/4/0")
	for range 4 {
		w.after(day)
	}
	w.want("while its attempt lives", true, uncommitted)
	w.Report(w.worker, ref, run.PhasePlan, "d")
	w.End(w.worker, ref, wire.Outcome{Container: "d", Class: run.Read, Plan: &wire.Plan{}})
	w.after(pass)
	w.after(pass)
	w.want("on the day that its attempt ended", true, uncommitted)
	w.after(day)
	w.after(pass)
	w.want("a day after its attempt ended", false, uncommitted)
}

// A launcher may upload a chunk again while its URL is good.
func TestAnUploadBetweenTwoSweepsBeginsTheWaitAnew(t *testing.T) {
	t.Parallel()
	w := setup(t)
	key := w.put("logs/" + w.ended.ID + "/1/3/0")
	w.after(day)
	w.touch(key)
	w.after(pass)
	w.want("hours after it was uploaded again", true, key)
	w.after(day)
	w.want("after the first sweep that finds it old", true, key)
	w.after(pass)
	w.want("after the second", false, key)
}

func TestAWallClockThatIsSetRemovesNothingAtOnce(t *testing.T) {
	t.Parallel()
	w := setup(t)
	key := w.put("logs/" + w.ended.ID + "/1/3/0")
	w.after(pass)
	w.Clock.Jump(30 * day)
	w.after(0)
	w.want("at the first sweep after the jump", true, key)
	w.sweeper = w.start()
	w.after(0)
	w.want("at the first sweep of a new process", true, key)
	w.touch(key)
	w.Clock.Jump(30 * day)
	w.after(0)
	w.want("uploaded again just before a jump", true, key)
}

func TestSweepsGoOnByThemselvesUntilTheContextEnds(t *testing.T) {
	t.Parallel()
	w := setup(t)
	key := w.put("logs/" + w.ended.ID + "/1/3/0")
	w.Clock.Advance(2 * day)
	s, err := sweep.New(sweep.Options{DB: w.DB, Objects: w.Blob, Now: w.Clock.Now, Log: slog.New(slog.DiscardHandler), Every: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(running) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := w.Blob.Get(ctx, key)
		if errors.Is(err, blob.ErrNotFound) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		select {
		case err := <-ended:
			t.Fatalf("%s is still there, and sweeping ended with %v", key, err)
		case <-tick.C:
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("sweeping ended with %v", err)
	}
}
