package runs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// signer vouches for jobs with the mothership's job key.
type signer interface {
	SignJob(header []byte) (signature []byte, err error)
}

// urlSigner gives out where a parked workspace can be fetched.
type urlSigner interface {
	SignGet(key string, ttl time.Duration) (string, error)
}

// ComposerOptions are what a Composer works with. All are needed.
type ComposerOptions struct {
	Stacks  Stacks
	Signer  signer
	Blob    urlSigner
	Origin  string // the installation's id
	Account string // its name, as runs see it
	// Credential answers what opens a stack's repository, nil if nothing does.
	Credential func(ctx context.Context, q db.Queryer, st stack.Stack) (*wire.SourceCredential, error)
	// State answers the stack's current state as a job names it.
	State func(ctx context.Context, q db.Queryer, stack string) (sequence int64, digest, statement string, err error)
	// LogURLs answers where the log of a state version goes.
	LogURLs func(r *Run, attempt int64, version int) ([]wire.LogURL, error)
}

// Composer makes the jobs of attempts.
type Composer struct{ o ComposerOptions }

// NewComposer returns a composer, or an error if an option is missing.
func NewComposer(o ComposerOptions) (*Composer, error) {
	if o.Stacks == nil || o.Signer == nil || o.Blob == nil || o.Origin == "" || o.State == nil || o.Credential == nil || o.LogURLs == nil {
		return nil, errors.New("runs: an option of the composer is missing")
	}
	return &Composer{o: o}, nil
}

// Target is the attempt and the worker's session that a job is for.
type Target struct {
	Pool      string
	Worker    string
	Session   int64
	Recipient string // age recipient of the session
	Nonce     string // of the launcher's request
	Attempt   int64
	Class     run.Class
}

// parkedFor is how long the URL of a parked workspace is good. The launcher asks
// for the job again if it needs longer.
const parkedFor = time.Hour

// Compose makes the job of r for a target, seals it to the worker's session and
// vouches for it. It reads committed data only and is called outside of any
// writing transaction.
func (c *Composer) Compose(ctx context.Context, q db.Queryer, r *Run, t Target) (*wire.JobAnswer, error) {
	job, err := c.job(ctx, q, r, t)
	if err != nil {
		return nil, fmt.Errorf("compose job of run %s: %w", r.ID, err)
	}
	plain, err := json.Marshal(job)
	if err != nil {
		return nil, fmt.Errorf("encode job of run %s: %w", r.ID, err)
	}
	// Sealed to the session, so that neither a proxy that ends TLS nor an access
	// log in between sees the secrets that a run needs.
	recipient, err := seal.ParseRecipient(t.Recipient)
	if err != nil {
		return nil, fmt.Errorf("seal job of run %s: %w", r.ID, err)
	}
	sealed, err := seal.SealBytes(plain, recipient)
	if err != nil {
		return nil, fmt.Errorf("seal job of run %s: %w", r.ID, err)
	}
	header, err := seal.JobHeader{
		Origin: c.o.Origin, Pool: t.Pool, Worker: t.Worker, Session: t.Session, Nonce: t.Nonce,
		Run: r.ID, Attempt: t.Attempt, Class: string(t.Class),
		Job: seal.Digest(sealed), Size: int64(len(sealed)),
	}.Marshal()
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the nonce of the request cannot be signed")
	}
	signature, err := c.o.Signer.SignJob(header)
	if err != nil {
		return nil, fmt.Errorf("sign job of run %s: %w", r.ID, err)
	}
	return &wire.JobAnswer{Header: header, Signature: signature, Job: sealed}, nil
}

func (c *Composer) job(ctx context.Context, q db.Queryer, r *Run, t Target) (*wire.Job, error) {
	st, err := c.o.Stacks.ForRun(ctx, q, r.Stack)
	if err != nil {
		return nil, err
	}
	variables, files, err := c.o.Stacks.Resolve(ctx, q, st.ID)
	if err != nil {
		return nil, err
	}
	job := &wire.Job{
		V: wire.Version, Origin: c.o.Origin, Pool: t.Pool, Worker: t.Worker, Session: t.Session,
		Run: r.ID, Attempt: t.Attempt, Class: t.Class,
		Type: r.Type, State: r.State, SkipInit: r.SkipInit, Command: r.Command, Targets: r.Targets,
		Autodeploy: st.Settings.Autodeploy, TriggeredBy: r.TriggeredBy, CreatedAt: r.CreatedAt.UnixNano(), Metadata: r.Metadata,
		Account: c.o.Account,
		Stack:   wire.JobStack{ID: st.ID, Slug: st.Slug, Name: st.Name, Space: st.Space, Labels: st.Settings.Labels},
		// The branch is the run's: the stack may have moved on since.
		Repository: st.Settings.CloneURL(), Branch: r.Branch, Commit: r.Commit,
		ProjectRoot: st.Settings.ProjectRoot, Sparse: st.Settings.GitSparseCheckoutPaths, Image: st.Settings.RunnerImage,
		Vendor:       wire.Vendor{Name: st.Settings.Vendor.Name, Version: st.Settings.Vendor.Version, Workspace: st.Settings.Vendor.Workspace},
		Hooks:        st.Settings.Hooks,
		Environment:  environment(c.o.Account, st, r, variables),
		Files:        files,
		Store:        wire.JobState{Mode: st.StateMode},
		StateVersion: r.StateVersion,

		MaskWellKnown: st.Settings.EnableWellKnownSecretMasking,
	}
	for _, p := range run.Phases(r.Type, r.SkipInit) {
		job.Phases = append(job.Phases, string(p))
	}
	job.Store.Sequence, job.Store.Digest, job.Store.Statement, err = c.o.State(ctx, q, st.ID)
	if err != nil {
		return nil, err
	}
	if r.State == run.PreparingApply {
		if job.Parked, err = c.parked(ctx, q, r); err != nil {
			return nil, err
		}
	}
	if fetches(job) {
		if job.Credential, err = c.o.Credential(ctx, q, st); err != nil {
			return nil, err
		}
	}
	job.LogURLs, err = c.o.LogURLs(r, t.Attempt, r.StateVersion)
	return job, err
}

