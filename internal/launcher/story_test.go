package launcher_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// A workflow whose plan changes something and whose apply proves that workspace
// and environment came along.
const workflow = `
init: echo initialised
workspaceSelect: "true"
workspaceNew: "true"
plan: echo planning $FROM_INIT; echo "planned here" > made; ln -s made link
showState: "true"
showPlan: cat plan.json
getOutputs: echo '{}'
apply: echo applying; cat link; echo "env=$FROM_INIT mode=$MODE"
destroy: "true"
`

const plan = `{"format_version":"1.2","terraform_version":"1.11.4","resource_changes":[{"address":"x.y","mode":"managed","type":"x","name":"y","provider_name":"p","change":{"actions":["create"],"before":null,"after":{},"after_unknown":{}}}]}`

func tracked(t *testing.T) (*world, wire.Job) {
	t.Helper()
	w := setup(t, map[string]string{".spacelift/workflow.yml": workflow, "plan.json": plan})
	j := w.job("")
	j.Type, j.SkipInit = run.Tracked, false
	j.Hooks = map[string][]string{"before_init": {"export FROM_INIT='kept value'"}, "before_apply": {"echo hooked"}}
	j.Environment = []wire.Variable{{Name: "ro_MODE", Value: "reading"}, {Name: "wo_MODE", Value: "writing"}, {Name: "SECRET", Value: "canary-77", Secret: true}}
	return w, j
}

func applied(t *testing.T, w *world, r *launchertest.Run, o wire.Outcome) {
	t.Helper()
	text := w.text(r)
	if o.Result != wire.ResultOK || o.Class != run.Write || o.Phase != run.PhaseApply {
		t.Fatalf("got %+v\n%s", o, text)
	}
	for _, want := range []string{"hooked\n", "applying\n", "planned here\n", "env=kept value mode=writing\n"} {
		if !strings.Contains(text, want) {
			t.Fatalf("%q is missing in %s", want, text)
		}
	}
}

func TestReadingAndWritingAreTwoContainersOfOneWorkspace(t *testing.T) {
	t.Parallel()
	w, j := tracked(t)
	r := w.Enqueue(&launchertest.Run{Job: j})
	w.start(w.data)
	applied(t, w, r, w.over(r))
	w.With(func() {
		if len(r.Outcomes) != 2 || r.Outcomes[0].Container == r.Outcomes[1].Container || r.Outcomes[0].Plan == nil || r.Outcomes[0].Core != r.Outcomes[1].Core {
			t.Errorf("got %+v", r.Outcomes)
		}
		if fmt.Sprint(r.Phases) != "[init plan apply]" {
			t.Errorf("phases %v", r.Phases)
		}
	})
	w.empty(w.data)
}

// parked plans a run and returns the job that applies it elsewhere.
func parked(t *testing.T) (*world, wire.Job) {
	t.Helper()
	w, j := tracked(t)
	r := w.Enqueue(&launchertest.Run{Job: j, Park: true})
	l := w.start(w.data)
	w.over(r)
	if r.Parked == nil {
		t.Fatalf("nothing was parked: %+v", r.Outcomes)
	}
	l.signals <- syscall.SIGTERM
	if err := <-l.done; err != nil {
		t.Fatal(err)
	}
	l.done <- nil
	w.empty(w.data)
	j.State, j.Run = run.PreparingApply, r.Job.Run
	j.Parked = &wire.Parked{
		URL: w.Server.URL + "/objects/parked/" + r.Ref.Run, Sequence: 1, Previous: "none", Statement: r.Parked.Statement,
		Signature: r.Parked.Signature, Ciphertext: r.Parked.Ciphertext, Size: r.Parked.Size,
	}
	return w, j
}

func TestAnotherWorkerAppliesWhatThisOnePlanned(t *testing.T) {
	t.Parallel()
	w, j := parked(t)
	for key, blob := range w.Objects() {
		if strings.HasPrefix(key, "parked/") && strings.Contains(string(blob), "planned here") {
			t.Fatal("something lies open in the object store")
		}
	}
	r := w.Enqueue(&launchertest.Run{Job: j, Class: run.Write, Ref: wire.AttemptRef{Run: j.Run, Attempt: 2}, Version: 8})
	w.start(t.TempDir())
	applied(t, w, r, w.over(r))
}

