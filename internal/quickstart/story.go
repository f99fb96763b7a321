package quickstart

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/run"
)

// trigger asks for a tracked run, or takes up the one that an interrupted
// quickstart left: it holds the stack, so a new one would wait behind it.
func (s *session) trigger(ctx context.Context) (string, map[string]any, error) {
	r, err := s.api.LiveRun(ctx, s.stack.ID)
	if err != nil {
		return "", nil, err
	}
	said := "going on with run "
	if r == nil {
		if r, err = s.api.Trigger(ctx, s.stack.ID); err != nil {
			return "", nil, err
		}
		said = "tracked run "
	}
	s.run = r
	s.follower = s.follow(s.stack.ID, r.ID)
	return said + r.ID, nil, nil
}

// plan follows the run until its plan waits for a person.
func (s *session) plan(ctx context.Context) (string, map[string]any, error) {
	r, err := s.follower.until(ctx, planned)
	if err != nil {
		return "", nil, err
	}
	s.run = r
	if r.State == run.Finished && !r.was(run.Applying) {
		return "no changes: everything is as the configuration says, so there is nothing to confirm or apply", s.places(), nil
	}
	if r.State.Terminal() && r.State != run.Finished {
		return "", nil, unfinished(r)
	}
	s.planner = s.follower.worker(run.Planning, run.Initializing)
	said := r.Changes.describe()
	if s.planner != "" {
		said += ", planned by " + s.label(s.planner)
	}
	return said, s.places(), nil
}

// planned: from here on the plan is made.
func planned(state run.State) bool {
	switch state {
	case run.Unconfirmed, run.Confirmed, run.PreparingApply, run.Applying:
		return true
	}
	return false
}

// places says who did what, as far as it is known.
func (s *session) places() map[string]any {
	data := map[string]any{}
	if s.planner != "" {
		data["planned_by"] = s.planner
	}
	if s.applier != "" {
		data["applied_by"] = s.applier
	}
	return data
}

// drain takes the planner out of service, so that the other worker must apply.
func (s *session) drain(ctx context.Context) (string, map[string]any, error) {
	if s.run.State != run.Unconfirmed {
		return "", nil, nil
	}
	if s.ours[s.planner] == "" {
		s.note("drain", "the worker that planned is not connected any more; nobody has to be drained")
		return "", nil, nil
	}
	if err := s.api.Drain(ctx, s.pool.ID, s.planner, true); err != nil {
		return "", nil, err
	}
	return s.label(s.planner) + " is drained, to show that another worker of the pool can open the sealed workspace",
		pairs("worker", s.planner), nil
}

// confirm asks a person, unless there is nothing to ask.
func (s *session) confirm(ctx context.Context) (string, map[string]any, error) {
	if s.run.State != run.Unconfirmed {
		return "", nil, nil
	}
	if s.opts.Yes {
		return "confirmed, as --yes says", nil, s.api.Confirm(ctx, s.stack.ID, s.run.ID)
	}
	question := "Apply on the other worker: " + s.run.Changes.describe() + "? [y/N]"
	s.say(Event{Step: "confirm", State: Waiting, Message: question})
	yes, settled, err := s.askWhileUnconfirmed(ctx, question)
	switch {
	case err != nil:
		return "", nil, err
	case settled:
		return "somebody else has decided", nil, nil
	case yes:
		return "confirmed", nil, s.api.Confirm(ctx, s.stack.ID, s.run.ID)
	}
	if err := s.api.Discard(ctx, s.stack.ID, s.run.ID); err != nil {
		return "", nil, err
	}
	return "", nil, fault.New(fault.Conflict, "the plan was not confirmed, so run %s is DISCARDED", s.run.ID).
		WithHint("start the quickstart again for a new plan")
}

// askWhileUnconfirmed asks, and stops asking once the run has been confirmed or
// discarded in another way, such as by the API.
func (s *session) askWhileUnconfirmed(ctx context.Context, question string) (yes, settled bool, err error) {
	asking, stop := context.WithCancel(ctx)
	defer stop()
	type answer struct {
		yes bool
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		yes, err := s.opts.Ask(asking, question)
		answers <- answer{yes, err}
	}()
	for {
		select {
		case a := <-answers:
			if a.err != nil && ctx.Err() != nil {
				return false, false, context.Cause(ctx)
			}
			return a.yes, false, a.err
		case <-s.opts.After(pollEvery):
		}
		r, err := s.api.Run(ctx, s.stack.ID, s.run.ID)
		if err != nil || r.State != run.Unconfirmed {
			stop()
			<-answers
			return false, err == nil, err
		}
	}
}

// apply follows the run to its end and checks what all this was about.
func (s *session) apply(ctx context.Context) (string, map[string]any, error) {
	if s.run.State == run.Finished && !s.run.was(run.Applying) {
		return "", nil, nil
	}
	r, err := s.follower.until(ctx, run.State.Terminal)
	if err != nil {
		return "", nil, err
	}
	s.run = r
	if r.State != run.Finished {
		return "", nil, unfinished(r)
	}
	s.applier = s.follower.worker(run.Applying)
	if s.planner == "" || s.applier == "" {
		return "applied", s.places(), nil
	}
	if s.planner == s.applier {
		return "", nil, errors.New("plan and apply ran on the same worker " + s.applier)
	}
	return "planned by " + s.label(s.planner) + ", applied by " + s.label(s.applier), s.places(), nil
}

func (s *session) showOutputs(ctx context.Context) (string, map[string]any, error) {
	outputs, err := s.api.Outputs(ctx, s.stack.ID)
	if err != nil {
		return "", nil, err
	}
	data := map[string]any{}
	var shown []string
	for _, o := range outputs {
		if o.Sensitive {
			shown = append(shown, o.Name+" is sensitive: its value stays in the sealed state")
			continue
		}
		data[o.Name] = o.Value
		shown = append(shown, fmt.Sprintf("%s = %s", o.Name, o.Value))
	}
	if len(shown) == 0 {
		return "the stack has none", data, nil
	}
	return strings.Join(shown, "\n"), data, nil
}

// finish says that the run has FINISHED and how to go on from here.
func (s *session) finish(context.Context) (string, map[string]any, error) {
	data := s.places()
	data["url"], data["key_id"], data["credentials_file"] = s.key.Endpoint, s.key.ID, s.dir.credentials()
	if !s.opts.Once {
		// The only place where the secret is shown: to a person who is about to
		// use it. It is in no event's data, since scripts keep what they read.
		s.say(Event{Step: "access", State: Note, Message: "API " + s.key.Endpoint + "/graphql; sign in with what is in " + s.dir.credentials(), ForPeople: strings.Join([]string{
			"The API is at " + s.key.Endpoint + "/graphql; for clients:",
			"  export SPACELIFT_API_KEY_ENDPOINT=" + s.key.Endpoint,
			"  export SPACELIFT_API_KEY_ID=" + s.key.ID,
			"  export SPACELIFT_API_KEY_SECRET=" + s.key.Secret,
		}, "\n")})
	}
	return "run " + s.run.ID + " has FINISHED", data, nil
}
