package quickstart

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/run"
)

const (
	// pollEvery is how often the API is asked while a run is followed: quick
	// enough to look live.
	pollEvery = 150 * time.Millisecond
	// logWait is how long a state's log may stay incomplete after the run has
	// moved on. The mothership itself waits 10 s for it.
	logWait = 15 * time.Second
)

// follower prints a run's log as it grows, with a line for each state the run
// enters.
type follower struct {
	api   mothership
	say   func(Event)
	after func(time.Duration) <-chan time.Time
	// label names a worker for people.
	label      func(worker string) string
	stack, run string

	announced int    // newest state version that was announced
	reading   int    // state version whose log is read, 0 before the first
	token     string // in that log
	rest      string // a line whose end has not come yet
	overdue   <-chan time.Time
	workers   map[run.State]string
}

func (s *session) follow(stack, id string) *follower {
	return &follower{
		api: s.api, say: s.say, after: s.opts.After, label: s.label,
		stack: stack, run: id, workers: map[run.State]string{},
	}
}

// until follows the run until enough says so, or the run has ended. It returns
// the run as last seen, with all of its log up to there printed.
func (f *follower) until(ctx context.Context, enough func(run.State) bool) (*liveRun, error) {
	for {
		r, err := f.api.Run(ctx, f.stack, f.run)
		if err != nil {
			return nil, err
		}
		caughtUp, err := f.advance(ctx, r)
		if err != nil {
			return nil, err
		}
		if caughtUp && (r.State.Terminal() || enough(r.State)) {
			return r, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-f.after(pollEvery):
		}
	}
}

// advance announces what is new in the history, oldest first, and prints the log
// that belongs to it. It returns whether nothing more can come of the states
// that the run has left, and of the state it rests in.
func (f *follower) advance(ctx context.Context, r *liveRun) (bool, error) {
	history := slices.Clone(r.History)
	slices.SortFunc(history, func(a, b Transition) int { return a.Version - b.Version })
	for i, t := range history {
		if t.Version < f.reading {
			continue
		}
		if t.Version > f.announced {
			f.announce(t)
		}
		left := i < len(history)-1
		if t.Version > f.reading {
			f.reading, f.token, f.overdue = t.Version, "", nil
		}
		if !t.HasLogs {
			continue
		}
		complete, err := f.read(ctx, t)
		if err != nil {
			return false, err
		}
		if complete || !left {
			if !complete && !resting(t.State) {
				return false, nil
			}
			continue
		}
		// The run has moved on and the last of the log is still on its way.
		if f.overdue == nil {
			f.overdue = f.after(logWait)
		}
		select {
		case <-f.overdue:
			f.flush(t)
			f.say(Event{Step: StepPhase, State: string(t.State), Run: f.run, Message: "the rest of this log has not come in time"})
		default:
			return false, nil
		}
	}
	return true, nil
}

// resting: no worker adds to the log of a run in this state.
func resting(s run.State) bool { return !s.OnWorker() }

func (f *follower) announce(t Transition) {
	f.announced = t.Version
	f.rest = ""
	e := Event{Step: StepPhase, State: string(t.State), Run: f.run, Message: meaning(t.State)}
	if isULID(t.Who) {
		f.workers[t.State] = t.Who
		e.Worker = t.Who
		if t.State.OnWorker() {
			e.Message += " on " + f.label(t.Who)
		}
	}
	if t.Note != "" {
		e.Message += " (" + t.Note + ")"
	}
	f.say(e)
}

// read prints what there is of a state's log.
func (f *follower) read(ctx context.Context, t Transition) (complete bool, err error) {
	for {
		page, err := f.api.Logs(ctx, f.stack, f.run, t.State, t.Version, f.token)
		if err != nil {
			return false, err
		}
		f.print(t, page.Text)
		moved := page.Token != "" && page.Token != f.token
		if page.Token != "" {
			f.token = page.Token
		}
		if page.Finished {
			f.flush(t)
			return true, nil
		}
		if !page.More || !moved {
			return false, nil
		}
	}
}

func (f *follower) print(t Transition, text string) {
	lines := strings.Split(f.rest+text, "\n")
	f.rest = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		f.line(t, line)
	}
}

func (f *follower) flush(t Transition) {
	if f.rest != "" {
		f.line(t, f.rest)
		f.rest = ""
	}
}

func (f *follower) line(t Transition, text string) {
	f.say(Event{Step: StepLog, State: string(t.State), Run: f.run, Message: strings.TrimSuffix(text, "\r")})
}

// worker returns who executed the first of these states that a worker was seen
// in, or "".
func (f *follower) worker(states ...run.State) string {
	for _, s := range states {
		if id := f.workers[s]; id != "" {
			return id
		}
	}
	return ""
}

// unfinished is the fault for a run that ended otherwise than FINISHED.
func unfinished(r *liveRun) error {
	note := ""
	newest := -1
	for _, t := range r.History {
		if t.Version > newest {
			newest, note = t.Version, t.Note
		}
	}
	if note != "" {
		note = ": " + note
	}
	return fault.New(fault.Conflict, "run %s ended %s instead of FINISHED%s", r.ID, r.State, note)
}

// meaning says in a few words what a run does in a state.
func meaning(s run.State) string {
	switch s {
	case run.Queued:
		return "the run is made"
	case run.Ready:
		return "waiting for a worker"
	case run.Preparing:
		return "a worker fetches and checks the job"
	case run.Initializing:
		return "the tool is made ready"
	case run.Planning:
		return "the changes are worked out"
	case run.Unconfirmed:
		return "workspace sealed and stored, worker free; the plan waits for a person"
	case run.Confirmed:
		return "confirmed; waiting for a worker"
	case run.PreparingApply:
		return "another worker verifies and opens the sealed workspace"
	case run.Applying:
		return "the planned changes are made"
	case run.Finished:
		return "the run has ended well"
	case run.Failed:
		return "the run has failed"
	}
	return strings.ToLower(strings.ReplaceAll(string(s), "_", " "))
}

// isULID tells a worker's id from a person's name.
func isULID(s string) bool {
	if len(s) != 26 {
		return false
	}
	return strings.Trim(s, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == ""
}

// describe puts a plan's counts into words.
func (c *Changes) describe() string {
	if c == nil {
		return "the plan's changes"
	}
	return fmt.Sprintf("%d to add, %d to change, %d to delete (outputs counted)", c.Added, c.Changed, c.Deleted)
}
