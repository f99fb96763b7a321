package run_test

import (
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/run"
)

// expected is the state machine as the specification has it, written by hand from
// the table of states, the users' actions and the recorded additions; s is the
// scheduler, w the worker, u a person. A pair that is not here does not exist.
const expected = `
QUEUED            READY             s    nothing blocks it
QUEUED            DISCARDED         u
QUEUED            CANCELED          u
QUEUED            FAILED            su   a review rejects it, a dependency failed
QUEUED            SKIPPED           s    upstream did not change
READY             QUEUED            s    a blocker came back
READY             PREPARING         s    given to a worker
READY             DISCARDED         u
READY             CANCELED          u
READY             FAILED            s
PREPARING         READY             s    not accepted, or lost
PREPARING         INITIALIZING      w
PREPARING         PLANNING          w    init is skipped
PREPARING         PERFORMING        w    init is skipped
PREPARING         FAILED            sw
INITIALIZING      READY             s    lost
INITIALIZING      PLANNING          w
INITIALIZING      PERFORMING        w
INITIALIZING      DESTROYING        w
INITIALIZING      STOPPED           sw
INITIALIZING      FAILED            sw
PLANNING          READY             s    lost
PLANNING          FINISHED          w    proposed, or nothing to change
PLANNING          PENDING_REVIEW    w
PLANNING          UNCONFIRMED       w
PLANNING          APPLYING          w    autodeploy
PLANNING          STOPPED           sw
PLANNING          FAILED            sw
PENDING_REVIEW    FINISHED          u
PENDING_REVIEW    DISCARDED         u
PENDING_REVIEW    FAILED            su
UNCONFIRMED       CONFIRMED         u
UNCONFIRMED       DISCARDED         su   by expiry or by a person
UNCONFIRMED       REPLAN_REQUESTED  u
UNCONFIRMED       FAILED            su
REPLAN_REQUESTED  PREPARING_REPLAN  s
REPLAN_REQUESTED  FAILED            s
PREPARING_REPLAN  REPLAN_REQUESTED  s    lost
PREPARING_REPLAN  PLANNING          w
PREPARING_REPLAN  FAILED            sw
CONFIRMED         PREPARING_APPLY   s
CONFIRMED         DISCARDED         u    taken back before a worker has it
CONFIRMED         FAILED            s
PREPARING_APPLY   CONFIRMED         s    lost before it began to write
PREPARING_APPLY   APPLYING          w
PREPARING_APPLY   FAILED            sw
APPLYING          FINISHED          w
APPLYING          DESTROYING        w    a module's test
APPLYING          FAILED            sw
PERFORMING        FINISHED          w
PERFORMING        FAILED            sw
DESTROYING        FINISHED          w
DESTROYING        FAILED            sw
`

var actors = map[rune]run.Actor{'s': run.Scheduler, 'w': run.Worker, 'u': run.User}

func TestTheStateMachineIsTheOneOfTheSpecification(t *testing.T) {
	t.Parallel()
	want := map[[2]run.State]string{}
	for _, line := range strings.Split(strings.TrimSpace(expected), "\n") {
		f := strings.Fields(line)
		pair := [2]run.State{run.State(f[0]), run.State(f[1])}
		if !pair[0].Valid() || !pair[1].Valid() || want[pair] != "" {
			t.Fatalf("the table's line %q is not one", line)
		}
		want[pair] = f[2]
	}
	for _, from := range run.States() {
		for _, to := range run.States() {
			for letter, actor := range actors {
				expect := strings.ContainsRune(want[[2]run.State{from, to}], letter)
				if got := run.CanMove(from, to, actor); got != expect {
					t.Errorf("%s to %s by %c: %v, want %v", from, to, letter, got, expect)
				}
			}
		}
	}
}

func TestWhatFollowsFromTheTable(t *testing.T) {
	t.Parallel()
	for _, s := range run.States() {
		if got, want := len(run.Next(s)) == 0, s.Terminal(); got != want {
			t.Errorf("%s has no way out: %v, but it is terminal: %v", s, got, want)
		}
		if to, ok := s.Handover(); ok != s.Waiting() || (ok && !run.CanMove(s, to, run.Scheduler)) {
			t.Errorf("%s is handed over to %q (%v) and waits: %v", s, to, ok, s.Waiting())
		}
		if to, ok := s.Requeued(); ok && (!run.CanMove(s, to, run.Scheduler) || !to.Waiting()) {
			t.Errorf("%s is queued again as %s, which the scheduler may not do or no worker takes", s, to)
		}
		if !s.Terminal() && !run.CanMove(s, run.Failed, run.Scheduler) {
			t.Errorf("%s cannot fail", s)
		}
		if s.OnWorker() && s.Waiting() {
			t.Errorf("%s is on a worker and waits for one", s)
		}
	}
}
