package quickstart

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/run"
)

func TestStoryIsToldWithPlanAndApplyOnDifferentWorkers(t *testing.T) {
	t.Parallel()
	api := story()
	s, rec := newSession(t, api)
	if err := tell(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(api.drained, []string{workerOne}) {
		t.Errorf("drained %v, want the worker that planned, %s", api.drained, workerOne)
	}
	said := rec.texts("apply")
	if !strings.Contains(said, workerOne) || !strings.Contains(said, workerTwo) {
		t.Errorf("apply said %q, want both workers named", said)
	}
	if out := rec.texts("outputs"); !strings.Contains(out, `greeting = "hello"`) || !strings.Contains(out, "code is sensitive") {
		t.Errorf("outputs said %q", out)
	}
	if last := rec.texts("finished"); !strings.Contains(last, "FINISHED") {
		t.Errorf("finished said %q, want FINISHED in it", last)
	}
}

func TestLogIsShownWholeAndInOrderUnderItsState(t *testing.T) {
	t.Parallel()
	s, rec := newSession(t, story())
	if err := tell(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range rec.events {
		switch e.Step {
		case StepPhase:
			got = append(got, e.State)
		case StepLog:
			got = append(got, e.State+": "+e.Message)
		}
	}
	want := []string{
		"QUEUED", "READY", "PREPARING", "PREPARING: fetching source", "INITIALIZING", "INITIALIZING: init",
		"PLANNING", "PLANNING: plan: line one", "PLANNING: plan: line two", "PLANNING: no end of line",
		"UNCONFIRMED", "CONFIRMED", "PREPARING_APPLY", "APPLYING", "APPLYING: applied", "FINISHED",
	}
	if !slices.Equal(got, want) {
		t.Errorf("showed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSecondRunWithoutChangesIsFinishedWithoutAConfirmation(t *testing.T) {
	t.Parallel()
	api := story()
	api.script = append(api.script[:5:5], Transition{State: run.Finished, Version: 6, Who: workerOne})
	s, rec := newSession(t, api)
	s.opts.Yes = false
	s.opts.Ask = func(context.Context, string) (bool, error) {
		t.Error("asked for a confirmation of nothing")
		return false, nil
	}
	if err := tell(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if len(api.drained) > 0 || !strings.Contains(rec.texts("plan"), "no changes") {
		t.Errorf("drained %v and said %q, want nobody and no changes", api.drained, rec.texts("plan"))
	}
}

func TestRunThatFailsEndsTheQuickstartWithItsReason(t *testing.T) {
	t.Parallel()
	api := story()
	api.script = append(api.script[:5:5], Transition{State: run.Failed, Version: 6, Note: "the plan's command ended with exit code 1"})
	s, rec := newSession(t, api)
	err := tell(t.Context(), s)
	wantFault(t, err, "ended FAILED instead of FINISHED: the plan's command ended with exit code 1")
	if last := rec.events[len(rec.events)-1]; last.State != Failed || last.Step != "plan" {
		t.Errorf("last event is %+v, want the plan's failure", last)
	}
}

func TestRunLeftByAnInterruptedQuickstartIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	api := story()
	api.live, api.at = true, 6
	s, rec := newSession(t, api)
	if err := tell(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if api.triggered != 0 || !slices.Equal(api.drained, []string{workerOne}) {
		t.Errorf("triggered %d runs and drained %v, want none and the planner", api.triggered, api.drained)
	}
	if !strings.Contains(rec.texts("trigger"), "going on with run "+runID) {
		t.Errorf("trigger said %q", rec.texts("trigger"))
	}
}

func TestRunThatWasLeftApplyingIsToldAsAppliedNotAsUnchanged(t *testing.T) {
	t.Parallel()
	api := story()
	// It ends before the first look at it.
	api.live, api.at, api.confirmed = true, len(api.script), true
	s, rec := newSession(t, api)
	if err := tell(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(rec.texts("plan"), "no changes") || !strings.Contains(rec.texts("apply"), "launcher-2") {
		t.Errorf("plan said %q and apply %q, want an apply by launcher-2", rec.texts("plan"), rec.texts("apply"))
	}
}

func TestSameWorkerForPlanAndApplyIsAnError(t *testing.T) {
	t.Parallel()
	api := story()
	api.script[8].Who = workerOne
	s, _ := newSession(t, api)
	if err := tell(t.Context(), s); err == nil || !strings.Contains(err.Error(), "same worker") {
		t.Errorf("got %v, want the same worker refused", err)
	}
}

func TestAnswerNoDiscardsTheRun(t *testing.T) {
	t.Parallel()
	api := story()
	s, rec := newSession(t, api)
	s.opts.Yes = false
	var asked string
	s.opts.Ask = func(_ context.Context, question string) (bool, error) {
		asked = question
		return false, nil
	}
	wantFault(t, tell(t.Context(), s), "was not confirmed")
	if !api.discarded || api.confirmed {
		t.Errorf("discarded %v, confirmed %v; want the plan discarded", api.discarded, api.confirmed)
	}
	if !strings.Contains(asked, "2 to add") || !strings.Contains(rec.texts("confirm"), asked) {
		t.Errorf("asked %q, want the counts in it", asked)
	}
}

func TestQuestionIsWithdrawnWhenSomebodyElseConfirms(t *testing.T) {
	t.Parallel()
	api := story()
	s, _ := newSession(t, api)
	s.opts.Yes = false
	withdrawn := false
	s.opts.Ask = func(ctx context.Context, _ string) (bool, error) {
		// Somebody else's confirmation, by the API.
		if err := api.Confirm(ctx, "", ""); err != nil {
			return false, err
		}
		<-ctx.Done()
		withdrawn = true
		return false, ctx.Err()
	}
	if err := tell(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if !withdrawn {
		t.Error("the question was not withdrawn")
	}
}

func TestInterruptionWhileAskingIsSaidAsOne(t *testing.T) {
	t.Parallel()
	s, _ := newSession(t, story())
	s.opts.Yes = false
	ctx, cancel := context.WithCancel(t.Context())
	s.opts.Ask = func(asking context.Context, _ string) (bool, error) {
		cancel()
		<-asking.Done()
		return false, asking.Err()
	}
	if err := tell(ctx, s); !errors.Is(err, ErrInterrupted) {
		t.Errorf("got %v, want the interruption", err)
	}
}

func TestLogThatNeverCompletesDoesNotHoldTheStoryUp(t *testing.T) {
	t.Parallel()
	api := &stuckLog{fakeMothership: story()}
	s, rec := newSession(t, api.fakeMothership)
	s.api = api
	polls := s.opts.After
	s.opts.After = func(d time.Duration) <-chan time.Time {
		if d == logWait {
			c := make(chan time.Time, 1)
			c <- time.Time{}
			return c
		}
		return polls(d)
	}
	if err := tell(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(rec.texts(StepPhase), "has not come in time") {
		t.Error("the missing rest of the log is not mentioned")
	}
}

// stuckLog never says that the log of PLANNING is complete.
type stuckLog struct{ *fakeMothership }

func (f *stuckLog) Logs(ctx context.Context, stack, id string, state run.State, version int, token string) (*LogPage, error) {
	page, err := f.fakeMothership.Logs(ctx, stack, id, state, version, token)
	if state == run.Planning && page != nil {
		page.Finished = false
	}
	return page, err
}