// fetches reports whether the launcher fetches source for a job. One that goes on
// with a workspace needs no credential, and gets none.
func fetches(j *wire.Job) bool {
	phases := make([]run.Phase, 0, len(j.Phases))
	for _, p := range j.Phases {
		phases = append(phases, run.Phase(p))
	}
	return j.Parked == nil && (j.Class == run.Read || len(run.Share(phases, run.Read)) == 0)
}

// parked names what an apply after a pause opens.
func (c *Composer) parked(ctx context.Context, q db.Queryer, r *Run) (*wire.Parked, error) {
	var (
		p      wire.Parked
		object string
	)
	err := q.QueryRowContext(ctx, `SELECT object, sequence, statement, signature, ciphertext, size FROM parked
		WHERE run = $1 AND removed_at IS NULL ORDER BY sequence DESC LIMIT 1`, r.ID).
		Scan(&object, &p.Sequence, &p.Statement, &p.Signature, &p.Ciphertext, &p.Size)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.Conflict, "the parked workspace of run %s is not there any more", r.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("look up parked workspace: %w", err)
	}
	if p.Previous, err = PreviousParked(ctx, q, r.Stack, p.Sequence); err != nil {
		return nil, err
	}
	p.URL, err = c.o.Blob.SignGet(object, parkedFor)
	return &p, err
}

// PreviousParked returns the digest of the statement of the stack's workspace
// before a sequence number, or "none".
func PreviousParked(ctx context.Context, q db.Queryer, stack string, sequence int64) (string, error) {
	digest := "none"
	err := q.QueryRowContext(ctx, `SELECT digest FROM parked WHERE stack = $1 AND sequence = $2`, stack, sequence-1).Scan(&digest)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("look up the parked workspace before: %w", err)
	}
	return digest, nil
}

// environment is the computed variables and then the stack's, which stand where
// both name the same. What depends on the run's state is the worker's to say.
func environment(account string, st stack.Stack, r *Run, own []wire.Variable) []wire.Variable {
	quoted := make([]string, 0, len(st.Settings.Labels))
	for _, label := range st.Settings.Labels {
		quoted = append(quoted, quoteHCL(label))
	}
	computed := [][2]string{
		{"account_name", account},
		{"commit_branch", r.Branch},
		{"commit_sha", r.Commit.SHA}, // the launcher knows it if nobody does yet
		{"local_preview", "false"},
		{"project_root", st.Settings.ProjectRoot},
		{"repository", st.Settings.Repository},
		{"run_id", r.ID},
		{"run_trigger", "manual"},
		{"run_type", string(r.Type)},
		{"space_id", st.Space},
		{"stack_branch", st.Settings.Branch},
		{"stack_id", st.Slug},
		{"stack_labels", strings.Join(st.Settings.Labels, ",")},
		{"stack_labels_list", "[" + strings.Join(quoted, ", ") + "]"},
	}
	all := make([]wire.Variable, 0, len(computed)+len(own))
	for _, pair := range computed {
		name := "TF_VAR_spacelift_" + pair[0]
		if slices.ContainsFunc(own, func(v wire.Variable) bool { return v.Name == name }) || (pair[0] == "commit_sha" && pair[1] == "") {
			continue
		}
		all = append(all, wire.Variable{Name: name, Value: pair[1], Source: "computed"})
	}
	return append(all, own...)
}

// quoteHCL writes a string as HCL does: a label may hold what would end a
// literal or begin a template.
func quoteHCL(text string) string {
	encoded, err := json.Marshal(text)
	if err != nil {
		return `""`
	}
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(string(encoded))
}