func TestAWorkspaceThatIsNotTheOneThatWasParkedIsRefused(t *testing.T) {
	t.Parallel()
	w, good := parked(t)
	key := "parked/" + good.Run
	blob := w.Objects()[key]
	statement, err := seal.ParseStatement(good.Parked.Statement)
	if err != nil {
		t.Fatal(err)
	}
	// sign makes a statement with one line changed; by a stranger's key unless own.
	sign := func(change func(*seal.Statement), p *wire.Parked) {
		s := *statement
		change(&s)
		if p.Statement, err = s.Marshal(); err != nil {
			t.Fatal(err)
		}
		if p.Signature, err = w.Key.SignStatement(p.Statement); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct {
		name   string
		change func(j *wire.Job, p *wire.Parked)
		blob   []byte
		want   string
	}{
		{"forged signature", func(_ *wire.Job, p *wire.Parked) { p.Signature = append([]byte{1}, p.Signature[1:]...) }, nil, "signed by none"},
		{"truncated", func(*wire.Job, *wire.Parked) {}, blob[:len(blob)-10], "bytes"},
		{"other bytes", func(*wire.Job, *wire.Parked) {}, append(append([]byte{}, blob[:len(blob)-1]...), blob[len(blob)-1]^1), "ciphertext"},
		{"of another stack", func(_ *wire.Job, p *wire.Parked) {
			sign(func(s *seal.Statement) { s.Stack = "01HOTHER000000000000000000" }, p)
		}, nil, "stack"},
		{"of another run", func(_ *wire.Job, p *wire.Parked) {
			sign(func(s *seal.Statement) { s.Run = "01HOTHER000000000000000000" }, p)
		}, nil, "run"},
		{"of another kind", func(_ *wire.Job, p *wire.Parked) { sign(func(s *seal.Statement) { s.Kind = seal.KindState }, p) }, nil, "kind"},
		{"of another sequence", func(_ *wire.Job, p *wire.Parked) { p.Sequence = 2 }, nil, "sequence"},
		{"with another predecessor", func(_ *wire.Job, p *wire.Parked) { p.Previous = "sha256:" + strings.Repeat("ab", 32) }, nil, "previous"},
		{"with another command", func(j *wire.Job, _ *wire.Parked) { j.Hooks = map[string][]string{"before_apply": {"curl evil"}} }, nil, "hooks or names of variables were changed since this run began"},
		{"with one more variable", func(j *wire.Job, _ *wire.Parked) {
			j.Environment = append(j.Environment, wire.Variable{Name: "LD_PRELOAD", Value: "/x"})
		}, nil, "core"},
		{"with another commit", func(j *wire.Job, _ *wire.Parked) { j.Commit.SHA = strings.Repeat("ab", 20) }, nil, "core"},
		{"fetched from elsewhere", func(_ *wire.Job, p *wire.Parked) { p.URL = "http://127.0.0.2:9/objects/x" }, nil, "bundle does not list"},
	}
	for i, c := range cases {
		j := good
		p := *good.Parked
		j.Parked = &p
		c.change(&j, &p)
		if c.blob != nil {
			w.With(func() { w.Objects()[fmt.Sprintf("bad/%d", i)] = c.blob })
			p.URL = w.Server.URL + fmt.Sprintf("/objects/bad/%d", i)
		}
		w.Enqueue(&launchertest.Run{Job: j, Class: run.Write, Ref: wire.AttemptRef{Run: j.Run, Attempt: int64(10 + i)}, Version: 8})
	}
	w.start(t.TempDir())
	w.wait("all are refused", func() (bool, string) { return allOver(w, 10, len(cases)) })
	for i, c := range cases {
		o, text := outcomeOf(w, int64(10+i))
		if o == nil || (o.Result != wire.ResultRefused && !(c.want == "bundle does not list" && o.Result == wire.ResultFailed)) || !strings.Contains(o.Reason, c.want) || o.Container != "" {
			t.Errorf("%s: got %+v", c.name, o)
		}
		if strings.Contains(text, "applying") {
			t.Errorf("%s: it was applied", c.name)
		}
	}
}

func allOver(w *world, first, n int) (bool, string) {
	seen := 0
	for _, r := range w.Runs() {
		if r.Ref.Attempt >= int64(first) && r.Over {
			seen++
		}
	}
	return seen == n, fmt.Sprintf("%d of %d", seen, n)
}

func outcomeOf(w *world, attempt int64) (o *wire.Outcome, text string) {
	w.With(func() {
		for _, r := range w.Runs() {
			if r.Ref.Attempt == attempt && len(r.Outcomes) > 0 {
				o = &r.Outcomes[len(r.Outcomes)-1]
				for _, b := range r.Text {
					text += string(b)
				}
			}
		}
	})
	return o, text
}

func TestAJobThatNobodyVouchesForIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		header func(*seal.JobHeader)
		answer func(*wire.JobAnswer)
		want   string
	}{
		{"signed by nobody", nil, func(a *wire.JobAnswer) { a.Signature = make([]byte, 64) }, "sign"},
		{"for another worker", func(h *seal.JobHeader) { h.Worker = "01HOTHER000000000000000000" }, nil, "worker"},
		{"for another session", func(h *seal.JobHeader) { h.Session++ }, nil, "session"},
		{"for another pool", func(h *seal.JobHeader) { h.Pool = "01OTHER" }, nil, "pool"},
		{"of another installation", func(h *seal.JobHeader) { h.Origin = "01OTHER" }, nil, "origin"},
		{"an answer of before", func(h *seal.JobHeader) { h.Nonce = "before" }, nil, "nonce"},
		{"of another run", func(h *seal.JobHeader) { h.Run = "01HOTHER000000000000000000" }, nil, "run"},
		{"of another attempt", func(h *seal.JobHeader) { h.Attempt++ }, nil, "attempt"},
		{"of another class", func(h *seal.JobHeader) { h.Class = "read" }, nil, "class"},
		{"with another content", nil, func(a *wire.JobAnswer) { a.Job = append(a.Job, 0) }, "job"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, nil)
			w.Header, w.Answer = c.header, c.answer
			r := w.Enqueue(&launchertest.Run{Job: w.job("echo ran")})
			w.start(w.data)
			o := w.over(r)
			if o.Result != wire.ResultRefused || !strings.Contains(o.Reason, c.want) || strings.Contains(w.text(r), "\nran\n") {
				t.Fatalf("got %+v", o)
			}
		})
	}
}
