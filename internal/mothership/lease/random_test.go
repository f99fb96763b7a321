package lease_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/lease/leasetest"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// chaos does at random what people, launchers, time and restarts do.
type chaos struct {
	watcher
	r       *rand.Rand
	stacks  []stack.Stack
	workers []pool.WorkerIdentity
	runs    []string
	attempt map[string]*launcher // by run: what its newest launcher knows
	last    string               // what was done last, for messages
}

// launcher is the least that a launcher knows of its attempt.
type launcher struct {
	c         pool.WorkerIdentity
	ref       wire.AttemptRef
	class     run.Class
	container string
	beats     int64
	park      *wire.ParkOrder
}

func TestWhateverHappensTheQueueAndTheAttemptsStayTrue(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("with seed %d", seed), func(t *testing.T) {
			t.Parallel()
			w := leasetest.New(t)
			c := &chaos{watcher: watch(w), r: rand.New(rand.NewPCG(seed, 1)), attempt: map[string]*launcher{}}
			for i := range 3 {
				c.stacks = append(c.stacks, w.Stack(fmt.Sprintf("s%d", i), func(in *stack.Input) { in.Settings.Autodeploy = i == 0 }))
			}
			for range 80 {
				c.step()
				c.check()
				if t.Failed() {
					t.Fatalf("after: %s", c.last)
				}
			}
		})
	}
}

func pick[T any](c *chaos, from []T) T { return from[c.r.IntN(len(from))] }

// step does one thing. What the mothership refuses with a reason is fine; any
// other error is not.
func (c *chaos) step() {
	c.T.Helper()
	steps := []struct {
		name string
		do   func() error
	}{
		{"trigger", c.trigger},
		{"trigger", c.trigger},
		{"worker", c.newWorker},
		{"orders", c.orders},
		{"launcher", c.launch},
		{"launcher", c.launch},
		{"launcher", c.launch},
		{"launcher", c.launch},
		{"launcher", c.launch},
		{"launcher", c.launch},
		{"launcher", c.launch},
		{"launcher", c.launch},
		{"launcher", c.launch},
		{"person", c.person},
		{"person", c.person},
		{"drain", c.drain},
		{"time", c.time},
		{"restart", c.restart},
	}
	s := pick(c, steps)
	c.last = s.name
	err := s.do()
	if f := fault.As(err); err != nil && (f == nil || f.Kind == fault.Internal) {
		c.T.Errorf("%s: %v", c.last, err)
	}
}

func (c *chaos) trigger() error {
	st := pick(c, c.stacks)
	var (
		r   *runs.Run
		err error
	)
	switch c.r.IntN(3) {
	case 0:
		r, err = c.Runs.Trigger(c.Ctx(), runs.TriggerInput{Stack: st.Slug, Type: run.Proposed})
	case 1:
		r, err = c.Runs.Trigger(c.Ctx(), runs.TriggerInput{Stack: st.Slug, Type: run.Tracked})
	default:
		r, err = c.Runs.CreateTask(c.Ctx(), runs.TaskInput{Stack: st.Slug, Command: "x", SkipInit: c.r.IntN(2) == 0})
	}
	if err == nil {
		c.runs = append(c.runs, r.ID)
	}
	return err
}

func (c *chaos) newWorker() error {
	if len(c.workers) < 4 {
		c.workers = append(c.workers, c.Worker(fmt.Sprintf("01W%d", len(c.workers))))
	}
	return c.look()
}

func (c *chaos) look() error {
	return c.DB.Write(ctx, func(tx *db.Tx) error { return c.Queue.Pool(ctx, tx, leasetest.Pool) })
}

func (c *chaos) orders() error {
	if len(c.workers) == 0 {
		return nil
	}
	_, err := c.Lease.Orders(ctx, pick(c, c.workers), wire.OrdersRequest{Session: 1, Hints: true})
	if err != nil {
		return err
	}
	return c.look() // as the event of a worker that spoke does
}

