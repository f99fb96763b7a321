package rundir

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

// FuzzLogReader: whatever stands in the segments, reading ends, and a second
// reader at the position where it ended finds nothing more.
func FuzzLogReader(f *testing.F) {
	one := wire.AppendFrame(nil, []byte("one"))
	f.Add(one, one)
	f.Add(one, []byte{})
	f.Add(one[:5], one)
	f.Add(make([]byte, 64), []byte{})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		d, _ := setup(t, Limits{LogBytes: 1 << 20})
		_ = os.WriteFile(filepath.Join(d.Out(), "log", segmentName(1)), first, 0o600)
		_ = os.WriteFile(filepath.Join(d.Out(), "log", segmentName(2)), second, 0o600)
		r := d.LogReader(LogPosition{})
		defer func() { _ = r.Close() }()
		var n int64
		var err error
		for err == nil {
			var p []byte
			p, err = r.Next()
			n += int64(len(p))
		}
		if r.Position().Payload != n || n > int64(len(first)+len(second)) {
			t.Errorf("position %+v after %d bytes", r.Position(), n)
		}
		again := d.LogReader(r.Position())
		defer func() { _ = again.Close() }()
		p, more := again.Next()
		if len(p) > 0 || errors.Is(err, io.EOF) != errors.Is(more, io.EOF) {
			t.Errorf("first %v, then %q %v", err, p, more)
		}
	})
}
