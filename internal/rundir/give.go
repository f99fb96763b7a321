package rundir

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/durable"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// What the launcher gives to the worker. All of it appears by rename, so that the
// worker sees it whole or not at all. Nothing is synced to the disk: a file in in/
// means nothing after a reboot, which ends the container too.

// Release writes in/job.json, the order to begin.
func (d *Dir) Release(job wire.WorkerJob) error { return d.giveJSON(wire.InJob, job) }

// HandedOut reports whether in/job.json is there or has been. In the same boot that
// is certain: the container cannot write in in/.
func (d *Dir) HandedOut() bool {
	for _, name := range []string{wire.InJob, wire.InTaken} {
		if _, err := d.in.Lstat(name); !Missing(err) {
			return true
		}
	}
	return false
}

// ForgetJob removes in/job.json, once the worker has read it: it holds secrets. A
// mark stays, for HandedOut.
func (d *Dir) ForgetJob() error {
	if err := d.giveNumber(wire.InTaken, 1); err != nil {
		return err
	}
	if err := d.in.Remove(wire.InJob); err != nil && !Missing(err) {
		return fmt.Errorf("remove the job file: %w", err)
	}
	return nil
}

// Lease writes the number of the last acknowledged beat. Call it on nothing else:
// the worker's fence counts from the last change.
func (d *Dir) Lease(beat int64) error { return d.giveNumber(wire.InLease, beat) }

// Ack tells that the first n payload bytes of the log are safe elsewhere. The
// worker then deletes their segments, so write down the reader's position first.
func (d *Dir) Ack(n int64) error { return d.giveNumber(wire.InAcked, n) }

// Alive tells a waiting worker that its launcher is still there. The number must
// differ from the one before.
func (d *Dir) Alive(n int64) error { return d.giveNumber(wire.InAlive, n) }

// Stop asks the worker to end: by an interrupt, or at once if kill is set. The
// reason is shown to people.
func (d *Dir) Stop(kill bool, reason string) error {
	word := "interrupt"
	if kill {
		word = "kill"
	}
	reason = strings.Join(strings.Fields(reason), " ")
	return d.give(wire.InStop, strings.NewReader(word+" "+reason))
}

// Answer answers a request. With body not nil, the answer has that body. The same
// id may be answered again with the same content.
func (d *Dir) Answer(a wire.Answer, body io.Reader) error {
	if !validID(a.ID) {
		return fmt.Errorf("answer a request: %q is not a request's id", a.ID)
	}
	a.Body = body != nil
	if body != nil {
		if err := d.give(wire.InAnswers+"/"+a.ID+".body", body); err != nil {
			return err
		}
	}
	return d.giveJSON(wire.InAnswers+"/"+a.ID+".json", a)
}

func (d *Dir) giveNumber(name string, n int64) error {
	return d.give(name, strings.NewReader(strconv.FormatInt(n, 10)))
}

func (d *Dir) giveJSON(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode in/%s: %w", name, err)
	}
	return d.give(name, strings.NewReader(string(data)))
}

// give writes a file below in/. The container cannot write there, so temporary
// names need not be secret.
func (d *Dir) give(name string, from io.Reader) error {
	temp := filepath.Join(filepath.Dir(name), ".new-"+filepath.Base(name))
	err := func() error {
		f, err := d.in.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, from)
		if err == nil && os.Geteuid() == 0 {
			err = f.Chown(-1, d.o.GID)
		}
		if err == nil {
			err = f.Chmod(d.inMode)
		}
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
		return d.in.Rename(temp, name)
	}()
	if err != nil {
		_ = d.in.Remove(temp)
	}
	return named(err, "write the run's file in/"+name)
}

// WritePrivate writes a note of the launcher's own, on the disk when it returns.
func (d *Dir) WritePrivate(name string, data []byte) error {
	return named(durable.WriteFile(filepath.Join(d.Private(), filepath.Base(name)), data), "write the run's file private/"+name)
}

// NotePrivate writes a note of the launcher's own that is seen whole or not at
// all, but need not survive the machine.
func (d *Dir) NotePrivate(name string, data []byte) error {
	return named(replaceFile(d.Private(), name, data), "write the run's file private/"+name)
}

// ReadPrivate reads a note.
func (d *Dir) ReadPrivate(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(d.Private(), filepath.Base(name)))
}

func replaceFile(dir, name string, data []byte) error {
	name = filepath.Base(name)
	temp := filepath.Join(dir, durable.Temporary+name)
	err := os.WriteFile(temp, data, 0o600)
	if err == nil {
		err = os.Rename(temp, filepath.Join(dir, name))
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

// validID reports whether id may name a request: it becomes a file name.
func validID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return true
}
