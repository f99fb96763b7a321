package launcher_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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
		{"with another command", func(j *wire.Job, _ *wire.Parked) { j.Hooks = map[string][]string{"before_apply": {"curl evil"}} }, nil, "core"},
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

func TestARestartedLauncherAdoptsItsContainer(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	gate := filepath.Join(t.TempDir(), "gate")
	j := w.job("echo first; while [ ! -e " + gate + " ]; do sleep 0.02; done; i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done")
	r := w.Enqueue(&launchertest.Run{Job: j})
	l := w.start(w.data)
	w.wait("the first line", func() (bool, string) { return strings.Contains(string(r.Text[4]), "first\n"), string(r.Text[4]) })
	l.cancel() // as good as a kill: nothing is said, nothing is cleaned up
	<-l.done
	l.done <- nil
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start(w.data)
	o := w.over(r)
	var want strings.Builder
	for i := range 300 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if text := w.text(r); o.Result != wire.ResultOK || !strings.Contains(text, want.String()) || strings.Count(text, "first\n") != 1 {
		t.Fatalf("got %+v\n%s", o, text)
	}
	w.empty(w.data)
}

func TestALauncherKilledBeforeTheReleaseAsksForTheJobAgain(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	var block atomic.Bool
	block.Store(true)
	reached := make(chan struct{}, 100)
	w.Before = func(r *http.Request) int {
		if strings.HasSuffix(r.URL.Path, "/starting") && block.Load() {
			reached <- struct{}{}
			return http.StatusServiceUnavailable
		}
		return 0
	}
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo ran")})
	l := w.start(w.data)
	<-reached
	l.cancel()
	<-l.done
	l.done <- nil
	block.Store(false)
	w.start(w.data)
	if o := w.over(r); o.Result != wire.ResultOK || strings.Count(w.text(r), "\nran\n") != 1 {
		t.Fatalf("got %+v\n%s", o, w.text(r))
	}
	w.empty(w.data)
}

func TestAStopInterruptsAndTheWorkerTakesTheNextRun(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo up; trap 'echo unlocked; exit 3' INT; while :; do sleep 0.02; done")})
	w.start(w.data)
	w.wait("it is up", func() (bool, string) { return strings.Contains(string(r.Text[4]), "up\n"), string(r.Text[4]) })
	w.With(func() { r.Stop = &wire.Stop{AttemptRef: r.Ref, Reason: "somebody said so"} })
	o := w.over(r)
	if o.Result != wire.ResultStopped || !strings.Contains(o.Reason, "somebody said so") || !strings.Contains(w.text(r), "unlocked\n") {
		t.Fatalf("got %+v\n%s", o, w.text(r))
	}
	next := w.Enqueue(&launchertest.Run{Job: w.job("echo next")})
	if o := w.over(next); o.Result != wire.ResultOK {
		t.Fatalf("got %+v", o)
	}
}

func TestWithoutContactTheRunIsInterrupted(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	w.Terms.FenceMs, w.Terms.BeatMs = 300, 30
	var cut atomic.Bool
	w.Before = func(*http.Request) int {
		if cut.Load() {
			return http.StatusBadGateway
		}
		return 0
	}
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo up; trap 'echo unlocked; exit 3' INT; while :; do sleep 0.02; done")})
	l := w.start(w.data)
	w.wait("it is up", func() (bool, string) { return strings.Contains(string(r.Text[4]), "up\n"), string(r.Text[4]) })
	cut.Store(true)
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(l.log.String(), "the container ended") {
		if time.Now().After(deadline) {
			t.Fatal("the container goes on")
		}
		time.Sleep(5 * time.Millisecond)
	}
	cut.Store(false)
	if o := w.over(r); o.Result != wire.ResultFenced || !strings.Contains(w.text(r), "unlocked\n") {
		t.Fatalf("got %+v\n%s", o, w.text(r))
	}
}

func TestARunOfAnAttemptThatIsOverIsEndedAndSaidToBeGone(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo up; while :; do sleep 0.02; done")})
	w.start(w.data)
	w.wait("it is up", func() (bool, string) { return strings.Contains(string(r.Text[4]), "up\n"), string(r.Text[4]) })
	w.Lost(r)
	w.wait("it is gone", func() (bool, string) {
		return len(r.Gone) == 1 && r.Gone[0].Delivered && r.Gone[0].Container == r.Container, fmt.Sprint(r.Gone)
	})
	w.empty(w.data)
}

