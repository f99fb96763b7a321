package attempt

import (
	"os"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/launcher/setting"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/rundir"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// The record says "released" before the job is there. A launcher that is ended in
// between leaves a container that never had it.
func TestOnlyAContainerThatHadItsJobIsAdopted(t *testing.T) {
	t.Parallel()
	const id = "01HZZZZZZZZZZZZZZZZZZZZZZZ"
	for name, c := range map[string]struct {
		boot  string
		make  func(d *rundir.Dir) error
		adopt bool
	}{
		"no job":                         {"b", func(*rundir.Dir) error { return nil }, false},
		"a job that nobody has read":     {"b", func(d *rundir.Dir) error { return d.Release(wire.WorkerJob{}) }, true},
		"a job that was read and erased": {"b", func(d *rundir.Dir) error { return d.ForgetJob() }, true},
		// What was not synced may be gone.
		"no job since another boot": {"a", func(*rundir.Dir) error { return nil }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ta, _, _ := held(t, &deaf{})
			ta.o.RunsDir, ta.o.Boot, ta.o.Settings = t.TempDir(), "b", &setting.Settings{}
			ta.runner = &Runner{o: ta.o}
			d, err := rundir.Create(ta.o.RunsDir, id, rundir.Options{UID: os.Getuid(), GID: os.Getgid()})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.make(d); err != nil {
				t.Fatal(err)
			}
			rec := &Record{V: 1, Container: id, Step: Released, Boot: c.boot, Released: time.Second}
			r, err := ta.sort(wire.Assignment{Container: id}, []*Record{rec})
			if err != nil || (r.lives != nil) != c.adopt || r.unused == c.adopt {
				t.Errorf("adopted %v, to be made again %v, %v", r.lives != nil, r.unused, err)
			}
			if _, err := os.Stat(d.Path()); os.IsNotExist(err) == c.adopt {
				t.Errorf("its directory: %v", err)
			}
		})
	}
}

// A launcher may be ended between the answer that another container follows and its
// note that this one has ended.
func TestTheContainerBeforeKeepsItsWorkspaceThoughItsEndWasNotNoted(t *testing.T) {
	t.Parallel()
	const id = "01HZZZZZZZZZZZZZZZZZZZZZZZ"
	for _, class := range []run.Class{run.Read, run.Write} {
		ta, _, _ := held(t, &deaf{})
		ta.o.RunsDir, ta.o.Boot, ta.o.Settings = t.TempDir(), "b", &setting.Settings{}
		ta.runner = &Runner{o: ta.o}
		d, err := rundir.Create(ta.o.RunsDir, id, rundir.Options{UID: os.Getuid(), GID: os.Getgid()})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.ForgetJob(); err != nil {
			t.Fatal(err)
		}
		rec := &Record{V: 1, Container: id, Class: class, Step: Released, Boot: "b"}
		a := wire.Assignment{Class: run.Write, Container: "01HZZZZZZZZZZZZZZZZZZZZZZY"}
		r, err := ta.sort(a, []*Record{rec})
		if err != nil || r.unused || r.lives != nil || (r.before != nil) != (class == run.Read) {
			t.Errorf("%s: before %v, to be made again %v, adopted %v, %v", class, r.before != nil, r.unused, r.lives != nil, err)
		}
	}
}
