package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Bounds of the decision log.
const (
	maxRuns   = 500       // files, one a run
	maxRecord = 256 << 10 // bytes of a record; its input is left out if it has more
	maxFile   = 1 << 20   // bytes of a run's file, to which nothing is added from there on
)

// Record is one line of the decision log, or of a sample.
type Record struct {
	Time     time.Time `json:"ts"`
	Run      string    `json:"run"`
	Attempt  int64     `json:"attempt"`
	Stack    string    `json:"stack"`
	Class    string    `json:"class"`
	Stage    Stage     `json:"stage"`
	Policy   string    `json:"policy"` // its digest
	Rego     string    `json:"rego"`   // v0 | v1
	Outcome  string    `json:"outcome"`
	Deny     []string  `json:"deny"`
	Sample   bool      `json:"sample"`
	Print    []string  `json:"print,omitempty"`
	Error    string    `json:"error,omitempty"`
	Duration int64     `json:"duration_ms"`
	Input    any       `json:"input,omitempty"` // without secrets, which stars stand for
}

// Outcomes of an evaluation.
const (
	Allowed = "allow"
	Denied  = "deny"
	Failed  = "error"
)

func (p *Policy) record(at time.Time, in *Input, d Decision, err error, mask func(string) string) Record {
	r := Record{
		Time: at.UTC(), Run: in.Run.ID, Attempt: in.Attempt, Stack: in.Stack.ID, Class: in.Class, Stage: in.Stage,
		Policy: p.digest, Rego: p.check.Version, Outcome: Allowed, Deny: []string{}, Sample: d.Sample, Duration: d.Took.Milliseconds(),
		Input: masked(plain(in), mask),
	}
	for _, m := range d.Deny {
		r.Deny = append(r.Deny, mask(m))
	}
	for _, line := range d.Print {
		r.Print = append(r.Print, mask(line))
	}
	switch {
	case err != nil:
		r.Outcome, r.Error = Failed, mask(sentence(err))
	case len(d.Deny) > 0:
		r.Outcome = Denied
	}
	return r
}

// sample prints an evaluation as one line of JSON.
func (p *Policy) sample(at time.Time, in *Input, d Decision, err error, mask func(string) string) {
	if p.o.Samples == nil {
		return
	}
	r := p.record(at, in, d, err, mask)
	line, jerr := json.Marshal(map[string]any{
		"caller": "policy", "level": "info", "ts": r.Time, "msg": fmt.Sprintf("Sample 0/INITIALIZATION/%s/%s", r.Run, r.Outcome),
		"sample": map[string]any{
			"body": p.text, "input": r.Input, "outcome": r.Outcome, "error": r.Error, "stage": r.Stage,
			"results": map[string]any{"deny": r.Deny, "sample": r.Sample},
		},
	})
	if jerr != nil {
		return
	}
	p.samples.Lock()
	defer p.samples.Unlock()
	_, _ = p.o.Samples.Write(append(line, '\n')) // there is nobody else to tell
}

// plain turns a value into what JSON makes of it.
func plain(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var out any
	_ = json.Unmarshal(data, &out) // it was made by Marshal
	return out
}

// masked hides secrets in every text of a JSON value.
func masked(v any, mask func(string) string) any {
	switch v := v.(type) {
	case string:
		return mask(v)
	case []any:
		for i := range v {
			v[i] = masked(v[i], mask)
		}
	case map[string]any:
		for k := range v {
			v[k] = masked(v[k], mask)
		}
	}
	return v
}

// decisions is the decision log: a file a run, a line an evaluation.
type decisions struct {
	dir string
	mu  sync.Mutex
}

func openDecisions(dir string) (*decisions, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the decision log cannot be kept in %s: %v", dir, err).Named("policy_log")
	}
	return &decisions{dir: dir}, nil
}

func (l *decisions) write(r Record) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.append(r)
}

func (l *decisions) append(r Record) error {
	line, err := json.Marshal(r)
	if err == nil && len(line) > maxRecord {
		r.Input = nil
		r.Print = nil
		line, err = json.Marshal(r)
	}
	if err != nil {
		return err
	}
	path := filepath.Join(l.dir, r.Run+".jsonl")
	_, err = os.Lstat(path)
	fresh := errors.Is(err, fs.ErrNotExist)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err == nil {
		if st.Size() > maxFile {
			err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
		} else {
			_, err = f.Write(append(line, '\n'))
		}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && fresh {
		err = l.prune()
	}
	return err
}

// prune removes the runs that were decided upon longest ago.
func (l *decisions) prune() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	type file struct {
		name string
		at   time.Time
	}
	var files []file
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), ".jsonl") {
			files = append(files, file{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return b.at.Compare(a.at) })
	for _, f := range files[min(len(files), maxRuns):] {
		if err := os.Remove(filepath.Join(l.dir, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
