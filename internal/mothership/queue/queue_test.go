package queue_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/lease/leasetest"
	"github.com/spaceport-iac/spaceport/internal/mothership/queue"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

var ctx = context.Background()

// give lets the queue look at the pool.
func give(w *leasetest.World) {
	w.T.Helper()
	err := w.DB.Write(ctx, func(tx *db.Tx) error { return w.Queue.Pool(ctx, tx, leasetest.Pool) })
	if err != nil {
		w.T.Fatal(err)
	}
}

func workerOf(w *leasetest.World, run string) string {
	w.T.Helper()
	var worker string
	w.Scan(`SELECT COALESCE((SELECT worker FROM attempt WHERE live AND run = '`+run+`'), '')`, &worker)
	return worker
}

func wantReasons(w *leasetest.World, run string, want ...string) {
	w.T.Helper()
	why, err := w.Runs.WhyWaiting(w.Ctx(), run)
	var codes []string
	for _, r := range why {
		codes = append(codes, r.Code)
	}
	if err != nil || !slices.Equal(codes, want) {
		w.T.Errorf("run %s waits because of %v, %v; want %v", run, codes, err, want)
	}
}

func TestWhyARunWaits(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	st := w.Stack("web", nil)
	first := w.Trigger(st, run.Tracked)
	w.WantState(first.ID, run.Ready)
	wantReasons(w, first.ID, "no_workers")
	second := w.Trigger(st, run.Tracked)
	w.WantState(second.ID, run.Queued)
	wantReasons(w, second.ID, "stack_busy")
	third := w.Task(st, false)
	wantReasons(w, third.ID, "stack_busy")

	w.Worker("01A")
	w.Exec(`UPDATE worker SET drained = TRUE`)
	give(w)
	wantReasons(w, first.ID, "all_drained")
	w.Exec(`UPDATE worker SET drained = FALSE, keys = '["sha256:old"]'`)
	w.Exec(`INSERT INTO state (id, stack, sequence, base, run, attempt, write_id, mode, object, digest, size, recipients, created_at)
		VALUES ('s', $1, 1, 0, 'r', 1, 'w', 'sealed', 'o', 'd', 1, '["sha256:pool"]', 1)`, st.ID)
	give(w)
	wantReasons(w, first.ID, "no_key")
	w.Exec(`UPDATE worker SET keys = '["sha256:old","sha256:pool"]'`)
	give(w)
	w.WantState(first.ID, run.Preparing)
	other := w.Trigger(w.Stack("api", nil), run.Tracked)
	wantReasons(w, other.ID, "no_free_worker")
	poolless := w.Trigger(w.Stack("cdn", func(in *stack.Input) { in.Pool = "" }), run.Proposed)
	w.WantState(poolless.ID, run.Queued)
	wantReasons(w, poolless.ID, "no_pool")
}

func TestTheNextRunOfAStackGoesOnWhenTheOneBeforeEnds(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	st := w.Stack("web", nil)
	first, second, third := w.Trigger(st, run.Tracked), w.Trigger(st, run.Tracked), w.Trigger(st, run.Tracked)
	if _, err := w.Runs.Discard(w.Ctx(), first.ID); err != nil {
		t.Fatal(err)
	}
	w.WantState(second.ID, run.Ready)
	w.WantState(third.ID, run.Queued)
}

func TestAWorkerThatIsTakenBackServesAnotherStackAtOnce(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	w.Worker("01A")
	first := w.Trigger(w.Stack("web", nil), run.Tracked)
	other := w.Trigger(w.Stack("api", nil), run.Tracked)
	w.WantState(other.ID, run.Ready)
	if _, err := w.Runs.Stop(w.Ctx(), first.ID, ""); err != nil {
		t.Fatal(err)
	}
	w.WantState(first.ID, run.Canceled)
	w.WantState(other.ID, run.Preparing)
}

func TestALockSendsAReadyRunBack(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	st := w.Stack("web", nil)
	r := w.Trigger(st, run.Tracked)
	w.Exec(`UPDATE stack SET locked_by = 'admin::bob' WHERE id = $1`, st.ID)
	look := func() {
		if err := w.DB.Write(ctx, func(tx *db.Tx) error { return w.Queue.Stack(ctx, tx, st.ID) }); err != nil {
			t.Fatal(err)
		}
	}
	look()
	w.WantState(r.ID, run.Queued)
	wantReasons(w, r.ID, "locked")
	w.Exec(`UPDATE stack SET locked_by = NULL WHERE id = $1`, st.ID)
	look()
	w.WantState(r.ID, run.Ready)
}

