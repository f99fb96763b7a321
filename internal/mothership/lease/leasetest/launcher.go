package leasetest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Trigger makes a run of a type on a stack.
func (w *World) Trigger(st stack.Stack, t run.Type) *runs.Run {
	w.T.Helper()
	r, err := w.Runs.Trigger(w.Ctx(), runs.TriggerInput{Stack: st.Slug, Type: t, CommitSHA: "0123456789abcdef0123456789abcdef01234567"})
	w.must(err)
	return r
}

// Task makes a task on a stack.
func (w *World) Task(st stack.Stack, skipInit bool) *runs.Run {
	w.T.Helper()
	r, err := w.Runs.CreateTask(w.Ctx(), runs.TaskInput{Stack: st.Slug, Command: "echo", SkipInit: skipInit})
	w.must(err)
	return r
}

// Run reads a run.
func (w *World) Run(id string) *runs.Run {
	w.T.Helper()
	r, err := w.Runs.Get(w.Ctx(), id)
	w.must(err)
	return r
}

// WantState fails the test unless the run is in the state.
func (w *World) WantState(id string, want run.State) *runs.Run {
	w.T.Helper()
	r := w.Run(id)
	if r.State != want {
		w.T.Fatalf("run %s is %s (%s), want %s", id, r.State, r.Reason, want)
	}
	return r
}

// Ref names the run's newest attempt.
func (w *World) Ref(r *runs.Run) wire.AttemptRef {
	w.T.Helper()
	return wire.AttemptRef{Run: r.ID, Attempt: w.Run(r.ID).Attempt}
}

// Accept accepts the attempt and opens its job.
func (w *World) Accept(c pool.WorkerIdentity, ref wire.AttemptRef, class run.Class) wire.Job {
	w.T.Helper()
	answer, err := w.Lease.Accept(context.Background(), c, ref, wire.AcceptRequest{Session: 1, Nonce: "nonce", Class: class})
	w.must(err)
	return w.OpenJob(c, answer)
}

// OpenJob opens a job as the worker's session does.
func (w *World) OpenJob(c pool.WorkerIdentity, answer *wire.JobAnswer) wire.Job {
	w.T.Helper()
	header, err := seal.ParseJobHeader(answer.Header)
	w.must(err)
	w.must(header.CheckSealed(answer.Job))
	plain, err := seal.OpenBytes(answer.Job, w.workers[c.Worker])
	w.must(err)
	var job wire.Job
	w.must(json.Unmarshal(plain, &job))
	return job
}

// Start accepts the attempt and starts its container.
func (w *World) Start(c pool.WorkerIdentity, ref wire.AttemptRef, class run.Class, phase run.Phase, container string) wire.StartingAnswer {
	w.T.Helper()
	w.Accept(c, ref, class)
	answer, err := w.Lease.Starting(context.Background(), c, ref, wire.StartingRequest{Session: 1, Container: container, Class: class, Phase: phase})
	w.must(err)
	return answer
}

// Report enters a phase.
func (w *World) Report(c pool.WorkerIdentity, ref wire.AttemptRef, phase run.Phase, container string) wire.ReportAnswer {
	w.T.Helper()
	answer, err := w.Lease.Report(context.Background(), c, ref, wire.ReportRequest{Container: container, Phase: phase})
	w.must(err)
	return answer
}

// Closed is a log update that closes the run's present log with nothing in it.
func (w *World) Closed(id string) wire.LogUpdate {
	w.T.Helper()
	return wire.LogUpdate{Closes: []wire.LogClose{{StateVersion: w.Run(id).StateVersion}}}
}

// Plan is a plan with changes.
func Plan() *wire.Plan {
	return &wire.Plan{Changed: true, Delta: wire.Delta{Added: 1, Resources: 1}, Changes: []wire.Change{{Address: "a.b", Action: "added", Entity: "resource"}}}
}

// End sends a container's outcome with a closed log.
func (w *World) End(c pool.WorkerIdentity, ref wire.AttemptRef, o wire.Outcome) wire.Decision {
	w.T.Helper()
	o.Session, o.Logs = 1, w.Closed(ref.Run)
	if o.Result == "" {
		o.Result = wire.ResultOK
	}
	d, err := w.Lease.Outcome(context.Background(), c, ref, o)
	w.must(err)
	return d
}

// Sign signs a statement with the pool's key.
func (w *World) Sign(st seal.Statement) (statement, signature []byte) {
	w.T.Helper()
	statement, err := st.Marshal()
	w.must(err)
	sum := sha256.Sum256(statement)
	signature, err = rsa.SignPSS(rand.Reader, w.Key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: 32})
	w.must(err)
	return statement, signature
}

// Park uploads a workspace as ordered and says so.
func (w *World) Park(c pool.WorkerIdentity, ref wire.AttemptRef, stackID string, order *wire.ParkOrder) wire.Decision {
	w.T.Helper()
	d, err := w.Lease.Parked(context.Background(), c, ref, w.Parked(ref, stackID, order))
	w.must(err)
	return d
}

// Parked uploads a workspace as ordered and makes the request that says so.
func (w *World) Parked(ref wire.AttemptRef, stackID string, order *wire.ParkOrder) wire.ParkedRequest {
	w.T.Helper()
	body := []byte("sealed workspace")
	w.must(w.Blob.Put(context.Background(), order.Blob, bytes.NewReader(body)))
	previous := order.Previous
	if previous == "none" {
		previous = ""
	}
	statement, signature := w.Sign(seal.Statement{
		Kind: seal.KindWorkspace, Origin: Origin, Pool: Pool, Signer: Digest([]byte("signer")), Stack: stackID, Run: ref.Run,
		Attempt: ref.Attempt, Sequence: order.Sequence, Previous: previous, Ciphertext: Digest(body), Size: int64(len(body)),
		Recipients: []string{"sha256:pool"}, Core: Digest([]byte("core")),
	})
	return wire.ParkedRequest{Session: 1, Blob: order.Blob, Statement: statement, Signature: signature, Ciphertext: Digest(body), Size: int64(len(body))}
}

// Digest is sha256:<hex>.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Planned brings a tracked run to the end of its plan and returns the decision.
func (w *World) Planned(c pool.WorkerIdentity, r *runs.Run) (wire.AttemptRef, wire.Decision) {
	w.T.Helper()
	ref := w.Ref(r)
	container := fmt.Sprintf("read-%d", ref.Attempt)
	w.Start(c, ref, run.Read, run.PhaseInit, container)
	w.Report(c, ref, run.PhasePlan, container)
	return ref, w.End(c, ref, wire.Outcome{
		Container: container, Class: run.Read, Phase: run.PhasePlan, Plan: Plan(), NextContainer: "write-1", Nonce: "next",
	})
}
