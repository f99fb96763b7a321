package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mask"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// work is one job in this container.
type work struct {
	o       Options
	inside  *rundir.Inside
	job     *wire.WorkerJob
	out     *output
	reaper  *reaper
	guard   *guard
	session *session
	scratch string

	// Made by prepare.
	project *project
	vendor  vendor
	env     *environ
	state   *stateBackend

	result wire.RunResult
}

// reserve is room on the disk that the result can be sure of, in bytes.
const reserve = 256 << 10

func newWork(inside *rundir.Inside, job *wire.WorkerJob, o Options, signals <-chan os.Signal) (*work, error) {
	events, err := inside.EventWriter()
	if err != nil {
		return nil, err
	}
	if err := events.Write(wire.Event{Type: wire.EventRead}); err != nil {
		return nil, err
	}
	log, err := inside.LogWriter(rundir.LogOptions{Unacked: job.UnackedLogBytes, Total: job.LogBytes})
	if err != nil {
		return nil, err
	}
	scratch, err := inside.Scratch()
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{"bin", "home", "keep"} {
		if err := os.MkdirAll(filepath.Join(scratch, dir), 0o700); err != nil {
			return nil, fmt.Errorf("make the scratch directory: %w", err)
		}
	}
	keepRoom(filepath.Join(scratch, "keep", "reserve"))
	out := &output{log: log, events: events, masker: mask.New(mask.Options{Secrets: job.Masks, WellKnown: job.MaskWellKnown})}
	g := &guard{inside: inside, job: job, boot: o.Boot, now: o.Now, deaf: log.Blocked, signals: signals}
	g.begin()
	r := newReaper()
	return &work{
		o: o, inside: inside, job: job, out: out, reaper: r, guard: g, scratch: scratch,
		session: &session{reaper: r, out: out, guard: g, scratch: scratch, grace: grace(job, o.ReadGrace)},
		result:  wire.RunResult{Result: wire.ResultOK},
	}, nil
}

// keepRoom takes room for the result; without it a full disk would leave the run
// without a last word. It is an attempt: not every file system can.
func keepRoom(path string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return
	}
	_ = unix.Fallocate(int(f.Fd()), 0, 0, reserve)
	_ = f.Close()
}

// run does the job and writes its result, whatever happens.
func (w *work) run(ctx context.Context) error {
	watch, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { w.guard.run(watch) })

	h := w.phases(ctx)
	w.afterRun(ctx, h)
	w.reaper.killAll()
	if w.state != nil {
		w.state.close()
	}
	stop()
	wg.Wait()
	w.reaper.close()
	return w.close()
}

// close writes what is left. The result comes last: who sees it may take the rest.
func (w *work) close() error {
	// Plans, environments and the reserve go before anything else is written.
	_ = os.RemoveAll(w.scratch)
	if w.result.Result == wire.ResultOK && w.env != nil {
		c := w.env.carry()
		c.Masks = append([]string{}, w.out.masker.Secrets()...) // a list in JSON, also if empty
		if w.state != nil {                                     // it means nothing outside of this container
			c.Masks = slices.DeleteFunc(c.Masks, func(m string) bool { return m == w.state.password })
		}
		if err := w.inside.WriteCarry(c); err != nil {
			w.fail(w.result.Phase, 0, err)
		}
	}
	_ = w.out.log.Close()
	_ = w.out.events.Close()
	w.result.LogBytes = w.out.log.Written()
	w.result.Reason = w.out.masker.String(w.result.Reason)
	return w.inside.WriteResult(w.result)
}

// fail records why the run failed, once.
func (w *work) fail(p run.Phase, exitCode int, err error) {
	if w.result.Result != wire.ResultOK {
		return
	}
	w.result.Result = wire.ResultFailed
	w.result.Phase = p
	w.result.ExitCode = exitCode
	w.result.Reason = sentence(err)
	w.out.say(w.result.Reason)
}

