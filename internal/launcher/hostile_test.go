package launcher_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// hostCanary stands in a file of the host that no run may see.
const hostCanary = "canary-of-the-host"

// attacks are what code in a container may try with all that it can write. SECRET is
// the path of a file of the host. Each must end its run, one way or another, with a
// reason if it is a bad one; ok says that the run must not even notice.
var attacks = []struct {
	name, command string
	ok            bool
}{
	{"a link in place of the log's directory", `mv $OUT/log $OUT/was; ln -s / $OUT/log; echo tried`, false},
	{"a link in place of the requests' directory", `rm -rf $OUT/requests; ln -s / $OUT/requests; echo tried`, false},
	{"links in place of segments to come", `for i in 2 3 4; do ln -s $SECRET $OUT/log/0000000$i.log; done; echo tried`, false},
	{"a hard link in place of the result", `echo '{}' > $OUT/x; ln $OUT/x $OUT/result.json; sleep 1`, false},
	{"a link in place of the result", `ln -s $SECRET $OUT/result.json; sleep 1`, false},
	{"a link to a device in place of the result", `ln -s /dev/zero $OUT/result.json; sleep 1`, false},
	{"a FIFO in place of the result", `mkfifo $OUT/result.json; sleep 1`, false},
	{"a directory in place of the result", `mkdir $OUT/result.json; sleep 1`, false},
	{"a FIFO in place of what is carried on", `rm -f $OUT/carry.json; mkfifo $OUT/carry.json; echo tried`, true},
	{"a FIFO in place of the events", `rm -f $OUT/events; mkfifo $OUT/events; echo tried`, false},
	{"a FIFO in place of the log", `rm -f $OUT/log/00000001.log; mkfifo $OUT/log/00000001.log; echo tried`, false},
	{"FIFOs among the states that could not be delivered", `mkdir -p $OUT/errored; mkfifo $OUT/errored/a; ln -s $SECRET $OUT/errored/b; echo tried`, true},
	{"a huge sparse result", `truncate -s 1T $OUT/result.json; sleep 1`, false},
	{"a huge sparse segment", `truncate -s 1T $OUT/log/00000001.log; echo tried`, false},
	{"huge sparse events", `truncate -s 1T $OUT/events; echo tried`, false},
	{"a huge sparse request", `mkdir -p $OUT/requests; truncate -s 1T $OUT/requests/x.json; sleep 1`, false},
	{"a huge sparse body", `mkdir -p $OUT/requests; truncate -s 1T $OUT/requests/y.body; echo '{"id":"y","op":"state_put","body":true}' > $OUT/requests/.t; mv $OUT/requests/.t $OUT/requests/y.json; sleep 1; echo tried`, true},
	{"huge sparse states", `mkdir -p $OUT/errored; truncate -s 1T $OUT/errored/a; echo tried`, true},
	{"a log that was cut off", `: > $OUT/log/00000001.log; echo tried`, false},
	{"a log with other bytes", `for f in $OUT/log/*; do head -c 4096 /dev/urandom > $f; done; echo tried`, false},
	{"other bytes behind the events", `echo garbage-garbage-garbage-garbage >> $OUT/events; echo tried; sleep 1`, false},
	{"a request under a name of two lines", `mkdir -p $OUT/requests; echo '{}' > "$OUT/requests/$(printf 'a\nb').json"; sleep 1`, false},
	{"a request under another one's name", `mkdir -p $OUT/requests; echo '{"id":"../../private/record","op":"state_get"}' > $OUT/requests/z.json; sleep 1`, false},
	{"many files among the requests", `mkdir -p $OUT/requests; i=0; while [ $i -lt 500 ]; do : > $OUT/requests/n$i.body; i=$((i+1)); done; sleep 1`, false},
	{"many requests for a state", `mkdir -p $OUT/requests; i=0; while [ $i -lt 150 ]; do echo '{"id":"g'$i'","op":"state_get"}' > $OUT/requests/.t; mv $OUT/requests/.t $OUT/requests/g$i.json; i=$((i+1)); done; sleep 1; echo tried`, true},
	{"a long line", `head -c 4000000 /dev/zero | tr '\0' x; echo; echo tried`, true},
	{"directories that change places", `mkdir -p $OUT/requests; i=0; while [ $i -lt 100 ]; do mv $OUT/requests $OUT/r; ln -s / $OUT/requests; rm -f $OUT/requests; mv $OUT/r $OUT/requests; i=$((i+1)); done; echo tried`, false},
	{"a tree deeper than a path is long", `cd /mnt/workspace; n=$(printf '%0200d' 0); mkdir $n; i=0; while [ $i -lt 80 ]; do mkdir new; mv $n new/$n; mv new $n; i=$((i+1)); done; echo tried`, true},
	{"names of several lines", `cd /mnt/workspace; mkdir "$(printf 'a\nb')"; echo > "$(printf 'a\nb/c\033[2J')"; echo tried`, true},
	{"directories that may not be entered", `cd /mnt/workspace; mkdir -p a/b/c; chmod 0 a/b a; mkdir -p $OUT/q/r; chmod 0 $OUT/q; echo tried`, true},
	{"trees that may not be read", `chmod 0 $OUT/log $OUT; sleep 1; echo tried`, false},
	{"a process that keeps the output open", `sleep 3600 & echo tried`, true},
	{"a process in a session of its own", `setsid sleep 3600 > /dev/null 2>&1 < /dev/null & echo tried`, true},
	{"the worker's end", `kill -9 $PPID; sleep 60`, false},
	{"a result of its own", `echo '{"v":1,"result":"ok","outputs":{"x":"y"}}' > $OUT/result.json; kill -9 $PPID; sleep 60`, false},
	{"a job of its own", `echo '{}' > $OUT/../in/job.json; echo '0' > $OUT/../in/stop; rm -rf $OUT/../in/*; echo tried`, true},
}

