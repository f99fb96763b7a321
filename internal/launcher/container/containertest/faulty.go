package containertest

import (
	"context"
	"sync"
	"syscall"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/container"
)

// Call names a method of container.Backend that can be told to misbehave.
type Call string

// The calls. Capabilities, Name and Close do not reach an engine.
const (
	Check       Call = "Check"
	EnsureImage Call = "EnsureImage"
	Create      Call = "Create"
	Start       Call = "Start"
	Wait        Call = "Wait"
	Inspect     Call = "Inspect"
	List        Call = "List"
	Signal      Call = "Signal"
	Kill        Call = "Kill"
	Remove      Call = "Remove"
	Output      Call = "Output"
	Own         Call = "Own"
)

// Mood is how a call is answered.
type Mood int

// The moods. Well is the backend's own answer.
const (
	Well    Mood = iota
	Failing      // an error, and nothing was done
	Mute         // it was done, and the answer is an error: the caller cannot know
	Hanging      // no answer until the caller's context ends or Recover is called, then an error
	Losing       // the container is removed behind the caller's back, then the call is made
)

// ErrEngine is what a call answers that was told to fail.
var ErrEngine = fault.New(fault.Internal, "the engine is out of order").Named("docker")

// Faulty is a backend over another one that can be told to fail, hang or lose a
// container at any call. Told nothing, it is the other one. It is safe for
// concurrent use.
type Faulty struct {
	container.Backend

	mu      sync.Mutex
	moods   map[Call][]Mood
	calls   map[Call]int
	recover chan struct{}
	hangs   chan Call
}

var _ container.Backend = (*Faulty)(nil)

// NewFaulty makes a Faulty over another backend.
func NewFaulty(over container.Backend) *Faulty {
	return &Faulty{Backend: over, moods: map[Call][]Mood{}, calls: map[Call]int{}, recover: make(chan struct{}), hangs: make(chan Call, 100)}
}

// Be sets the moods of the next calls of that name, in their order.
func (f *Faulty) Be(c Call, moods ...Mood) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.moods[c] = append([]Mood(nil), moods...)
}

// Left is how many moods have not been shown yet.
func (f *Faulty) Left(c Call) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.moods[c])
}

// Calls is how often a call was made.
func (f *Faulty) Calls(c Call) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[c]
}

// Hangs tells of each call that begins to hang.
func (f *Faulty) Hangs() <-chan Call { return f.hangs }

// Recover ends every hanging call, and lets none hang any more. It is called once.
func (f *Faulty) Recover() { close(f.recover) }

func (f *Faulty) mood(c Call) Mood {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[c]++
	moods := f.moods[c]
	if len(moods) == 0 {
		return Well
	}
	f.moods[c] = moods[1:]
	return moods[0]
}

// answer makes a call as its mood has it. id is the container that it is about, or "".
func answer[T any](ctx context.Context, f *Faulty, c Call, id string, call func() (T, error)) (T, error) {
	var none T
	switch f.mood(c) {
	case Failing:
		return none, ErrEngine
	case Mute:
		if _, err := call(); err != nil {
			return none, err
		}
		return none, ErrEngine
	case Hanging:
		f.hangs <- c
		select {
		case <-ctx.Done():
			return none, ctx.Err()
		case <-f.recover:
			return none, ErrEngine
		}
	case Losing:
		if id != "" {
			if err := f.Backend.Remove(context.WithoutCancel(ctx), id); err != nil {
				return none, err
			}
		}
	}
	return call()
}

// done is answer for calls that have an error alone.
func done(ctx context.Context, f *Faulty, c Call, id string, call func() error) error {
	_, err := answer(ctx, f, c, id, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// Check implements container.Backend.
func (f *Faulty) Check(ctx context.Context) error {
	return done(ctx, f, Check, "", func() error { return f.Backend.Check(ctx) })
}

// EnsureImage implements container.Backend.
func (f *Faulty) EnsureImage(ctx context.Context, ref string, progress func(string)) (container.Image, error) {
	return answer(ctx, f, EnsureImage, "", func() (container.Image, error) { return f.Backend.EnsureImage(ctx, ref, progress) })
}

// Create implements container.Backend.
func (f *Faulty) Create(ctx context.Context, s container.Spec) error {
	return done(ctx, f, Create, s.ULID, func() error { return f.Backend.Create(ctx, s) })
}

// Start implements container.Backend.
func (f *Faulty) Start(ctx context.Context, id string) error {
	return done(ctx, f, Start, id, func() error { return f.Backend.Start(ctx, id) })
}

// Wait implements container.Backend.
func (f *Faulty) Wait(ctx context.Context, id string) (container.Exit, error) {
	return answer(ctx, f, Wait, id, func() (container.Exit, error) { return f.Backend.Wait(ctx, id) })
}

// Inspect implements container.Backend.
func (f *Faulty) Inspect(ctx context.Context, id string) (container.Status, error) {
	return answer(ctx, f, Inspect, id, func() (container.Status, error) { return f.Backend.Inspect(ctx, id) })
}

// List implements container.Backend.
func (f *Faulty) List(ctx context.Context) ([]string, error) {
	return answer(ctx, f, List, "", func() ([]string, error) { return f.Backend.List(ctx) })
}

// Signal implements container.Backend.
func (f *Faulty) Signal(ctx context.Context, id string, sig syscall.Signal) error {
	return done(ctx, f, Signal, id, func() error { return f.Backend.Signal(ctx, id, sig) })
}

// Kill implements container.Backend.
func (f *Faulty) Kill(ctx context.Context, id string) error {
	return done(ctx, f, Kill, id, func() error { return f.Backend.Kill(ctx, id) })
}

// Remove implements container.Backend.
func (f *Faulty) Remove(ctx context.Context, id string) error {
	return done(ctx, f, Remove, id, func() error { return f.Backend.Remove(ctx, id) })
}

// Output implements container.Backend.
func (f *Faulty) Output(ctx context.Context, id string, limit int) ([]byte, error) {
	return answer(ctx, f, Output, id, func() ([]byte, error) { return f.Backend.Output(ctx, id, limit) })
}

// Own implements container.Backend.
func (f *Faulty) Own(ctx context.Context, o container.Ownership) error {
	return done(ctx, f, Own, "", func() error { return f.Backend.Own(ctx, o) })
}
