package rundir

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func logWriter(t *testing.T, i *Inside, o LogOptions) *LogWriter {
	t.Helper()
	w, err := i.LogWriter(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Relent()
		_ = w.Close()
	})
	return w
}

// readAll reads what there is.
func readAll(t *testing.T, r *LogReader) string {
	t.Helper()
	var b strings.Builder
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Write(p)
	}
}

func TestALogIsReadOnFromAnyPosition(t *testing.T) {
	t.Parallel()
	d, i := setup(t, Limits{})
	w := logWriter(t, i, LogOptions{Segment: 100})
	var want strings.Builder
	r := d.LogReader(LogPosition{})
	defer func() { _ = r.Close() }()
	var got strings.Builder
	positions := []LogPosition{{}}
	for n := range 50 {
		part := strings.Repeat(string(rune('a'+n%26)), 1+n*3)
		want.WriteString(part)
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
		got.WriteString(readAll(t, r))
		positions = append(positions, r.Position())
	}
	if got.String() != want.String() {
		t.Errorf("read %d bytes, want %d", got.Len(), want.Len())
	}
	for _, p := range positions {
		r := d.LogReader(p)
		if rest := readAll(t, r); rest != want.String()[p.Payload:] {
			t.Errorf("from %+v: %d bytes, want %d", p, len(rest), want.Len()-int(p.Payload))
		}
		_ = r.Close()
	}
}

func TestOneHugeWriteIsSplit(t *testing.T) {
	t.Parallel()
	d, i := setup(t, Limits{})
	w := logWriter(t, i, LogOptions{})
	line := bytes.Repeat([]byte("x"), 20<<20)
	if n, err := w.Write(line); n != len(line) || err != nil {
		t.Fatal(n, err)
	}
	r := d.LogReader(LogPosition{})
	defer func() { _ = r.Close() }()
	if got := readAll(t, r); len(got) != len(line) {
		t.Errorf("%d bytes", len(got))
	}
}

func TestATornTailWaitsForItsRest(t *testing.T) {
	t.Parallel()
	d, _ := setup(t, Limits{})
	path := filepath.Join(d.Out(), "log", "00000001.log")
	frame := wire.AppendFrame(nil, []byte("whole"))
	frame = wire.AppendFrame(frame, []byte("torn"))
	r := d.LogReader(LogPosition{})
	defer func() { _ = r.Close() }()
	if got := readAll(t, r); got != "" {
		t.Errorf("read %q from no file", got)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for cut := range frame {
		_, _ = f.Write(frame[cut : cut+1])
		p, err := r.Next()
		switch cut {
		case len("whole") + 7:
			if string(p) != "whole" || err != nil {
				t.Errorf("%q %v", p, err)
			}
		case len(frame) - 1:
			if string(p) != "torn" || err != nil {
				t.Errorf("%q %v", p, err)
			}
		default:
			if !errors.Is(err, io.EOF) {
				t.Errorf("after %d bytes: %q %v", cut, p, err)
			}
		}
	}
}

func TestSegmentsGoWhenTheyAreAcknowledged(t *testing.T) {
	t.Parallel()
	d, i := setup(t, Limits{})
	w := logWriter(t, i, LogOptions{Segment: 50})
	r := d.LogReader(LogPosition{})
	defer func() { _ = r.Close() }()
	part := []byte(strings.Repeat("x", 60))
	for range 10 {
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	_ = readAll(t, r)
	at := r.Position()
	if err := d.Ack(at.Payload); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(part)
	names, _ := os.ReadDir(filepath.Join(d.Out(), "log"))
	if len(names) != 1 {
		t.Errorf("%d segments are left", len(names))
	}
	on := d.LogReader(at)
	defer func() { _ = on.Close() }()
	if got := readAll(t, on); got != string(part) {
		t.Errorf("after a restart: %q", got)
	}
	if got := readAll(t, r); got != string(part) {
		t.Errorf("went on with %q", got)
	}
}

func TestWritingWaitsForAcknowledgement(t *testing.T) {
	t.Parallel()
	d, i := setup(t, Limits{})
	w := logWriter(t, i, LogOptions{Unacked: 100})
	done := make(chan error, 1)
	go func() {
		for range 3 {
			if _, err := w.Write(make([]byte, 60)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	watch := d.WatchOut()
	defer watch.Close()
	for end := time.After(time.Minute); !w.Blocked(); {
		select {
		case <-watch.C:
		case <-end:
			t.Fatalf("never waited; %d bytes are written", w.Written())
		}
	}
	if w.Written() != 60 {
		t.Errorf("%d bytes are written", w.Written())
	}
	if err := d.Ack(120); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || w.Written() != 180 || w.Blocked() {
		t.Error(err, w.Written(), w.Blocked())
	}
}

func TestWritingThatMayNotWaitSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	d, i := setup(t, Limits{})
	w := logWriter(t, i, LogOptions{Unacked: 100})
	w.Relent()
	for range 5 {
		if _, err := w.Write([]byte(strings.Repeat("x", 60))); err != nil {
			t.Fatal(err)
		}
	}
	r := d.LogReader(LogPosition{})
	defer func() { _ = r.Close() }()
	if got := readAll(t, r); got != strings.Repeat("x", 60)+markUnacked {
		t.Errorf("log %q", got)
	}
}

func TestALogHasALimit(t *testing.T) {
	t.Parallel()
	d, i := setup(t, Limits{})
	w := logWriter(t, i, LogOptions{Total: 100})
	for range 5 {
		if n, err := w.Write([]byte(strings.Repeat("x", 60))); n != 60 || err != nil {
			t.Fatal(n, err)
		}
	}
	r := d.LogReader(LogPosition{})
	defer func() { _ = r.Close() }()
	if got := readAll(t, r); got != strings.Repeat("x", 100)+markTotal {
		t.Errorf("log %q", got)
	}
}

func TestAFullDiskIsNamed(t *testing.T) {
	t.Parallel()
	_, i := setup(t, Limits{})
	w := logWriter(t, i, LogOptions{})
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = w.file.Close()
	w.file = full
	for range 2 {
		_, err = w.Write([]byte("x"))
		if !errors.Is(err, ErrDiskFull) || fault.As(err) == nil || !strings.Contains(err.Error(), "the disk of the run's directory is full") {
			t.Errorf("got %v", err)
		}
	}
}
