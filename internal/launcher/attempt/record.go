package attempt

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spaceport-iac/spaceport/internal/launcher/lease"
	"github.com/spaceport-iac/spaceport/internal/launcher/park"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Step is how far a container has come.
type Step string

// The steps.
const (
	Preparing Step = "preparing" // nothing has run
	Released  Step = "released"  // its start is recorded; it may have run
	Ended     Step = "ended"     // its outcome is told, or about to be
)

// Names of notes in private/.
const (
	noteRecord = "record.json"
	noteLease  = "lease.json" // since the release; before the first, see Record
	noteLog    = "log.json"   // likewise
	noteParked = "parked.age"
)

// Record is what is kept of a container for a launcher that comes after. It holds
// no values of variables and no mounted files.
type Record struct {
	V         int             `json:"v"`
	Ref       wire.AttemptRef `json:"ref"`
	Class     run.Class       `json:"class"`
	Container string          `json:"container"`
	Step      Step            `json:"step"`
	// Released and Boot tell when it was released, by the clock of which boot. The
	// wall clock may be set by years meanwhile.
	Released time.Duration `json:"released"`
	Boot     string        `json:"boot"`

	Job       wire.Job   `json:"job"` // without values
	Core      []string   `json:"core"`
	Image     string     `json:"image"` // registry digest, or ""
	Carried   park.Carry `json:"carried"`
	Workspace string     `json:"workspace"` // host path

	Terms  wire.Terms `json:"terms"`
	Bearer string     `json:"bearer"` // for this attempt alone
	Phases []PhaseLog `json:"phases"`
	Texts  []Text     `json:"texts,omitempty"`

	Lease lease.Note `json:"lease"` // as of the release
	Log   logNote    `json:"log"`   // as of the release
}

// age is how long ago a container was released, as far as that can be told: what
// was released in another boot does not run any more.
func (r *Record) age(boot string, now time.Duration) time.Duration {
	if boot == "" || r.Boot != boot {
		return 0
	}
	return max(0, now-r.Released)
}

// PhaseLog says which state version's log a phase writes.
type PhaseLog struct {
	Phase   run.Phase `json:"phase"`
	Version int       `json:"version"`
}

// Text is a line of the launcher's own within the log of a container. It is noted
// before it is written, so that the log comes out the same after a restart.
type Text struct {
	Version int    `json:"version"`
	Offset  int64  `json:"offset"` // in that log
	Line    string `json:"line"`
}

// logNote is where the log of a container goes on after a restart.
type logNote struct {
	Version  int                `json:"version"`
	Offset   int64              `json:"offset"` // in the state's log
	Hash     []byte             `json:"hash"`
	Chunk    int                `json:"chunk"`
	Position rundir.LogPosition `json:"position"`
}

// stripped returns a job without what is secret in it.
func stripped(j wire.Job) wire.Job {
	vars := make([]wire.Variable, len(j.Environment))
	for i, v := range j.Environment {
		v.Value = ""
		vars[i] = v
	}
	j.Environment, j.Files, j.LogURLs, j.Credential = vars, nil, nil, nil
	if j.Parked != nil {
		p := *j.Parked
		p.URL = ""
		j.Parked = &p
	}
	return j
}

// noted returns what of a carry may lie on the disk in clear. Masks are secrets, and
// what a run changed in its environment may be one; the container that has them
// hands both on itself.
func noted(c park.Carry) park.Carry {
	c.Masks, c.Set = nil, nil
	return c
}

// Load reads the record of a run directory.
func Load(runs, id string) (*Record, error) {
	data, err := os.ReadFile(filepath.Join(runs, id, wire.DirPrivate, noteRecord))
	if err != nil {
		return nil, fmt.Errorf("read the record of container %s: %w", id, err)
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil || r.V != 1 || r.Container != id {
		return nil, fmt.Errorf("read the record of container %s: it is damaged", id)
	}
	return &r, nil
}

// writeNote writes a note that means something to a launcher of the same boot
// alone: no container outlives its machine. So it is not synced to the disk.
func writeNote(d *rundir.Dir, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return d.NotePrivate(name, data)
}

func writeRecord(d *rundir.Dir, r *Record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return d.WritePrivate(noteRecord, data)
}

func readNote(d *rundir.Dir, name string, v any) error {
	data, err := d.ReadPrivate(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

func readLease(d *rundir.Dir, r *Record) (n lease.Note, err error) {
	if err = readNote(d, noteLease, &n); rundir.Missing(err) {
		return r.Lease, nil
	}
	return n, err
}

// readLog returns where the log goes on: at the last note, or where the record
// says that it began.
func readLog(d *rundir.Dir, r *Record) (n logNote, err error) {
	if err = readNote(d, noteLog, &n); rundir.Missing(err) {
		return r.Log, nil
	}
	return n, err
}