// phases runs the job's phases and returns the halt that ended them, if one did.
func (w *work) phases(ctx context.Context) *halt {
	for i, p := range w.job.Phases {
		// A test's apply may have made things before it failed: they are destroyed.
		tidy := w.job.RunType == run.Testing && p.Phase == run.PhaseDestroy &&
			w.result.Result == wire.ResultFailed && w.result.Phase == run.PhaseApply
		if w.result.Result != wire.ResultOK && !tidy {
			continue
		}
		h := w.guard.pending() // it may have come while nothing ran
		if h == nil {
			h = w.phase(ctx, p, i == len(w.job.Phases)-1)
			if h != nil {
				w.result.Phase = p.Phase
			}
		}
		if h != nil {
			w.result.Result, w.result.Reason = h.result, h.reason
			return h
		}
	}
	return nil
}

// phase runs one phase.
func (w *work) phase(ctx context.Context, p wire.WorkerPhase, last bool) *halt {
	_ = w.out.events.Write(wire.Event{Type: wire.EventPhaseStarted, Phase: p.Phase, LogBytes: w.out.log.Written()})
	if w.result.Result == wire.ResultOK {
		w.result.Phase = p.Phase
	}
	e, err := w.steps(ctx, p, last)
	w.collectErrored(p.Phase)
	if err != nil {
		w.fail(p.Phase, e.code, err)
	}
	if e.halt != nil {
		w.result.ExitCode = e.code
	}
	_ = w.out.events.Write(wire.Event{
		Type: wire.EventPhaseFinished, Phase: p.Phase, ExitCode: e.code, LogBytes: w.out.log.Written(),
	})
	return e.halt
}

// steps runs a phase's shell and takes what it leaves.
func (w *work) steps(ctx context.Context, p wire.WorkerPhase, last bool) (ended, error) {
	if err := w.prepare(ctx); err != nil {
		return ended{}, err
	}
	own, err := w.vendor.steps(p.Phase)
	if err != nil {
		return ended{}, err
	}
	steps := append(hooks("before_"+string(p.Phase), p.Before), own...)
	steps = append(steps, hooks("after_"+string(p.Phase), p.After)...)
	// Only hooks can change the environment, and only somebody who comes after
	// needs it: starting our binary costs more than a small phase does.
	var dump []string
	if len(p.Before)+len(p.After) > 0 && (!last || !w.job.Final || len(w.job.AfterRun) > 0) {
		dump = w.o.Dump
	}
	e, err := w.session.run(ctx, steps, w.env.list(nil), w.project.dir, dump)
	if err != nil {
		return e, err
	}
	if e.halt != nil {
		if e.killed && !e.halt.hard {
			late := fmt.Sprintf("it did not end within its grace of %s and was killed", w.session.grace)
			w.out.say(late)
			e.halt.reason += "; " + late
		}
		return e, nil
	}
	if err := verdict(e, steps); err != nil {
		return e, err
	}
	if len(dump) > 0 {
		env, err := os.ReadFile(filepath.Join(w.scratch, fileEnv))
		if err != nil {
			return e, fmt.Errorf("read the environment that the %s phase left: %w", p.Phase, err)
		}
		w.env.take(env)
	}
	return e, w.take(p.Phase)
}

// verdict says how a shell ended that nobody interrupted.
func verdict(e ended, steps []step) error {
	if e.step >= len(steps) {
		if e.code != 0 {
			return fault.New(fault.Invalid, "the environment could not be written down at the phase's end (exit code %d)", e.code)
		}
		return e.err
	}
	s := steps[e.step]
	switch {
	case e.code == 0:
		return fault.New(fault.Invalid, "%s ended the phase's shell, so what follows it did not run", s.name).
			WithHint("let it return instead of calling exit")
	case e.code == 127 && s.missing != "":
		return fault.New(fault.Invalid, "%s: %s", s.name, s.missing)
	case e.code > 128 && e.code < 128+65:
		if name := unix.SignalName(unix.Signal(e.code - 128)); name != "" {
			return fault.New(fault.Invalid, "%s ended with exit code %d (%s)", s.name, e.code, name)
		}
	}
	return fault.New(fault.Invalid, "%s ended with exit code %d", s.name, e.code)
}

