package runs_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/lease/leasetest"
	"github.com/spaceport-iac/spaceport/internal/mothership/runlog"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// states are the ones in which the tests put a run by hand.
var states = run.States()

// actions are what a person does with a run, where it works, and where it had its
// effect before.
var actions = []struct {
	name  string
	do    func(w *leasetest.World, id string) (*runs.Run, error)
	works map[run.State]run.State
	had   []run.State
}{
	{
		"confirm", func(w *leasetest.World, id string) (*runs.Run, error) { return w.Runs.Confirm(w.Ctx(), id, "") },
		map[run.State]run.State{run.Unconfirmed: run.Confirmed},
		[]run.State{run.Confirmed, run.PreparingApply, run.Applying},
	},
	{
		"discard", func(w *leasetest.World, id string) (*runs.Run, error) { return w.Runs.Discard(w.Ctx(), id) },
		map[run.State]run.State{
			run.Queued: run.Discarded, run.Ready: run.Discarded, run.Unconfirmed: run.Discarded,
			run.PendingReview: run.Discarded, run.Confirmed: run.Discarded,
		},
		[]run.State{run.Discarded},
	},
	{
		"cancel", func(w *leasetest.World, id string) (*runs.Run, error) { return w.Runs.Cancel(w.Ctx(), id) },
		map[run.State]run.State{run.Queued: run.Canceled, run.Ready: run.Canceled},
		[]run.State{run.Canceled},
	},
}

func TestWhatAPersonMayDoInWhichState(t *testing.T) {
	t.Parallel()
	for _, a := range actions {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			w := leasetest.New(t)
			st := w.Stack("web", nil)
			for _, from := range states {
				r := w.Trigger(st, run.Proposed)
				w.Exec(`UPDATE run SET state = $2 WHERE id = $1`, r.ID, string(from))
				got, err := a.do(w, r.ID)
				to, works := a.works[from]
				had := false
				for _, s := range a.had {
					had = had || s == from
				}
				switch {
				case works && (err != nil || got.State != to || got.StateVersion != r.StateVersion+1):
					t.Errorf("from %s: %+v, %v; want it %s with a raised version", from, got, err, to)
				case had && (err != nil || got.State != from || got.StateVersion != r.StateVersion):
					t.Errorf("from %s, where it had its effect: %+v, %v; want the run as it is", from, got, err)
				case !works && !had && (!fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), string(from))):
					t.Errorf("from %s: %v; want a conflict that names the state", from, err)
				}
				w.Exec(`UPDATE run SET state = 'FINISHED' WHERE id = $1`, r.ID)
			}
		})
	}
}

// Who is told to stop a run instead must then be able to stop it.
func TestWhoCannotEndARunInOneWayIsToldOfOneThatWorks(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	st := w.Stack("web", nil)
	ends := map[string]func(id string) error{
		"cancel":  func(id string) error { _, err := w.Runs.Cancel(w.Ctx(), id); return err },
		"discard": func(id string) error { _, err := w.Runs.Discard(w.Ctx(), id); return err },
		"stop":    func(id string) error { _, err := w.Runs.Stop(w.Ctx(), id, ""); return err },
	}
	for _, from := range states {
		r := w.Trigger(st, run.Proposed)
		w.Exec(`UPDATE run SET state = $2 WHERE id = $1`, r.ID, string(from))
		said, works := map[string]string{}, map[string]bool{}
		for name, end := range ends {
			// Tried, and taken back: each way is tried from the same state.
			err := end(r.ID)
			works[name] = err == nil
			if f := fault.As(err); f != nil {
				said[name] = f.Hint
			}
			w.Exec(`UPDATE run SET state = $2 WHERE id = $1`, r.ID, string(from))
		}
		for name, hint := range said {
			for other := range ends {
				if strings.HasPrefix(hint, other+" it") && !works[other] {
					t.Errorf("%s of a run that is %s is answered %q, which does not work either", name, from, hint)
				}
			}
			if hint == "" && (works["cancel"] || works["discard"] || works["stop"]) && !from.Terminal() {
				t.Errorf("%s of a run that is %s is refused without a word of what works: %v", name, from, works)
			}
		}
		w.Exec(`UPDATE run SET state = 'FINISHED' WHERE id = $1`, r.ID)
	}
}

