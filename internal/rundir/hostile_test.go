package rundir

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

func owner(st fs.FileInfo) (uid, gid int) {
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, -1
	}
	return int(s.Uid), int(s.Gid)
}

// readers are all the ways in which a launcher reads a file of the container.
func readers() map[string]func(d *Dir) error {
	return map[string]func(d *Dir) error{
		"log/00000001.log": func(d *Dir) error {
			r := d.LogReader(LogPosition{})
			defer func() { _ = r.Close() }()
			_, err := r.Next()
			return err
		},
		"log/00000002.log": func(d *Dir) error {
			r := d.LogReader(LogPosition{})
			defer func() { _ = r.Close() }()
			_, err := r.Next()
			return err
		},
		"events": func(d *Dir) error {
			r := d.EventReader(EventPosition{})
			defer func() { _ = r.Close() }()
			_, err := r.Next()
			return err
		},
		"result.json":     func(d *Dir) error { _, err := d.ReadResult(); return err },
		"carry.json":      func(d *Dir) error { _, err := d.ReadCarry(); return err },
		"workflow.json":   func(d *Dir) error { _, err := d.ReadWorkflow(); return err },
		"requests/1.json": func(d *Dir) error { _, err := d.Requests(); return err },
		"requests/1.body": func(d *Dir) error { return openAndClose(d.RequestBody("1")) },
		"errored/a":       func(d *Dir) error { return openAndClose(d.OpenErrored("a")) },
	}
}

func openAndClose(r io.ReadCloser, err error) error {
	if err != nil {
		return err
	}
	return r.Close()
}

func TestOnlyPlainFilesOfTheRunsUserAreRead(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	// A file that every reader could use, so that a refusal has no other reason.
	content := string(wire.AppendFrame(nil, []byte(`{"seq":1,"id":"1"}`)))
	if err := os.WriteFile(secret, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	plants := map[string]struct {
		plant func(path string) error
		what  string
	}{
		"a symbolic link":        {func(p string) error { return os.Symlink(secret, p) }, "a symbolic link"},
		"a link inside the tree": {func(p string) error { return os.Symlink("plain", p) }, "a symbolic link"},
		"a link to nowhere":      {func(p string) error { return os.Symlink("/no/such/file", p) }, "a symbolic link"},
		"a FIFO":                 {func(p string) error { return unix.Mkfifo(p, 0o600) }, "a FIFO"},
		"a socket":               {func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o600, 0) }, "a device or socket"},
		"a directory":            {func(p string) error { return os.Mkdir(p, 0o700) }, "a directory"},
		"a hard link":            {func(p string) error { return link(secret, p) }, "a hard link"},
		"a file of somebody else's": {func(p string) error {
			if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
				return err
			}
			return os.Chown(p, 12345, -1)
		}, "owned by user 12345"},
	}
	for name, read := range readers() {
		for how, plant := range plants {
			t.Run(how+" at "+name, func(t *testing.T) {
				t.Parallel()
				if os.Getuid() != 0 && strings.Contains(how, "somebody") {
					t.Skip("only root may give files away")
				}
				d, _ := setup(t, Limits{})
				path := filepath.Join(d.Out(), name)
				_ = os.MkdirAll(filepath.Dir(path), 0o700)
				_ = os.WriteFile(filepath.Join(filepath.Dir(path), "plain"), []byte(content), 0o600)
				if err := plant.plant(path); err != nil {
					t.Fatal(err)
				}
				err := read(d)
				if !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), plant.what) {
					t.Errorf("got %v", err)
				}
				if err != nil && strings.Contains(err.Error(), "secret") {
					t.Errorf("the error tells a link's target: %v", err)
				}
			})
		}
	}
}

// link makes a hard link, by a copy beside it where the target is on another file
// system.
func link(from, to string) error {
	err := os.Link(from, to)
	if errors.Is(err, unix.EXDEV) {
		if err = os.WriteFile(to, nil, 0o600); err == nil {
			err = os.Link(to, to+".2")
		}
	}
	return err
}