func (c *chaos) drain() error {
	if len(c.workers) == 0 {
		return nil
	}
	if _, err := c.Pools.Drain(c.Ctx(), leasetest.Pool, pick(c, c.workers).Worker, c.r.IntN(2) == 0); err != nil {
		return err
	}
	return c.look()
}

func (c *chaos) time() error {
	c.pass(pick(c, []time.Duration{1, 1, 2, 5, 50})*time.Second, nil)
	return nil
}

func (c *chaos) restart() error {
	c.Open()
	c.w = c.Lease.NewWatcher(func() bool { return true })
	return nil
}

func (c *chaos) person() error {
	if len(c.runs) == 0 {
		return nil
	}
	id := pick(c, c.runs)
	var err error
	switch c.r.IntN(12) {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		_, err = c.Runs.Confirm(c.Ctx(), id, "")
	case 8:
		_, err = c.Runs.Discard(c.Ctx(), id)
	case 9:
		_, err = c.Runs.Cancel(c.Ctx(), id)
	case 10:
		_, err = c.Runs.Stop(c.Ctx(), id, "")
	default:
		_, err = c.Runs.Prioritize(c.Ctx(), id, c.r.IntN(2) == 0)
	}
	return err
}

// launch lets the launcher of some run do what it would do next, or go wrong.
func (c *chaos) launch() error {
	if len(c.runs) == 0 {
		return nil
	}
	id := pick(c, c.runs)
	if c.r.IntN(8) > 0 { // mostly of a run that is under way
		var live string
		c.Scan(fmt.Sprintf(`SELECT COALESCE((SELECT run FROM attempt WHERE live ORDER BY (assigned_at * %d) %% 7919 LIMIT 1), '')`, 1+c.r.IntN(1000)), &live)
		if live != "" {
			id = live
		}
	}
	l := c.attempt[id]
	r := c.Run(id)
	if r.State.OnWorker() && (l == nil || l.ref.Attempt != r.Attempt) {
		var worker string
		c.Scan(`SELECT worker FROM attempt WHERE live AND run = '`+id+`'`, &worker)
		l = &launcher{c: pool.WorkerIdentity{Pool: leasetest.Pool, Worker: worker, Session: 1}, ref: wire.AttemptRef{Run: id, Attempt: r.Attempt}, class: run.Read}
		if r.State == run.PreparingApply || (r.Type == run.Task && r.SkipInit) {
			l.class = run.Write
		}
		c.attempt[id] = l
		c.last = "accept"
		_, err := c.Lease.Accept(ctx, l.c, l.ref, wire.AcceptRequest{Session: 1, Nonce: "n", Class: l.class})
		return err
	}
	if l == nil {
		return nil
	}
	if c.r.IntN(20) == 0 {
		c.last = "gone"
		_, err := c.Lease.Gone(ctx, l.c, l.ref, wire.GoneRequest{Session: 1, Delivered: c.r.IntN(2) == 0})
		return err
	}
	return c.goOn(l, r)
}

func (c *chaos) goOn(l *launcher, r *runs.Run) error {
	switch {
	case l.park != nil && c.r.IntN(2) == 0:
		c.last = "parked"
		_, err := c.Lease.Parked(ctx, l.c, l.ref, c.Parked(l.ref, r.Stack, l.park))
		return err
	case l.container == "":
		c.last = "starting"
		phase := run.Share(run.Phases(r.Type, r.SkipInit), l.class)[0]
		_, err := c.Lease.Starting(ctx, l.c, l.ref, wire.StartingRequest{Session: 1, Container: "c1", Class: l.class, Phase: phase})
		if err == nil {
			l.container = "c1"
		}
		return err
	case r.State == run.Initializing && r.Type != run.Task && c.r.IntN(2) == 0:
		c.last = "report"
		_, err := c.Lease.Report(ctx, l.c, l.ref, wire.ReportRequest{Container: l.container, Phase: run.PhasePlan})
		return err
	case c.r.IntN(2) == 0:
		c.last = "beat"
		l.beats++
		_, err := c.Lease.Beat(ctx, l.c, l.ref, wire.BeatRequest{Beat: l.beats})
		return err
	}
	c.last = "outcome"
	result := pick(c, []wire.Result{wire.ResultOK, wire.ResultOK, wire.ResultOK, wire.ResultFailed, wire.ResultStopped, wire.ResultFenced})
	o := wire.Outcome{Session: 1, Container: l.container, Class: l.class, Result: result, NextContainer: "c2", Nonce: "n"}
	if r.State == run.Planning {
		o.Plan = leasetest.Plan()
	}
	if r.State.OnWorker() {
		o.Logs = c.Closed(r.ID)
	}
	d, err := c.Lease.Outcome(ctx, l.c, l.ref, o)
	if err == nil && d.Next == wire.NextJob {
		l.class, l.container = run.Write, "c2"
	}
	if err == nil && d.Next == wire.NextPark {
		l.park = d.Park
	}
	return err
}