func TestAConfirmedRunThatAWorkerHasIsNotTakenBack(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	st := w.Stack("web", nil)
	c := w.Worker("01A")
	r := w.Trigger(st, run.Tracked)
	ref, d := w.Planned(c, r)
	w.Park(c, ref, st.ID, d.Park)
	if _, err := w.Runs.Confirm(w.Ctx(), r.ID, "go"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Runs.Discard(w.Ctx(), r.ID); !fault.Is(err, fault.Conflict) {
		t.Errorf("discarding it is answered %v", err)
	}
	again, err := w.Runs.Confirm(w.Ctx(), r.ID, "go")
	if err != nil || again.State != run.PreparingApply || len(again.Metadata) != 1 {
		t.Errorf("confirming it again gives %+v, %v", again, err)
	}
}

func TestARetryIsANewRunOfTheSameCommit(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	st := w.Stack("web", nil)
	r := w.Trigger(st, run.Tracked)
	if _, err := w.Runs.Retry(w.Ctx(), r.ID); !fault.Is(err, fault.Conflict) {
		t.Errorf("retrying a run that has not ended is answered %v", err)
	}
	if _, err := w.Runs.Cancel(w.Ctx(), r.ID); err != nil {
		t.Fatal(err)
	}
	next, err := w.Runs.Retry(w.Ctx(), r.ID)
	if err != nil || next.ID == r.ID || next.Commit != r.Commit || next.Type != r.Type || next.State != run.Ready {
		t.Errorf("the retry is %+v, %v", next, err)
	}
	w.WantState(r.ID, run.Canceled)
}

// Public clients look at an entry of the history once, and fetch its log if that
// says that there is one.
func TestAStateSaysThatItHasALogBeforeItsFirstLineIsThere(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	c := w.Worker("01A")
	r := w.Trigger(w.Stack("web", nil), run.Tracked)
	ref := w.Ref(r)
	w.Start(c, ref, run.Read, run.PhaseInit, "c")
	w.Report(c, ref, run.PhasePlan, "c")
	says := func(when, want string) {
		t.Helper()
		history, err := w.Runs.History(w.Ctx(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		var with []string
		for _, h := range history {
			if h.HasLogs {
				with = append(with, string(h.State))
			}
		}
		if got := strings.Join(with, " "); got != want {
			t.Errorf("%s, %q have logs, want %q", when, got, want)
		}
	}
	says("while it plans", "PLANNING INITIALIZING PREPARING")
	w.Exec(`UPDATE attempt SET live = FALSE, ended_at = $1 WHERE run = $2`, w.Clock.Now().UnixMicro(), r.ID)
	says("right after the attempt", "PLANNING INITIALIZING PREPARING")
	w.Clock.Advance(runlog.LateFor + time.Second)
	says("once nothing can come any more", "")
}

func TestHistoryEventsAndAuditTellTheSameStory(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	c := w.Worker("01A")
	r := w.Trigger(w.Stack("web", nil), run.Tracked)
	ref := w.Ref(r)
	w.Start(c, ref, run.Read, run.PhaseInit, "c")
	w.Report(c, ref, run.PhasePlan, "c")
	w.End(c, ref, wire.Outcome{Container: "c", Class: run.Read, Plan: &wire.Plan{}})
	history, err := w.Runs.History(w.Ctx(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for i, h := range history {
		told = append(told, string(h.State)+" by "+h.Who)
		if h.StateVersion != len(history)-i {
			t.Errorf("entry %d has version %d", i, h.StateVersion)
		}
	}
	want := "FINISHED by 01A, PLANNING by 01A, INITIALIZING by 01A, PREPARING by spaceport, READY by spaceport, QUEUED by admin::ann"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("the history is\n%s, want\n%s", got, want)
	}
	var events, audits int
	w.Scan(`SELECT (SELECT COUNT(*) FROM event WHERE kind = 'run.moved'), (SELECT COUNT(*) FROM audit WHERE action = 'run:trigger')`, &events, &audits)
	if events != len(history) || audits != 1 {
		t.Errorf("%d events and %d audit rows, want %d and 1", events, audits, len(history))
	}
	st, err := w.Stacks.Get(w.Ctx(), "web")
	if err != nil || st.State != run.Finished {
		t.Errorf("the stack is %s, %v", st.State, err)
	}
}

// A shell drops the byte and performs another command than the one that was asked for.
func TestATaskWithANullByteInItsCommandIsRefused(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	st := w.Stack("web", nil)
	_, err := w.Runs.CreateTask(w.Ctx(), runs.TaskInput{Stack: st.Slug, Command: "rm -rf a\x00b"})
	if f := fault.As(err); f == nil || f.Kind != fault.Invalid || !strings.Contains(f.Message, "null byte") {
		t.Errorf("got %v", err)
	}
}

func TestEveryoneIsAskedForTheirRight(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	st := w.Stack("web", nil)
	r := w.Trigger(st, run.Tracked)
	nobody := context.Background()
	as := func(role access.Role) context.Context {
		return access.With(nobody, access.Principal{Kind: access.KindAPIKey, ID: "k", Roles: map[string]access.Role{access.RootSpace: role}})
	}
	calls := map[string]func(context.Context) error{
		"trigger": func(ctx context.Context) error {
			_, err := w.Runs.Trigger(ctx, runs.TriggerInput{Stack: st.Slug, Type: run.Tracked})
			return err
		},
		"task": func(ctx context.Context) error {
			_, err := w.Runs.CreateTask(ctx, runs.TaskInput{Stack: st.Slug, Command: "x"})
			return err
		},
		"confirm":    func(ctx context.Context) error { _, err := w.Runs.Confirm(ctx, r.ID, ""); return err },
		"discard":    func(ctx context.Context) error { _, err := w.Runs.Discard(ctx, r.ID); return err },
		"cancel":     func(ctx context.Context) error { _, err := w.Runs.Cancel(ctx, r.ID); return err },
		"stop":       func(ctx context.Context) error { _, err := w.Runs.Stop(ctx, r.ID, ""); return err },
		"retry":      func(ctx context.Context) error { _, err := w.Runs.Retry(ctx, r.ID); return err },
		"prioritise": func(ctx context.Context) error { _, err := w.Runs.Prioritize(ctx, r.ID, true); return err },
	}
	reads := map[string]func(context.Context) error{
		"get": func(ctx context.Context) error { _, err := w.Runs.Get(ctx, r.ID); return err },
		"list": func(ctx context.Context) error {
			_, err := w.Runs.List(ctx, runs.ListInput{Stack: st.Slug})
			return err
		},
		"history": func(ctx context.Context) error { _, err := w.Runs.History(ctx, r.ID); return err },
		"changes": func(ctx context.Context) error { _, err := w.Runs.Changes(ctx, r.ID); return err },
		"outputs": func(ctx context.Context) error { _, err := w.Runs.Outputs(ctx, st.Slug); return err },
		"waiting": func(ctx context.Context) error { _, err := w.Runs.WhyWaiting(ctx, r.ID); return err },
		"blocker": func(ctx context.Context) error { _, err := w.Runs.Blocker(ctx, st.Slug); return err },
	}
	for name, call := range calls {
		if err := call(nobody); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s by nobody is answered %v", name, err)
		}
		if err := call(as(access.Reader)); !fault.Is(err, fault.Forbidden) {
			t.Errorf("%s by a reader is answered %v", name, err)
		}
	}
	for name, call := range reads {
		if err := call(nobody); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s by nobody is answered %v", name, err)
		}
		if err := call(as(access.Reader)); err != nil {
			t.Errorf("%s by a reader is answered %v", name, err)
		}
	}
	w.WantState(r.ID, run.Ready)
}

func TestALockedOrDisabledStackTakesNoRuns(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	st := w.Stack("web", nil)
	if _, err := w.Stacks.Lock(w.Ctx(), st.Slug, "mine"); err != nil {
		t.Fatal(err)
	}
	bob := access.With(context.Background(), access.Principal{Kind: access.KindAdmin, ID: "bob", Admin: true})
	_, err := w.Runs.Trigger(bob, runs.TriggerInput{Stack: st.Slug, Type: run.Tracked})
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "admin::ann") {
		t.Errorf("another's run on a locked stack is answered %v", err)
	}
	w.WantState(w.Trigger(st, run.Tracked).ID, run.Ready) // the owner's goes on
	off := w.Stack("off", nil)
	if _, err := w.Stacks.SetDisabled(w.Ctx(), off.Slug, true); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Runs.Trigger(w.Ctx(), runs.TriggerInput{Stack: off.Slug, Type: run.Tracked}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a run on a disabled stack is answered %v", err)
	}
}

func TestAJobHasAllThatARunNeedsAndNothingOpen(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	st := w.Stack("web", func(in *stack.Input) {
		in.Settings.Labels = []string{"team:a", "odd\"${x}"}
		in.Settings.ProjectRoot = "infra"
		in.Settings.Hooks = map[string][]string{"before_plan": {"make gen"}}
	})
	for _, c := range []stack.ConfigInput{
		{ID: "TOKEN", Type: stack.EnvironmentVariable, Value: "canary-secret", WriteOnly: true},
		{ID: "TF_VAR_spacelift_run_trigger", Type: stack.EnvironmentVariable, Value: "mine"},
	} {
		if _, err := w.Stacks.SetConfig(w.Ctx(), st.Slug, c); err != nil {
			t.Fatal(err)
		}
	}
	c := w.Worker("01A")
	r := w.Trigger(st, run.Tracked)
	answer, err := w.Lease.Accept(t.Context(), c, w.Ref(r), wire.AcceptRequest{Session: 1, Nonce: "n-1", Class: run.Read})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(answer.Job), "canary") || !strings.Contains(string(answer.Header), "n-1") {
		t.Error("the job is not sealed, or its header lacks the nonce")
	}
	job := w.OpenJob(c, answer)
	env := map[string]wire.Variable{}
	for _, v := range job.Environment {
		if _, twice := env[v.Name]; twice {
			t.Errorf("variable %s is there twice", v.Name)
		}
		env[v.Name] = v
	}
	for name, want := range map[string]wire.Variable{
		"TOKEN":                              {Value: "canary-secret", Secret: true, Source: "stack"},
		"TF_VAR_spacelift_run_trigger":       {Value: "mine", Source: "stack"},
		"TF_VAR_spacelift_run_id":            {Value: r.ID, Source: "computed"},
		"TF_VAR_spacelift_stack_id":          {Value: "web", Source: "computed"},
		"TF_VAR_spacelift_stack_labels_list": {Value: `["team:a", "odd\"$${x}"]`, Source: "computed"},
		"TF_VAR_spacelift_commit_sha":        {Value: r.Commit.SHA, Source: "computed"},
	} {
		want.Name = name
		if env[name] != want {
			t.Errorf("%s is %+v, want %+v", name, env[name], want)
		}
	}
	if job.Stack.ID != st.ID || job.State != run.Preparing || len(job.Phases) != 3 || job.ProjectRoot != "infra" ||
		job.Hooks["before_plan"][0] != "make gen" || job.Store.Digest != "none" || len(job.LogURLs) == 0 || job.Parked != nil {
		t.Errorf("the job is %+v", job)
	}
}

func TestACommitIsNamedByItsWholeID(t *testing.T) {
	t.Parallel()
	w := leasetest.New(t)
	st := w.Stack("web", nil)
	for _, sha := range []string{"main", "abc1234", "--upload-pack=touch x", strings.Repeat("G", 40), strings.Repeat("a", 41)} {
		if _, err := w.Runs.Trigger(w.Ctx(), runs.TriggerInput{Stack: st.Slug, Type: run.Tracked, CommitSHA: sha}); !fault.Is(err, fault.Invalid) {
			t.Errorf("commit %q is answered %v", sha, err)
		}
	}
	if _, err := w.Runs.Trigger(w.Ctx(), runs.TriggerInput{Stack: st.Slug, Type: run.Tracked}); err != nil {
		t.Errorf("no commit is answered %v", err)
	}
}
