package pool_test

import (
	"context"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
)

func TestDrainIsAnsweredWithWhatTheWorkerDoesThen(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	a := newLauncher(t, c, p.Token).register(t, w)
	check := func(got pool.Worker, err error, status pool.Status, busy, drained, draining bool) {
		t.Helper()
		if err != nil || got.Status != status || got.Busy != busy || got.Drained != drained || got.Draining != draining {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	got, err := w.Drain(admin(), p.ID, a.Worker, true)
	check(got, err, pool.Drained, false, true, false)
	if !w.heard(pool.EventWorkerChanged, a.Worker) {
		t.Error("the launcher was not told")
	}
	got, err = w.Drain(admin(), p.ID, a.Worker, false)
	check(got, err, pool.Idle, false, false, false)
	run := w.hold(t, p.ID, a.Worker, "read")
	got, err = w.Drain(admin(), p.ID, a.Worker, true)
	check(got, err, pool.Busy, true, true, true)
	if got.Run == nil || got.Run.Run != run {
		t.Errorf("run is %+v", got.Run)
	}
	w.exec(t, `UPDATE attempt SET live = FALSE`)
	check(w.worker(t, a.Worker), nil, pool.Drained, false, true, false)
	other := w.create(t, c, "other")
	if _, err := w.Drain(admin(), other.ID, a.Worker, false); !fault.Is(err, fault.NotFound) {
		t.Errorf("by another pool: %v", err)
	}
}

func TestADrainedWorkerStaysDrainedWhenItComesBack(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	l := newLauncher(t, c, p.Token)
	a := l.register(t, w)
	if _, err := w.Drain(admin(), p.ID, a.Worker, true); err != nil {
		t.Fatal(err)
	}
	if err := w.Cycle(admin(), p.ID); err != nil {
		t.Fatal(err)
	}
	if !w.worker(t, a.Worker).Cycle {
		t.Error("it was not asked to leave")
	}
	w.hold(t, p.ID, a.Worker, "read")
	l.newSession(t, 2)
	l.register(t, w)
	got := w.worker(t, a.Worker)
	if !got.Drained || got.Cycle || got.AvailableAt != nil {
		t.Errorf("got %+v", got)
	}
}

func TestALaunchersReportIsWrittenOnlyWhenItChanges(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	a := newLauncher(t, c, p.Token).register(t, w)
	id, err := w.Authenticate(context.Background(), a.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	spoke := func(r pool.Report) pool.Desired {
		t.Helper()
		w.heard("", "")
		want, err := w.Spoke(context.Background(), id, r)
		if err != nil {
			t.Fatal(err)
		}
		return want
	}
	w.exec(t, `UPDATE worker SET skipped = TRUE`)
	spoke(pool.Report{})
	if !w.heard(pool.EventWorkerChanged, a.Worker) || w.count(t, `SELECT COUNT(*) FROM worker WHERE skipped`) != 0 {
		t.Error("a worker that speaks again is still skipped")
	}
	spoke(pool.Report{Hints: true, Unwell: "the disk is full"})
	if got := w.worker(t, a.Worker); !got.Hints || got.Unwell != "the disk is full" || !w.heard(pool.EventWorkerChanged, a.Worker) {
		t.Errorf("got %+v", got)
	}
	before := w.count(t, `SELECT COUNT(*) FROM event`)
	spoke(pool.Report{Hints: true, Unwell: "the disk is full"})
	if w.count(t, `SELECT COUNT(*) FROM event`) != before {
		t.Error("the same report was written again")
	}
	if _, err := w.Drain(admin(), p.ID, a.Worker, true); err != nil {
		t.Fatal(err)
	}
	if err := w.Cycle(admin(), p.ID); err != nil {
		t.Fatal(err)
	}
	if want := spoke(pool.Report{}); !want.Drain || !want.Cycle {
		t.Errorf("got %+v", want)
	}
}

func TestASilentWorkerIsListedNoMore(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	a := newLauncher(t, c, p.Token).register(t, w)
	listed := func() int {
		t.Helper()
		all, err := w.Workers(admin(), p.ID, false)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	w.tick(t, 75*time.Second)
	if listed() != 1 || !w.Online(a.Worker) {
		t.Error("unlisted within its term")
	}
	w.Seen(a.Worker)
	w.tick(t, 75*time.Second)
	if listed() != 1 {
		t.Error("a sign of life counted for nothing")
	}
	w.tick(t, time.Second)
	if listed() != 0 || w.Online(a.Worker) {
		t.Error("listed after a term of silence")
	}
	if all, err := w.Workers(admin(), p.ID, true); err != nil || len(all) != 1 || all[0].Online {
		t.Errorf("in our own list: %+v, %v", all, err)
	}
	run := w.hold(t, p.ID, a.Worker, "write")
	if listed() != 1 || w.worker(t, a.Worker).Status != pool.Busy {
		t.Error("an autoscaler would kill a machine that is applying")
	}
	// Lost while writing: the attempt is no longer live, its container may be.
	w.exec(t, `INSERT INTO state_lock (stack, run, attempt, held_at, quarantined_at) SELECT stack, run, attempt, 1, 2 FROM attempt WHERE run = $1`, run)
	w.exec(t, `UPDATE attempt SET live = FALSE`)
	if listed() != 1 || w.worker(t, a.Worker).Status != pool.Busy {
		t.Error("a worker in quarantine is not listed as busy")
	}
	w.exec(t, `DELETE FROM state_lock`)
	if listed() != 0 {
		t.Error("listed after the quarantine has ended")
	}
	w.Seen(a.Worker)
	if listed() != 1 {
		t.Error("not listed though it has been heard of again")
	}
}

// tick lets time pass as a running process sees it, a second at a time.
func (w *world) tick(t *testing.T, d time.Duration) {
	t.Helper()
	for ; d > 0; d -= time.Second {
		w.wait(min(d, time.Second))
		if err := w.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAfterAStartNobodyIsUnlistedForATerm(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	dead := newLauncher(t, c, p.Token).register(t, w)
	w.tick(t, time.Hour)
	alive := newLauncher(t, c, p.Token).register(t, w)
	w.wait(time.Hour) // the mothership is down
	w.restart(t)
	if !w.Online(alive.Worker) {
		t.Error("unlisted for the mothership's own silence")
	}
	if w.Online(dead.Worker) {
		t.Error("a worker that had been gone before was listed again")
	}
	w.tick(t, 74*time.Second)
	if !w.Online(alive.Worker) {
		t.Error("unlisted before a full term")
	}
	w.tick(t, time.Minute)
	if w.Online(alive.Worker) {
		t.Error("listed for ever")
	}
}

func TestAProcessThatStoodStillUnlistsNobodyForThat(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	a := newLauncher(t, c, p.Token).register(t, w)
	w.tick(t, 10*time.Second)
	w.wait(time.Hour)
	w.tick(t, time.Second)
	if !w.Online(a.Worker) {
		t.Error("unlisted")
	}
}

func TestPresenceIsWrittenSeldomAndForAllAtOnce(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	var workers []string
	for range 3 {
		workers = append(workers, newLauncher(t, c, p.Token).register(t, w).Worker)
	}
	stored := func() int {
		return w.count(t, `SELECT COUNT(*) FROM worker WHERE seen_at >= $1`, w.clock().UnixMicro())
	}
	w.tick(t, 30*time.Second)
	for _, id := range workers {
		w.Seen(id)
	}
	if err := w.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := stored(); n != 0 {
		t.Errorf("%d rows written that were not half stale", n)
	}
	w.tick(t, 10*time.Second)
	for _, id := range workers {
		w.Seen(id)
	}
	if err := w.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := stored(); n != 3 {
		t.Errorf("%d of 3 rows written", n)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