// take reads what the tool said about its plan or outputs.
func (w *work) take(p run.Phase) error {
	switch p {
	case run.PhasePlan:
		data, err := os.ReadFile(filepath.Join(w.scratch, filePlan))
		_ = os.Remove(filepath.Join(w.scratch, filePlan))
		if err != nil {
			return fmt.Errorf("read the plan: %w", err)
		}
		w.result.Plan, err = parsePlan(data, w.job.StateMode != wire.StateSealed)
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "the plan's description is not in Terraform's JSON format: %v", err)
		}
	case run.PhaseApply:
		data, err := os.ReadFile(filepath.Join(w.scratch, fileOutputs))
		_ = os.Remove(filepath.Join(w.scratch, fileOutputs))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // skipped, or said in the log
		}
		if err == nil {
			w.result.Outputs, err = parseOutputs(data)
		}
		if err != nil {
			w.out.say("the outputs cannot be read: " + err.Error())
			return nil // what was applied is applied
		}
		w.result.HaveOutputs = true
	}
	return nil
}

// prepare makes ready what the first phase needs.
func (w *work) prepare(ctx context.Context) error {
	if w.env != nil {
		return nil
	}
	source := filepath.Join(w.job.WorkspaceRoot, wire.SourceDir)
	if root := w.job.ProjectRoot; root != "" && !filepath.IsLocal(root) {
		return fault.New(fault.Invalid, "the project root %q leads out of the repository", root)
	}
	dir := filepath.Join(source, w.job.ProjectRoot)
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return fault.New(fault.Invalid, "the project root %q is not a directory in the repository", w.job.ProjectRoot)
	}
	bin := filepath.Join(w.scratch, "bin")
	if w.job.Tool != "" {
		if err := linkTool(bin, w.job.Tool, toolName(w.job.Vendor.Name)); err != nil {
			return err
		}
	}
	own := map[string]string{}
	p := &project{job: w.job, inside: w.inside, dir: dir, source: source, scratch: w.scratch}
	if p.managed() {
		state, err := startStateBackend(ctx, w.inside, w.job, w.out.say)
		if err != nil {
			return err
		}
		w.state = state
		w.out.masker.Add(state.password)
		own = state.environment()
	}
	image := imageEnvironment(w.o.Environ, os.Getpid() == 1)
	image, err := believe(w.job, image, filepath.Join(w.scratch, "keep", "ca-certificates.crt"))
	if err != nil {
		return err
	}
	env := newEnviron(image, w.job, own, bin, filepath.Join(w.scratch, "home"))
	p.env = env
	v, err := newVendor(p)
	if err != nil {
		return err
	}
	w.project, w.vendor, w.env = p, v, env
	return nil
}

// collectErrored saves a state that the tool could not deliver. It stays where it
// is, too.
func (w *work) collectErrored(p run.Phase) {
	if w.project == nil {
		return
	}
	path := filepath.Join(w.project.dir, "errored.tfstate")
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() || st.Size() > maxState {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	if err := w.inside.SaveErrored(string(p)+".errored.tfstate", f); err != nil {
		w.out.say("errored.tfstate could not be saved: " + sentence(err))
		return
	}
	w.out.say("the tool could not deliver its state and left errored.tfstate; it is saved with the run")
}

// afterRun runs the hooks that come at the end whatever it was. They change the
// run's result no more.
func (w *work) afterRun(ctx context.Context, h *halt) {
	if len(w.job.AfterRun) == 0 || w.env == nil || h != nil && h.last || !w.ends() {
		return
	}
	w.guard.again()
	steps := hooks("after_run", w.job.AfterRun)
	more := map[string]string{"TF_VAR_spacelift_final_run_state": string(w.finalState())}
	e, err := w.session.run(ctx, steps, w.env.list(more), w.project.dir, nil)
	if err == nil && e.halt != nil {
		err = errors.New(e.halt.reason)
	}
	if err == nil {
		err = verdict(e, steps)
	}
	if err != nil {
		w.out.say("after_run did not end well: " + sentence(err))
	}
}

// ends reports whether the run is over with this container.
func (w *work) ends() bool {
	if w.result.Result != wire.ResultOK {
		return true
	}
	return w.job.Final && (w.job.RunType == run.Proposed || w.result.Plan == nil || !w.result.Plan.Changed)
}

// finalState is the state that the run is about to have.
func (w *work) finalState() run.State {
	switch w.result.Result {
	case wire.ResultOK:
		return run.Finished
	case wire.ResultStopped:
		return run.Stopped
	}
	return run.Failed
}
