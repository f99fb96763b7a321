package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Inside is the worker's side of a run's directory.
type Inside struct {
	in, out string
	dirMode fs.FileMode
}

// OpenInside opens the directory as the container sees it: in/ and out/ are below
// dir.
func OpenInside(dir string) (*Inside, error) {
	i := &Inside{in: filepath.Join(dir, wire.DirIn), out: filepath.Join(dir, wire.DirOut)}
	st, err := os.Stat(i.out)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "%s is not a run's directory: it has no %s/", dir, wire.DirOut)
	}
	// The launcher made out/ with the permissions that it needs to read it.
	i.dirMode = st.Mode().Perm()
	return i, nil
}

// In and Out return the paths of the trees.
func (i *Inside) In() string { return i.in }

// Out returns the path of out/.
func (i *Inside) Out() string { return i.out }

// Job reads in/job.json; Missing(err) says that it is not there yet.
func (i *Inside) Job() (*wire.WorkerJob, error) {
	var job wire.WorkerJob
	data, err := os.ReadFile(filepath.Join(i.in, wire.InJob))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &job); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the job file cannot be read")
	}
	return &job, nil
}

// Lease returns the number of the last acknowledged beat; 0 if there is none.
func (i *Inside) Lease() int64 { return i.number(wire.InLease) }

// Acked returns how many payload bytes of the log the launcher has let go of.
func (i *Inside) Acked() int64 { return i.number(wire.InAcked) }

// Alive returns the launcher's sign of life while a worker waits for its job.
func (i *Inside) Alive() int64 { return i.number(wire.InAlive) }

func (i *Inside) number(name string) int64 {
	data, err := os.ReadFile(filepath.Join(i.in, name))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Stop returns the order to end, if there is one.
func (i *Inside) Stop() (kill bool, reason string, ordered bool) {
	data, err := os.ReadFile(filepath.Join(i.in, wire.InStop))
	if err != nil {
		return false, "", false
	}
	word, reason, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	return word == "kill", reason, true
}

// Request writes a request. With body not nil, the request has that body.
func (i *Inside) Request(r wire.Request, body []byte) error {
	r.Body = body != nil
	if err := i.mkdir(wire.OutRequests); err != nil {
		return err
	}
	name := wire.OutRequests + "/" + r.ID
	if body != nil {
		if err := i.write(name+".body", body); err != nil {
			return err
		}
	}
	return i.writeJSON(name+".json", r)
}

// Answer returns a request's answer and its body; Missing(err) says: not yet.
func (i *Inside) Answer(id string) (wire.Answer, []byte, error) {
	var a wire.Answer
	base := filepath.Join(i.in, wire.InAnswers, id)
	data, err := os.ReadFile(base + ".json")
	if err != nil {
		return a, nil, err
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, nil, fmt.Errorf("read the answer to request %s: %w", id, err)
	}
	if !a.Body {
		return a, nil, nil
	}
	body, err := os.ReadFile(base + ".body")
	if err != nil {
		return a, nil, fmt.Errorf("read the body of the answer to request %s: %w", id, err)
	}
	return a, body, nil
}

// WriteResult writes the worker's last word. Nothing may be written after it.
func (i *Inside) WriteResult(r wire.RunResult) error { return i.writeJSON(wire.OutResult, r) }

// WriteCarry writes what the next container is to have.
func (i *Inside) WriteCarry(c wire.Carry) error { return i.writeJSON(wire.OutCarry, c) }

// WriteWorkflow writes a custom vendor's commands.
func (i *Inside) WriteWorkflow(w map[string]string) error { return i.writeJSON(wire.OutWorkflow, w) }

// SaveErrored copies a state that the tool could not deliver.
func (i *Inside) SaveErrored(name string, from io.Reader) error {
	data, err := io.ReadAll(from)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := i.mkdir(wire.OutErrored); err != nil {
		return err
	}
	return i.write(wire.OutErrored+"/"+filepath.Base(name), data)
}

// Scratch makes and returns a directory for the worker's own temporary files.
// The launcher never reads it.
func (i *Inside) Scratch() (string, error) {
	path := filepath.Join(i.out, "scratch")
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", named(err, "make the scratch directory")
	}
	return path, nil
}

func (i *Inside) mkdir(name string) error {
	path := filepath.Join(i.out, name)
	err := os.Mkdir(path, i.dirMode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = os.Chmod(path, i.dirMode)
	}
	return named(err, "make the run's directory out/"+name)
}

func (i *Inside) writeJSON(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode out/%s: %w", name, err)
	}
	return i.write(name, data)
}

// write makes a file appear whole.
func (i *Inside) write(name string, data []byte) error {
	path := filepath.Join(i.out, name)
	temp := filepath.Join(filepath.Dir(path), ".new-"+filepath.Base(path))
	f, err := i.create(temp)
	if err == nil {
		_, err = f.Write(data)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err == nil {
			err = os.Rename(temp, path)
		}
		if err != nil {
			_ = os.Remove(temp)
		}
	}
	return named(err, "write the run's file out/"+name)
}

// create makes a new file with the permissions that the launcher needs.
func (i *Inside) create(path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !Missing(err) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(i.dirMode & 0o666); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