// hostile runs every attack, one after the other, in one launcher, each followed by a
// run that must go well.
func (w *world) hostile(secret string) {
	t := w.t
	if err := os.WriteFile(secret, []byte(hostCanary+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, a := range attacks {
		began := time.Now()
		command := strings.NewReplacer("$OUT", wire.ContainerOut, "$SECRET", secret).Replace(a.command)
		r := w.Enqueue(&launchertest.Run{Job: w.job(command)})
		o := w.over(r)
		switch {
		case a.ok && o.Result != wire.ResultOK:
			t.Errorf("%s: got %+v\n%.3000s", a.name, o, w.text(r))
		case o.Result != wire.ResultOK && o.Reason == "":
			t.Errorf("%s: no reason: %+v", a.name, o)
		}
		if strings.Contains(w.text(r), hostCanary) || strings.Contains(fmt.Sprintf("%+v", o), hostCanary) {
			t.Errorf("%s: a file of the host was told: %+v", a.name, o)
		}
		if next := w.Enqueue(&launchertest.Run{Job: w.job("echo next")}); w.over(next).Result != wire.ResultOK {
			t.Errorf("%s: the next run ended as %+v\n%s", a.name, w.over(next), w.text(next))
		}
		t.Logf("%s: %s %q in %v", a.name, o.Result, o.Reason, time.Since(began).Round(time.Millisecond))
	}
	w.With(func() {
		for key, object := range w.Objects() {
			if strings.Contains(string(object), hostCanary) {
				t.Errorf("a file of the host is in the store at %s", key)
			}
		}
	})
	w.empty(w.data)
}

func TestAHostileRunOfTheProcessBackendGainsNothingFromTheLauncher(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("without mounts the paths are others")
	}
	w := setup(t, nil)
	w.start(w.data)
	w.hostile(filepath.Join(t.TempDir(), "secret"))
}