func TestTheOrderOfTheQueue(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	var runs []string
	add := func(name string, kind run.Type) string {
		r := w.Trigger(w.Stack(name, nil), kind)
		runs = append(runs, r.ID)
		w.Clock.Advance(time.Second)
		return r.ID
	}
	proposed := add("a", run.Proposed)
	tracked := add("b", run.Tracked)
	urgent := add("c", run.Proposed)
	if _, err := w.Runs.Prioritize(w.Ctx(), urgent, true); err != nil {
		t.Fatal(err)
	}
	w.Clock.Advance(31 * time.Minute)
	late := add("d", run.Tracked)
	if _, err := w.Runs.Prioritize(w.Ctx(), late, true); err != nil {
		t.Fatal(err)
	}
	// The late one is prioritised, but 31 min younger than all the others.
	want := []string{urgent, tracked, proposed, late}
	var got []string
	for i := range want {
		w.Worker(fmt.Sprintf("01W%d", i))
		give(w)
		for _, id := range runs {
			if w.Run(id).State == run.Preparing && !slices.Contains(got, id) {
				got = append(got, id)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("they went in the order %v, want %v", got, want)
	}
}

func TestAThousandRunsOfOneStackLeaveRoomForAnother(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	crowd := w.Stack("crowd", nil)
	for range 100 {
		w.Trigger(crowd, run.Proposed)
	}
	one := w.Trigger(w.Stack("one", nil), run.Proposed)
	w.Worker("01A")
	give(w)
	w.Worker("01B")
	give(w)
	w.WantState(one.ID, run.Preparing)
}

func TestTheNewestIdleWorkerIsTaken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		set  string
		want string
	}{
		{"when all are well", "", "01NEW"},
		{"but not one that is drained", "drained = TRUE", "01OLD"},
		{"but not one that is leaving", "leaving = TRUE", "01OLD"},
		{"but not one that is to go", "cycle = TRUE", "01OLD"},
		{"but not one that is unwell", "unwell = 'disk full'", "01OLD"},
		{"but not one that did not accept", "skipped = TRUE", "01OLD"},
		{"but not one that has gone", "gone_at = 1", "01OLD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := leasetest.New(t)
			w.Worker("01OLD")
			w.Clock.Advance(time.Second)
			w.Worker("01NEW")
			if c.set != "" {
				w.Exec(`UPDATE worker SET ` + c.set + ` WHERE id = '01NEW'`)
			}
			r := w.Trigger(w.Stack("web", nil), run.Tracked)
			if got := workerOf(w, r.ID); got != c.want {
				t.Errorf("the run went to %q, want %q", got, c.want)
			}
			if sent := w.Hints.Sent(); !slices.Equal(sent, []string{c.want}) {
				t.Errorf("hinted were %v", sent)
			}
		})
	}
}

func TestAWorkerThatCannotBeHintedGetsARunOnlyWhenItAsks(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	c := w.Worker("01A")
	w.Hints.Deafen("01A")
	r := w.Trigger(w.Stack("web", nil), run.Tracked)
	w.WantState(r.ID, run.Ready)
	orders, err := w.Lease.Orders(ctx, c, wire.OrdersRequest{Session: 1})
	if err != nil || orders.Assignment == nil || orders.Assignment.Run != r.ID {
		t.Fatalf("its orders are %+v, %v", orders, err)
	}
	if orders.AskAgainMs > 30_000 {
		t.Errorf("it is to ask again in %d ms, though nobody can tell it of work", orders.AskAgainMs)
	}
}

