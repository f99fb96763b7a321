package quickstart

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Names of what the quickstart makes in the mothership.
const (
	poolName  = "quickstart"
	stackName = "quickstart"
	keyName   = "quickstart"
	branch    = "main"
	launchers = 2
)

// Backends to choose from.
const (
	BackendAuto    = "auto"
	BackendDocker  = "docker"
	BackendProcess = "process"
)

// Options is what a quickstart can be told. Fields without a remark are needed.
type Options struct {
	Dir     string // the one data directory
	Backend string // auto, docker or process
	Yes     bool   // confirm without asking
	Once    bool   // end after the run has FINISHED

	Server   string   // path of the spaceport binary
	Launcher string   // path of the spacelift-launcher binary
	Environ  []string // as os.Environ

	Report Reporter
	// Ask puts a question to a person: true is yes. Needed unless Yes.
	Ask func(ctx context.Context, question string) (bool, error)
	// Hurry, once closed, makes the end quick: children are killed.
	Hurry <-chan struct{}

	// LookPath finds programs of the host, as exec.LookPath.
	LookPath func(string) (string, error)
	// Now and After tell the time; time.Now and time.After if nil.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
}

func (o *Options) check() error {
	switch {
	case o.Dir == "":
		return fault.New(fault.Invalid, "no data directory is named").WithHint("give one with --data")
	case o.Backend != BackendAuto && o.Backend != BackendDocker && o.Backend != BackendProcess:
		return fault.New(fault.Invalid, "%q is not a backend", o.Backend).WithHint("use auto, docker or process")
	case o.Report == nil || o.LookPath == nil || (o.Ask == nil && !o.Yes):
		return errors.New("quickstart: Report, LookPath and, without Yes, Ask are needed")
	}
	for _, binary := range []string{o.Server, o.Launcher} {
		if info, err := os.Stat(binary); err != nil || info.IsDir() {
			return fault.New(fault.NotFound, "%s is not there", binary).
				WithHint("build both programs with: make build")
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.After == nil {
		o.After = time.After
	}
	return nil
}

// session is one quickstart as it goes on. Each step fills in what later steps
// need.
type session struct {
	opts  Options
	began time.Time
	dir   layout
	procs *family

	api     mothership
	engine  engine
	address addresses
	key     credentials

	keyPEM, csr []byte
	recovery    string // public half
	pool        *Pool
	backend     string
	image       string
	tool        tool
	stack       *Stack
	run         *liveRun
	follower    *follower
	planner     string // worker id, empty if unknown
	applier     string
	ours        map[string]string // worker id to launcher name
}

// Run is the whole quickstart. It returns nil when the run has FINISHED and
// either Once is set or a person has ended it after that.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	s := &session{opts: o, began: o.Now(), ours: map[string]string{}}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l, found, release, err := openLayout(o.Dir)
	if err != nil {
		return s.fail("data", err)
	}
	defer release()
	s.dir = l
	if found {
		s.done("data", 0, "going on with "+l.root, "dir", l.root)
	} else {
		s.done("data", 0, "everything is kept below "+l.root, "dir", l.root)
	}
	// A child that ends by itself ends the quickstart, wherever it stands.
	s.procs = newFamily(o.Hurry, func(err error) { cancel(err) })
	defer s.stop()
	for _, step := range s.steps() {
		if err := s.step(ctx, step); err != nil {
			return err
		}
	}
	if o.Once {
		return nil
	}
	return s.stay(ctx)
}

// step is one thing to do. do returns what to say at its end, or "" if there was
// nothing to do.
type step struct {
	name, doing string
	do          func(context.Context) (string, map[string]any, error)
}

func (s *session) steps() []step {
	return []step{
		{"server", "starting the mothership", s.startServer},
		{"credentials", "getting an API key", s.getCredentials},
		{"key", "making the pool's private key (RSA, 4096 bits)", s.getKey},
		{"recovery", "making the recovery key", s.getRecovery},
		{"pool", "making the pool and getting its token", s.getPool},
		{"backend", "looking for a container engine", s.chooseBackend},
		{"workers", "starting two launchers", s.startLaunchers},
		{"repository", "making a git repository", s.makeRepository},
		{"stack", "attaching a stack to the pool", s.makeStack},
		{"trigger", "triggering a run", s.trigger},
		{"plan", "planning on one worker", s.plan},
		{"drain", "draining the worker that planned", s.drain},
		{"confirm", "asking for a confirmation", s.confirm},
		{"apply", "applying on the other worker", s.apply},
		{"outputs", "reading the outputs", s.showOutputs},
		{"finished", "", s.finish},
	}
}

func (s *session) step(ctx context.Context, st step) error {
	if err := context.Cause(ctx); err != nil {
		return s.fail(st.name, err)
	}
	from := s.opts.Now()
	if st.doing != "" {
		s.say(Event{Step: st.name, State: Started, Message: st.doing})
	}
	message, data, err := st.do(ctx)
	if err != nil {
		// A call that failed since a child died: the child is the reason.
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return s.fail(st.name, err)
	}
	if message == "" {
		s.say(Event{Step: st.name, State: Skipped, Message: "nothing to do"})
		return nil
	}
	s.say(Event{Step: st.name, State: Finish, Message: message, Took: s.opts.Now().Sub(from), Data: data})
	return nil
}

// fail reports the failed step and returns err for the caller's last line.
func (s *session) fail(name string, err error) error {
	if errors.Is(err, context.Canceled) {
		err = ErrInterrupted
	}
	f := fault.As(err)
	if f == nil {
		// Not one for people yet: the person here is the operator, who may see it.
		f = fault.Wrap(err, fault.Internal, "step %s: %s", name, err)
	}
	if f.Hint == "" {
		f = f.WithHint("the logs are in %s", s.dir.path("logs"))
	}
	s.say(Event{Step: name, State: Failed, Message: f.Error()})
	return f
}

// ErrInterrupted is returned when a person ended the quickstart before the run
// had FINISHED.
var ErrInterrupted = fault.New(fault.Conflict, "the quickstart was interrupted before its run had FINISHED").
	WithHint("start it again to go on")

// say completes an event and passes it on. Steps follow one another, so there is
// only ever one caller.
func (s *session) say(e Event) {
	if e.Run == "" && s.run != nil {
		e.Run = s.run.ID
	}
	e.ElapsedMs = s.opts.Now().Sub(s.began).Milliseconds()
	s.opts.Report.Report(e)
}

func (s *session) note(name, message string) {
	s.say(Event{Step: name, State: Note, Message: message})
}

func (s *session) done(name string, took time.Duration, message string, data ...string) {
	s.say(Event{Step: name, State: Finish, Message: message, Took: took, Data: pairs(data...)})
}

// pairs makes a map of names and values.
func pairs(list ...string) map[string]any {
	m := make(map[string]any, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		m[list[i]] = list[i+1]
	}
	return m
}

// stay keeps everything up until a person ends it or a process dies.
func (s *session) stay(ctx context.Context) error {
	s.note("stay", "The mothership and both launchers stay up. Ctrl-C ends them; the data stays.")
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return s.fail("stay", err)
	}
	return nil
}

// stop ends all children and says so.
func (s *session) stop() {
	from := s.opts.Now()
	s.procs.close()
	s.done("stop", s.opts.Now().Sub(from), "launchers and mothership are stopped; the data stays in "+s.dir.root)
}

// poll calls try until it reports true, for at most limit. last is what try saw
// last, for the error.
func (s *session) poll(ctx context.Context, limit time.Duration, what string, try func(context.Context) (ok bool, last string, err error)) error {
	deadline := s.opts.After(limit)
	for {
		ok, last, err := try(ctx)
		if err != nil {
			return err
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline:
			return fault.New(fault.Unavailable, "%s did not happen within %s; last seen: %s", what, limit, last).
				WithHint("the logs are in %s", s.dir.path("logs"))
		case <-s.opts.After(pollEvery):
		}
	}
}