// broken are questions to the database whose answer must be none.
var broken = map[string]string{
	"a run is on a worker without a live attempt, or has one without being there": `SELECT id || ' ' || state FROM run WHERE (state IN ('PREPARING', 'INITIALIZING',
		'PLANNING', 'PREPARING_REPLAN', 'PREPARING_APPLY', 'APPLYING', 'PERFORMING', 'DESTROYING')) <> EXISTS (SELECT 1 FROM attempt a WHERE a.run = run.id AND a.live)`,
	"two blocking runs have one stack": `SELECT stack FROM run WHERE blocking AND state NOT IN ('QUEUED', 'FINISHED', 'FAILED', 'DISCARDED', 'CANCELED', 'STOPPED', 'SKIPPED')
		GROUP BY stack HAVING COUNT(*) > 1`,
	"a run waits though a worker is free": `SELECT r.id || ' ' || w.id FROM run r JOIN worker w ON w.pool = r.pool WHERE r.state IN ('READY', 'CONFIRMED')
		AND NOT w.drained AND NOT w.skipped AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.worker = w.id AND a.live)`,
	"a run wrote twice": `SELECT run FROM attempt WHERE wrote GROUP BY run HAVING COUNT(*) > 1`,
	"a writer has no lock": `SELECT run FROM attempt a WHERE live AND wrote AND NOT EXISTS
		(SELECT 1 FROM state_lock l WHERE l.run = a.run AND l.attempt = a.attempt AND l.quarantined_at IS NULL)`,
	"a lock has no writer": `SELECT run FROM state_lock l WHERE quarantined_at IS NULL AND NOT EXISTS
		(SELECT 1 FROM attempt a WHERE a.run = l.run AND a.attempt = l.attempt AND a.live AND a.wrote)`,
	"a history has a gap": `SELECT id FROM run WHERE state_version <> (SELECT COUNT(*) FROM run_history h WHERE h.run = run.id)`,
	"a run that waits for a person has no workspace": `SELECT id FROM run WHERE state IN ('UNCONFIRMED', 'CONFIRMED') AND NOT EXISTS
		(SELECT 1 FROM parked p WHERE p.run = run.id AND p.removed_at IS NULL)`,
	"a run is queued though its stack is free": `SELECT id FROM run r WHERE state = 'QUEUED' AND NOT EXISTS (SELECT 1 FROM state_lock l WHERE l.stack = r.stack)
		AND NOT EXISTS (SELECT 1 FROM run o WHERE o.stack = r.stack AND o.id <> r.id AND o.blocking
		AND o.state NOT IN ('QUEUED', 'FINISHED', 'FAILED', 'DISCARDED', 'CANCELED', 'STOPPED', 'SKIPPED'))`,
}

func (c *chaos) check() {
	c.T.Helper()
	for what, question := range broken {
		var answer string
		c.Scan(`SELECT COALESCE((`+question+` LIMIT 1), '')`, &answer)
		if answer != "" {
			c.T.Errorf("%s: %s", what, answer)
		}
	}
}
