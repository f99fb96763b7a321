package quickstart

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/run"
)

// Ids of the two workers of the fake mothership.
const (
	workerOne = "01HZZZZZZZZZZZZZZZZZZZZZZ1"
	workerTwo = "01HZZZZZZZZZZZZZZZZZZZZZZ2"
	runID     = "01HZZZZZZZZZZZZZZZZZZZZZRN"
)

// fakeMothership plays a script: each time the run is asked for, it makes one
// step of the script, until a step waits for a person.
type fakeMothership struct {
	mu     sync.Mutex
	script []Transition
	at     int // transitions that have happened
	logs   map[int]string
	// served is how many bytes of each log have been readable so far; a log
	// grows by chunk bytes an answer.
	chunk int

	workers   []Worker
	drained   []string
	undrained []string
	confirmed bool
	discarded bool
	live      bool // a run is there before the trigger
	triggered int
	outputs   []Output
	pool      *Pool
	resets    int
	stack     *StackSpec
}

func (f *fakeMothership) view() *liveRun {
	r := &liveRun{ID: runID, Changes: &Changes{Added: 2}}
	// Newest first, as the API has it.
	for i := f.at - 1; i >= 0; i-- {
		r.History = append(r.History, f.script[i])
	}
	if f.at > 0 {
		r.State = f.script[f.at-1].State
	}
	return r
}

func (f *fakeMothership) PoolByName(context.Context, string) (*Pool, error) { return f.pool, nil }

func (f *fakeMothership) CreatePool(_ context.Context, name, _, _ string) (*Pool, error) {
	f.pool = &Pool{ID: "pool", Name: name, Token: "token"}
	return f.pool, nil
}

func (f *fakeMothership) ResetPool(context.Context, string, string) (*Pool, error) {
	f.resets++
	f.pool.Token = "another token"
	return f.pool, nil
}

func (f *fakeMothership) Workers(context.Context, string) ([]Worker, error) { return f.workers, nil }

func (f *fakeMothership) Drain(_ context.Context, _, worker string, drain bool) error {
	if drain {
		f.drained = append(f.drained, worker)
	} else {
		f.undrained = append(f.undrained, worker)
	}
	return nil
}

func (f *fakeMothership) StackByID(_ context.Context, id string) (*Stack, error) {
	if f.stack == nil {
		return nil, nil
	}
	return &Stack{ID: id}, nil
}

func (f *fakeMothership) CreateStack(_ context.Context, s StackSpec) (*Stack, error) {
	f.stack = &s
	return &Stack{ID: s.Name}, nil
}

func (f *fakeMothership) UpdateStack(_ context.Context, id string, s StackSpec) (*Stack, error) {
	f.stack = &s
	return &Stack{ID: id}, nil
}

func (f *fakeMothership) Outputs(context.Context, string) ([]Output, error) { return f.outputs, nil }

func (f *fakeMothership) LiveRun(context.Context, string) (*liveRun, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.live {
		return nil, nil
	}
	return f.view(), nil
}

func (f *fakeMothership) Trigger(context.Context, string) (*liveRun, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.triggered++
	f.at = 1
	return f.view(), nil
}

func (f *fakeMothership) Run(context.Context, string, string) (*liveRun, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	waits := f.at > 0 && f.script[f.at-1].State == run.Unconfirmed && !f.confirmed
	if f.at < len(f.script) && !waits {
		f.at++
	}
	return f.view(), nil
}

// Logs answers chunk bytes a call; the token is the offset.
func (f *fakeMothership) Logs(_ context.Context, _, _ string, _ run.State, version int, token string) (*LogPage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var from int
	if token != "" {
		if _, err := fmt.Sscan(token, &from); err != nil {
			return nil, err
		}
	}
	all := f.logs[version]
	to := min(from+max(f.chunk, 1), len(all))
	return &LogPage{Text: all[from:to], Token: fmt.Sprint(to), Finished: to == len(all)}, nil
}

func (f *fakeMothership) Confirm(context.Context, string, string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.confirmed = true
	return nil
}

func (f *fakeMothership) Discard(context.Context, string, string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.discarded = true
	return nil
}

// fakeEngine answers as told.
type fakeEngine struct{ err error }

func (f fakeEngine) Check(context.Context) error            { return f.err }
func (f fakeEngine) Import(context.Context) (string, error) { return "runner:1", nil }

// recorder keeps events.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorder) Report(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// texts returns the messages of a step, joined by lines.
func (r *recorder) texts(step string) string {
	var b strings.Builder
	for _, e := range r.events {
		if e.Step == step {
			b.WriteString(e.Message + "\n")
		}
	}
	return b.String()
}

// story is a whole run: planned on one worker, applied on the other.
func story() *fakeMothership {
	return &fakeMothership{
		script: []Transition{
			{State: run.Queued, Version: 1, Who: "quickstart"},
			{State: run.Ready, Version: 2, Who: "spaceport"},
			{State: run.Preparing, Version: 3, Who: "spaceport", HasLogs: true},
			{State: run.Initializing, Version: 4, Who: workerOne, HasLogs: true},
			{State: run.Planning, Version: 5, Who: workerOne, HasLogs: true},
			{State: run.Unconfirmed, Version: 6, Who: workerOne},
			{State: run.Confirmed, Version: 7, Who: "quickstart"},
			{State: run.PreparingApply, Version: 8, Who: "spaceport"},
			{State: run.Applying, Version: 9, Who: workerTwo, HasLogs: true},
			{State: run.Finished, Version: 10, Who: workerTwo},
		},
		logs: map[int]string{
			3: "fetching source\n", 4: "init\n", 5: "plan: line one\nplan: line two\nno end of line", 9: "applied\n",
		},
		chunk:   7,
		workers: []Worker{{ID: workerOne, Launcher: "launcher-1"}, {ID: workerTwo, Launcher: "launcher-2"}},
		outputs: []Output{{Name: "greeting", Value: json.RawMessage(`"hello"`)}, {Name: "code", Sensitive: true}},
	}
}

// newSession returns a session that is past the steps that start processes.
func newSession(t *testing.T, api *fakeMothership) (*session, *recorder) {
	t.Helper()
	rec := &recorder{}
	s := &session{
		opts: Options{
			Yes: true, Once: true, Backend: BackendAuto, Report: rec,
			Now: time.Now,
			// A poll waits for nothing here: a fake moves on with each question.
			After: func(d time.Duration) <-chan time.Time {
				c := make(chan time.Time, 1)
				if d == pollEvery {
					c <- time.Time{}
				}
				return c
			},
			LookPath: func(name string) (string, error) { return "/usr/bin/" + name, nil },
		},
		began: time.Now(), api: api, engine: fakeEngine{}, ours: map[string]string{},
		dir: layout{t.TempDir()}, pool: &Pool{ID: "pool", Token: "token"}, stack: &Stack{ID: "quickstart"},
	}
	if ok, last, err := s.registered(t.Context()); err != nil || !ok {
		t.Fatalf("registered: %v, %s, %v", ok, last, err)
	}
	return s, rec
}

// tell plays the steps from the trigger on.
func tell(ctx context.Context, s *session) error {
	on := false
	for _, st := range s.steps() {
		on = on || st.name == "trigger"
		if !on {
			continue
		}
		if err := s.step(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

func wantFault(t *testing.T, err error, part string) {
	t.Helper()
	if fault.As(err) == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("got error %v, want a fault with %q in it", err, part)
	}
}
