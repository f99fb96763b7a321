package container

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
	planFile    = "container.json"
	lockFile    = "process.lock"
	processFile = "process.json"
	exitFile    = "exit.json"
	outputFile  = "worker.out"
)

// plan is what a supervisor needs to know. It holds no secret: a Spec can't.
type plan struct {
	Spec   Spec `json:"spec"`
	Mounts bool `json:"mounts"`
}

// processNote tells who runs. Process numbers are used again, and again after
// each boot, so a number alone means nothing.
type processNote struct {
	Boot       string  `json:"boot"`
	Supervisor process `json:"supervisor"`
	Worker     process `json:"worker"`
}

// exitNote is how the worker ended.
type exitNote struct {
	Code     int       `json:"code"`
	Signal   string    `json:"signal,omitempty"`
	Err      string    `json:"err,omitempty"`
	Finished time.Time `json:"finished"`
}

// notes reads and writes them for one run directory.
type notes struct{ dir string }

func (n notes) path(name string) string { return filepath.Join(n.dir, wire.DirPrivate, name) }

// create writes the plan unless there is one.
func (n notes) create(p plan) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	tmp := n.path(planFile + ".tmp")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	defer os.Remove(tmp)
	return os.Link(tmp, n.path(planFile)) // unlike rename, it replaces nothing
}

func (n notes) plan() (p plan, err error) { return p, n.read(planFile, &p) }

func (n notes) process() (p processNote, err error) { return p, n.read(processFile, &p) }

// started reports whether a worker was, or is about to be, executed.
func (n notes) started() (bool, error) {
	_, err := os.Stat(n.path(processFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// exit is how a container ended whose supervisor is gone. Without a note the
// supervisor was killed or the machine went down.
func (n notes) exit() (Exit, error) {
	var e exitNote
	err := n.read(exitFile, &e)
	if errors.Is(err, fs.ErrNotExist) {
		return Exit{Code: -1, Lost: true}, nil
	}
	if err != nil {
		return Exit{}, err
	}
	return Exit{Code: e.Code, Signal: e.Signal, Err: e.Err, Finished: e.Finished}, nil
}

// forget removes all notes; the plan last, since it is what List goes by.
func (n notes) forget() {
	for _, name := range []string{exitFile, processFile, outputFile, lockFile, planFile} {
		_ = os.Remove(n.path(name))
	}
}

func (n notes) read(name string, v any) error {
	b, err := os.ReadFile(n.path(name))
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
func (n notes) write(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := n.path(name + ".tmp")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, n.path(name))
}
