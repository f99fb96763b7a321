package attempt

import (
	"encoding/json"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// asked is what the launcher knows of a job it asked for.
type asked struct {
	origin, pool string
	session      Session
	nonce        string
	ref          wire.AttemptRef
	class        run.Class
}

// longestTerm bounds what a mothership may name, in ms: seven days.
const longestTerm = 7 * 24 * 3600 * 1000

// checkAssignment refuses ids that could not be ours. The run's becomes part of
// paths on this host, some of which are removed with all that is in them.
func checkAssignment(a wire.Assignment) error {
	if !plainID(a.Run) || a.Attempt <= 0 || (a.Container != "" && !plainID(a.Container)) || (a.Class != run.Read && a.Class != run.Write) {
		return fault.New(fault.Invalid, "the mothership assigned attempt %d of run %q in container %q of class %q, which are no such names",
			a.Attempt, a.Run, a.Container, a.Class).Named("assignment")
	}
	return nil
}

// plainID reports whether s has the form of a ULID.
func plainID(s string) bool {
	if len(s) != 26 {
		return false
	}
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// checkTerms refuses a lease that is none. Without a fence nobody would end a
// writer whose mothership has given it up, and a number that overflows is a fence
// in the past.
func checkTerms(t wire.Terms) error {
	for _, term := range []struct {
		name      string
		ms, least int64
	}{
		{"beat", t.BeatMs, 1},
		{"acknowledgement", t.AckWithinMs, 1},
		{"fence", t.FenceMs, 1},
		{"grace", t.GraceMs, 0},
		{"slack", t.SlackMs, 0},
	} {
		if term.ms < term.least || term.ms > longestTerm {
			return fault.New(fault.Invalid, "the mothership set the lease's %s to %d ms, which is not between %d and %d", term.name, term.ms, term.least, longestTerm).Named("lease_terms")
		}
	}
	return nil
}

// openJob judges who vouches for a job and for whom it is, and then opens it.
// What stands inside must say the same as the signed header: the header is what
// the signature is about, the job is what will be done.
func openJob(a asked, answer wire.JobAnswer) (*wire.Job, error) {
	header, err := seal.VerifyJob(a.session.JobKeys, answer.Header, answer.Signature)
	if err != nil {
		return nil, err
	}
	err = header.Check(seal.JobExpectation{
		Origin: a.origin, Pool: a.pool, Worker: a.session.Worker, Session: a.session.Number,
		Nonce: a.nonce, Run: a.ref.Run, Attempt: a.ref.Attempt, Class: string(a.class),
	})
	if err != nil {
		return nil, err
	}
	if err := header.CheckSealed(answer.Job); err != nil {
		return nil, err
	}
	plain, err := seal.OpenBytes(answer.Job, a.session.Identity)
	if err != nil {
		return nil, err
	}
	var j wire.Job
	if err := json.Unmarshal(plain, &j); err != nil {
		return nil, fault.New(fault.Invalid, "the job cannot be read").Named("job_format")
	}
	if j.Origin != a.origin || j.Pool != a.pool || j.Worker != a.session.Worker || j.Session != a.session.Number ||
		j.Run != a.ref.Run || j.Attempt != a.ref.Attempt || j.Class != a.class {
		return nil, fault.New(fault.Invalid, "the job says something else than its signed header").Named("job_header")
	}
	if len(run.Share(phases(&j), j.Class)) == 0 {
		return nil, fault.New(fault.Invalid, "the job has no %s phase", j.Class).Named("job_phases")
	}
	return &j, nil
}

// phases returns a job's phases in order.
func phases(j *wire.Job) []run.Phase {
	all := make([]run.Phase, 0, len(j.Phases))
	for _, p := range j.Phases {
		phase := run.Phase(p)
		// A workspace that is planned again is initialised already.
		if phase == run.PhaseInit && (j.SkipInit || (j.State == run.PreparingReplan && j.Parked != nil)) {
			continue
		}
		all = append(all, phase)
	}
	return all
}

// jobCore is the resolved run over all its phases and classes, as lines. Values
// of variables are not in it: they may be rotated during the pause. Names that
// the launcher or the mothership computes differ between phases and are not
// either; they cannot be set by anybody else.
func jobCore(j *wire.Job, sha, image string) seal.Core {
	var c seal.Core
	c.Add("run", j.Run)
	c.Add("stack", j.Stack.ID)
	c.Add("type", string(j.Type))
	c.Add("repository", j.Repository)
	c.Add("commit", sha)
	c.Add("project_root", j.ProjectRoot)
	for _, path := range j.Sparse {
		c.Add("sparse", path)
	}
	c.Add("image", image)
	c.Add("vendor", j.Vendor.Name, j.Vendor.Version, j.Vendor.Workspace)
	c.Add("state", j.Store.Mode)
	for _, name := range sortedKeys(j.Hooks) {
		for _, hook := range j.Hooks[name] {
			c.Add("hook", name, hook)
		}
	}
	c.Add("command", j.Command)
	for _, p := range j.Phases {
		c.Add("phase", p)
	}
	names := map[string]bool{}
	for _, v := range j.Environment {
		if !reserved(v.Name) {
			names[v.Name] = true
		}
	}
	for _, name := range sortedKeys(names) {
		c.Add("variable", name)
	}
	return c
}