func TestTheFirstSignalDrainsAndTheSecondStops(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo up; while :; do sleep 0.02; done")})
	l := w.start(w.data)
	w.wait("it is up", func() (bool, string) { return strings.Contains(string(r.Text[4]), "up\n"), string(r.Text[4]) })
	l.signals <- syscall.SIGTERM
	w.wait("it says that it leaves", func() (bool, string) {
		for _, x := range w.Workers() {
			return x.Leaving && !r.Over, fmt.Sprintf("%+v", x)
		}
		return false, ""
	})
	l.signals <- syscall.SIGTERM
	if o := w.over(r); o.Result != wire.ResultStopped {
		t.Fatalf("got %+v", o)
	}
	if err := <-l.done; err != nil {
		t.Fatal(err)
	}
	l.done <- nil
}

func TestALauncherMayStartBeforeItsMothership(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	var up atomic.Bool
	tried := make(chan struct{}, 1000)
	w.Before = func(*http.Request) int {
		if !up.Load() {
			tried <- struct{}{}
			return http.StatusBadGateway
		}
		return 0
	}
	w.start(w.data)
	for range 3 {
		<-tried
	}
	up.Store(true)
	r := w.Enqueue(&launchertest.Run{Job: w.job("echo ran")})
	if o := w.over(r); o.Result != wire.ResultOK {
		t.Fatalf("got %+v", o)
	}
}

func TestALogIsCompleteThoughTheStoreFails(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	var n atomic.Int64
	w.Before = func(r *http.Request) int {
		if strings.HasPrefix(r.URL.Path, "/objects/") && n.Add(1)%2 == 1 {
			return []int{500, 403}[n.Load()/2%2]
		}
		return 0
	}
	r := w.Enqueue(&launchertest.Run{Job: w.job("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done")})
	w.start(w.data)
	o := w.over(r)
	var want strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if o.Result != wire.ResultOK || !strings.Contains(w.text(r), want.String()) {
		t.Fatalf("got %+v", o)
	}
}

func TestNoSecretStaysBehindOrIsTold(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	j := w.job("cat ../secret.txt; echo $TOKEN; echo up; while [ ! -e ../../../../../gate ]; do sleep 0.02; done")
	gate := filepath.Join(w.data, "gate")
	j.Command = strings.ReplaceAll(j.Command, "../../../../../gate", gate)
	j.Files = []wire.File{{Path: "secret.txt", Content: []byte("canary-file-9\n"), Secret: true}, {Path: "source/plain", Content: []byte("x")}}
	j.Environment = []wire.Variable{{Name: "TOKEN", Value: "canary-token-9", Secret: true}}
	r := w.Enqueue(&launchertest.Run{Job: j})
	l := w.start(w.data)
	w.wait("it is up", func() (bool, string) { return strings.Contains(string(r.Text[4]), "up\n"), string(r.Text[4]) })
	// While it runs, what the launcher keeps for a restart holds no secret.
	notes, _ := filepath.Glob(filepath.Join(w.data, "slots", "0", "runs", "*", "private", "*"))
	notes2, _ := filepath.Glob(filepath.Join(w.data, "slots", "0", "runs", "*", "in", "*"))
	if len(notes) == 0 {
		t.Fatal("no notes were found")
	}
	for _, name := range append(notes, notes2...) {
		if data, _ := os.ReadFile(name); strings.Contains(string(data), "canary") {
			t.Errorf("%s holds a secret", name)
		}
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := w.over(r)
	if o.Result != wire.ResultOK {
		t.Fatalf("got %+v\n%s", o, w.text(r))
	}
	w.empty(w.data)
	all := l.log.String() + w.text(r)
	_ = filepath.WalkDir(w.data, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasPrefix(path, filepath.Join(w.data, "bin")) {
			data, _ := os.ReadFile(path)
			all += string(data)
		}
		return nil
	})
	data, _ := json.Marshal(r.Outcomes)
	all += string(data)
	if strings.Contains(all, "canary") {
		t.Fatal("a secret is left or was told")
	}
	for _, half := range []string{w.KeyB64[100:160], w.Token.Encode()} {
		if strings.Contains(all, half) {
			t.Fatal("the key or the token is left or was told")
		}
	}
}

func TestASealedStateIsRefusedBeforeAnythingStartsWhereNoRecoveryKeyIsSet(t *testing.T) {
	t.Parallel()
	w := setup(t, nil)
	j := w.job("echo ran")
	j.Store.Mode = wire.StateSealed
	r := w.Enqueue(&launchertest.Run{Job: j})
	w.start(w.data)
	o := w.over(r)
	if o.Result != wire.ResultRefused || o.Container != "" || !strings.Contains(o.Reason, "sealed state needs a recovery recipient in the launcher's settings") {
		t.Fatalf("got %+v", o)
	}
	if !strings.Contains(w.text(r), "sealed state needs a recovery recipient") {
		t.Fatalf("the log says %q", w.text(r))
	}
	w.empty(w.data)
}
