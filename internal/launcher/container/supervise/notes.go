package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Files of the process backend in private/. Each appears whole, by rename; only
// the output grows.
//
//	container.json   Create: what to run
//	process.lock     held by the supervisor as long as it lives
//	process.json     supervisor, from the release on: who runs
//	exit.json        supervisor, when the worker has ended: how
//	worker.out       the worker's standard streams
const (
	PlanFile    = "container.json"
	lockFile    = "process.lock"
	processFile = "process.json"
	exitFile    = "exit.json"
	OutputFile  = "worker.out"
)

// Mount is a tree or file that the worker sees at another path.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Spec is what is to be run.
type Spec struct {
	// Binary is the worker's program, Args its arguments after argv[0].
	Binary string
	Args   []string
	// WorkDir is its working directory as it sees it; "/" if empty.
	WorkDir string
	Mounts  []Mount
}

// Plan is what a supervisor needs to know. It holds no secret: a Spec can't.
type Plan struct {
	Spec Spec `json:"spec"`
	// Mounts says that there is a mount namespace to put Spec.Mounts into.
	Mounts bool `json:"mounts"`
}

// ProcessNote tells who runs. Process numbers are used again, and again after
// each boot, so a number alone means nothing.
type ProcessNote struct {
	Boot       string  `json:"boot"`
	Supervisor Process `json:"supervisor"`
	Worker     Process `json:"worker"`
}

// ExitNote is how the worker ended.
type ExitNote struct {
	Code     int       `json:"code"`
	Signal   string    `json:"signal,omitempty"`
	Err      string    `json:"err,omitempty"`
	Finished time.Time `json:"finished"`
}

// Notes reads and writes them for one run directory.
type Notes struct{ Dir string }

// Path is where a file of ours lies.
func (n Notes) Path(name string) string { return filepath.Join(n.Dir, wire.DirPrivate, name) }

// Create writes the plan unless there is one.
func (n Notes) Create(p Plan) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	tmp := n.Path(PlanFile + ".tmp")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	defer os.Remove(tmp)
	return os.Link(tmp, n.Path(PlanFile)) // unlike rename, it replaces nothing
}

// Plan reads what Create wrote.
func (n Notes) Plan() (p Plan, err error) { return p, n.read(PlanFile, &p) }

// Process reads who runs; fs.ErrNotExist before the release.
func (n Notes) Process() (p ProcessNote, err error) { return p, n.read(processFile, &p) }

// Started reports whether a worker was, or is about to be, executed.
func (n Notes) Started() (bool, error) {
	_, err := os.Stat(n.Path(processFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Exit is how a container ended whose supervisor is gone. It is lost without a note:
// the supervisor was killed or the machine went down.
func (n Notes) Exit() (e ExitNote, lost bool, err error) {
	err = n.read(exitFile, &e)
	if errors.Is(err, fs.ErrNotExist) {
		return ExitNote{}, true, nil
	}
	return e, false, err
}

// Forget removes all notes; the plan last, since it is what List goes by.
func (n Notes) Forget() {
	for _, name := range []string{exitFile, processFile, OutputFile, lockFile, PlanFile} {
		_ = os.Remove(n.Path(name))
	}
}

func (n Notes) read(name string, v any) error {
	b, err := os.ReadFile(n.Path(name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// write replaces a note. It isn't synced: a note needs to survive processes, not
// the machine, since with the machine every process it speaks of is gone too.
func (n Notes) write(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := n.Path(name + ".tmp")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, n.Path(name))
}