func TestManyWorkersAskForOneRunAndOneGetsIt(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	r := w.Trigger(w.Stack("web", nil), run.Tracked)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		many int
	)
	for i := range 20 {
		c := w.Worker(fmt.Sprintf("01W%02d", i))
		w.Hints.Deafen(c.Worker)
		wg.Go(func() {
			orders, err := w.Lease.Orders(ctx, c, wire.OrdersRequest{Session: 1})
			if err != nil {
				t.Error(err)
				return
			}
			if orders.Assignment == nil {
				return
			}
			mu.Lock()
			many++
			mu.Unlock()
			for range 2 { // two claims by the one that has it
				if _, err := w.Lease.Accept(ctx, c, orders.Assignment.AttemptRef, wire.AcceptRequest{Session: 1, Nonce: "n"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if many != 1 {
		t.Errorf("%d workers got the run", many)
	}
	if got := w.Run(r.ID); got.Attempt != 1 {
		t.Errorf("the run is in attempt %d", got.Attempt)
	}
}

func TestTheLoopSeesWhatNobodyTold(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	r := w.Trigger(w.Stack("web", nil), run.Tracked)
	w.Worker("01A") // its row appears without an event
	loop, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- w.Queue.Run(loop) }()
	w.Queue.Wake(leasetest.Pool)
	var last run.State
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if last = w.Run(r.ID).State; last == run.Preparing {
			break
		}
	}
	stop()
	if err := <-done; err != nil || last != run.Preparing {
		t.Errorf("the run is %s, the loop ended with %v", last, err)
	}
}

func BenchmarkTriggerToAssignment(b *testing.B) {
	w := leasetest.New(b)
	st := w.Stack("web", nil)
	for b.Loop() {
		b.StopTimer()
		w.Exec(`UPDATE run SET state = 'FINISHED'`)
		w.Exec(`UPDATE attempt SET live = FALSE`)
		w.Exec(`DELETE FROM attempt`)
		w.Exec(`DELETE FROM worker`)
		w.Worker("01A")
		b.StartTimer()
		if r := w.Task(st, true); r.State != run.Preparing {
			b.Fatalf("the run is %s", r.State)
		}
	}
}

func TestAWorkerWithAnOldKeyIsFoundBehindManyWithoutIt(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	w.Worker("01OLD")
	for i := range 40 {
		w.Clock.Advance(time.Second)
		w.Worker(fmt.Sprintf("01NEW%02d", i))
	}
	w.Exec(`UPDATE worker SET keys = '["sha256:new"]' WHERE id <> '01OLD'`)
	st := w.Stack("web", nil)
	w.Exec(`INSERT INTO state (id, stack, sequence, base, run, attempt, write_id, mode, object, digest, size, recipients, created_at)
		VALUES ('s', $1, 1, 0, 'r', 1, 'w', 'sealed', 'o', 'd', 1, '["sha256:pool"]', 1)`, st.ID)
	r := w.Trigger(st, run.Tracked)
	w.WantState(r.ID, run.Preparing)
	if got := workerOf(w, r.ID); got != "01OLD" {
		t.Errorf("the run was given to %s, which cannot open its state", got)
	}
}

func TestWhoLocksAStackDoesNotWaitForThoseWhomTheLockKeepsOut(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	st := w.Stack("web", nil)
	bobs := w.Trigger(st, run.Tracked)
	w.Exec(`UPDATE run SET triggered_by = 'admin::bob' WHERE id = $1`, bobs.ID)
	if _, err := w.Stacks.Lock(w.Ctx(), st.Slug, "looking"); err != nil {
		t.Fatal(err)
	}
	if err := w.DB.Write(ctx, func(tx *db.Tx) error { return w.Queue.Stack(ctx, tx, st.ID) }); err != nil {
		t.Fatal(err)
	}
	w.WantState(bobs.ID, run.Queued)
	anns := w.Trigger(st, run.Tracked)
	w.WantState(anns.ID, run.Ready)
	second := w.Trigger(st, run.Tracked)
	if why, err := w.Runs.WhyWaiting(w.Ctx(), second.ID); err != nil || len(why) != 1 || why[0].Run != anns.ID {
		t.Errorf("the owner's second run waits because of %+v, %v; want the first", why, err)
	}
	if _, err := w.Runs.Discard(w.Ctx(), anns.ID); err != nil {
		t.Fatal(err)
	}
	w.WantState(second.ID, run.Ready)
	wantReasons(w, bobs.ID, "locked", "stack_busy")
}

func TestWorkersThatAreSilentAreNotCalledBusy(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	online := map[string]bool{"01A": true}
	q, err := queue.New(queue.Options{
		DB: w.DB, Mover: w.Mover, Events: w.Events, Hints: w.Hints, Now: w.Clock.Now, Log: slog.New(slog.DiscardHandler),
		Online: func(worker string) bool { return online[worker] },
	})
	if err != nil {
		t.Fatal(err)
	}
	r := w.Trigger(w.Stack("web", nil), run.Tracked)
	w.Worker("01A")
	w.Worker("01B")
	w.Exec(`UPDATE worker SET drained = TRUE WHERE id = '01A'`)
	for _, c := range []struct{ now, want string }{{"01A", "all_drained"}, {"01B", "no_free_worker"}, {"", "no_workers"}} {
		clear(online)
		online[c.now] = true
		if why, err := q.Reasons(ctx, w.DB.Read(), r); err != nil || len(why) != 1 || why[0].Code != c.want {
			t.Errorf("with %q online alone the reasons are %+v, %v; want %s", c.now, why, err, c.want)
		}
	}
}