func TestADirectoryThatIsALinkIsRefused(t *testing.T) {
	t.Parallel()
	for name, read := range readers() {
		dir, _, nested := strings.Cut(name, "/")
		if !nested {
			continue
		}
		for how, target := range map[string]string{"out of the tree": t.TempDir(), "inside the tree": "elsewhere"} {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				d, _ := setup(t, Limits{})
				_ = os.Mkdir(filepath.Join(d.Out(), "elsewhere"), 0o700)
				_ = os.Remove(filepath.Join(d.Out(), dir))
				if err := os.Symlink(target, filepath.Join(d.Out(), dir)); err != nil {
					t.Fatal(err)
				}
				if err := read(d); !errors.Is(err, ErrUntrusted) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

func TestALogThatDoesNotAddUpIsCorrupt(t *testing.T) {
	t.Parallel()
	whole := wire.AppendFrame(nil, []byte("first"))
	whole = wire.AppendFrame(whole, []byte("second"))
	for name, c := range map[string]struct {
		do   func(t *testing.T, path string)
		want error
		says string
	}{
		"shrunk": {func(t *testing.T, path string) { truncate(t, path, 3) }, ErrCorrupt, "has shrunk"},
		"rewritten": {func(_ *testing.T, path string) {
			_ = os.WriteFile(path, []byte(strings.Repeat("rewritten with something longer", 9)), 0o600)
		}, ErrCorrupt, "fails its checksum or length"},
		"a wrong checksum":   {func(t *testing.T, path string) { add(t, path, flip(wire.AppendFrame(nil, []byte("third")))) }, ErrCorrupt, "fails its checksum"},
		"an endless line":    {func(t *testing.T, path string) { add(t, path, []byte{0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0}) }, ErrCorrupt, "checksum or length"},
		"an empty frame":     {func(t *testing.T, path string) { add(t, path, make([]byte, 8)) }, ErrCorrupt, "an empty frame"},
		"a sparse tail":      {func(t *testing.T, path string) { truncate(t, path, 5<<20) }, ErrCorrupt, "an empty frame"},
		"a huge sparse file": {func(t *testing.T, path string) { truncate(t, path, 1<<40) }, ErrTooLarge, "more than"},
		"a segment that is left out": {func(t *testing.T, path string) {
			_ = os.WriteFile(filepath.Join(filepath.Dir(path), "00000002.log"), nil, 0o600)
			_ = os.WriteFile(filepath.Join(filepath.Dir(path), "00000003.log"), whole, 0o600)
		}, ErrCorrupt, "it is empty or missing"},
		"half a frame before the next segment": {func(t *testing.T, path string) {
			add(t, path, []byte{9, 0, 0})
			_ = os.WriteFile(filepath.Join(filepath.Dir(path), "00000002.log"), whole, 0o600)
		}, ErrCorrupt, "in the middle of a frame"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, _ := setup(t, Limits{})
			path := filepath.Join(d.Out(), "log", "00000001.log")
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			r := d.LogReader(LogPosition{})
			defer func() { _ = r.Close() }()
			if got := readAll(t, r); got != "firstsecond" {
				t.Fatalf("read %q", got)
			}
			c.do(t, path)
			// A reader that goes on, and one of an adopting launcher.
			adopted := d.LogReader(r.Position())
			defer func() { _ = adopted.Close() }()
			for who, r := range map[string]*LogReader{"going on": r, "adopted": adopted} {
				var err error
				for n := 0; n < 10 && (err == nil || errors.Is(err, io.EOF)); n++ {
					_, err = r.Next()
				}
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
					if name == "rewritten" && errors.Is(err, ErrCorrupt) {
						continue
					}
					t.Errorf("%s: %v", who, err)
				}
				if _, again := r.Next(); !errors.Is(again, c.want) {
					t.Errorf("%s, asked again: %v", who, again)
				}
				if r.Position().Payload != int64(len("firstsecond")) {
					t.Errorf("%s: position %+v", who, r.Position())
				}
			}
		})
	}
}

func flip(b []byte) []byte {
	b[len(b)-1] ^= 1
	return b
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
}

func TestALogOverItsLimitIsRefused(t *testing.T) {
	t.Parallel()
	d, i := setup(t, Limits{LogBytes: 100})
	w := logWriter(t, i, LogOptions{})
	for range 3 {
		_, _ = w.Write([]byte(strings.Repeat("x", 40)))
	}
	r := d.LogReader(LogPosition{})
	defer func() { _ = r.Close() }()
	var err error
	n := 0
	for err == nil {
		var p []byte
		p, err = r.Next()
		n += len(p)
	}
	if !errors.Is(err, ErrTooLarge) || n != 80 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestEventsThatDoNotAddUpAreCorrupt(t *testing.T) {
	t.Parallel()
	for name, record := range map[string]string{
		"no JSON": "hello", "a number twice": `{"seq":1}`, "a number left out": `{"seq":3}`,
	} {
		d, _ := setup(t, Limits{})
		data := wire.AppendFrame(nil, []byte(`{"seq":1,"type":"read"}`))
		data = wire.AppendFrame(data, []byte(record))
		_ = os.WriteFile(filepath.Join(d.Out(), "events"), data, 0o600)
		r := d.EventReader(EventPosition{})
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := r.Next(); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v", name, err)
			}
		}
		_ = r.Close()
	}
}

func TestSizesAndCountsAreLimited(t *testing.T) {
	t.Parallel()
	d, _ := setup(t, Limits{ResultBytes: 100, Requests: 2, RequestBody: 10, Errored: 1, EventBytes: 50})
	put := func(name, content string) {
		path := filepath.Join(d.Out(), name)
		_ = os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("result.json", `{"reason":"`+strings.Repeat("x", 100)+`"}`)
	if _, err := d.ReadResult(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("result: %v", err)
	}
	put("events", strings.Repeat("x", 51))
	if _, err := d.EventReader(EventPosition{}).Next(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("events: %v", err)
	}
	put("requests/1.body", "0123456789")
	body, err := d.RequestBody("1")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(body); err != nil || len(data) != 10 {
		t.Errorf("a body at its limit: %d bytes, %v", len(data), err)
	}
	_ = body.Close()
	if body, err = d.RequestBody("1"); err != nil {
		t.Fatal(err)
	}
	put("requests/1.body", "0123456789a") // the same file, which grows
	if data, err := io.ReadAll(body); !errors.Is(err, ErrTooLarge) || len(data) > 10 {
		t.Errorf("a body that grows over its limit: %d bytes, %v", len(data), err)
	}
	_ = body.Close()
	if _, err = d.RequestBody("1"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a body over its limit: %v", err)
	}
	put("errored/a", "0123456789a")
	if _, err = d.OpenErrored("a"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a state over its limit: %v", err)
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		put("requests/"+name, "")
		put("errored/"+name, "")
	}
	if _, err := d.Requests(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("requests: %v", err)
	}
	if _, err := d.Errored(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("errored: %v", err)
	}
}

func TestAForgedRequestIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, content string }{
		"another's id":     {"1.json", `{"id":"2","op":"state_put"}`},
		"a name with dots": {"a.b.json", `{"id":"a.b"}`},
		"no JSON":          {"1.json", `hello`},
		"two in one":       {"1.json", `{"id":"1"}{"id":"1"}`},
		"an endless one":   {"1.json", `{"id":"1","lock":"` + strings.Repeat("x", maxRequest) + `"}`},
	} {
		d, _ := setup(t, Limits{})
		_ = os.WriteFile(filepath.Join(d.Out(), "requests", c.file), []byte(c.content), 0o600)
		if rs, err := d.Requests(); err == nil || len(rs) != 0 {
			t.Errorf("%s: %+v", name, rs)
		}
	}
	d, _ := setup(t, Limits{})
	for _, id := range []string{"", "..", "../../private/x", "a/b", "a\x00"} {
		if _, err := d.RequestBody(id); !errors.Is(err, ErrUntrusted) {
			t.Errorf("body of %q: %v", id, err)
		}
		if err := d.Answer(wire.Answer{ID: id}, nil); err == nil {
			t.Errorf("answered %q", id)
		}
		if _, err := d.OpenErrored(id); err == nil {
			t.Errorf("opened errored %q", id)
		}
	}
}
