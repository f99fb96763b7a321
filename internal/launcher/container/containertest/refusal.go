package containertest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

func notExecutable(t *testing.T, w *world) {
	r := w.prepare(t, exiting("0"))
	r.Binary = filepath.Join(w.DataDir, "bin", "broken")
	if err := os.WriteFile(r.Binary, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := w.Backend.Create(t.Context(), r.Spec); err != nil {
		t.Fatal(err)
	}
	err := w.Backend.Start(t.Context(), r.ULID)
	if err == nil {
		// The engine may notice only inside.
		if e := wait(t, w.Backend, r.ULID); e.Code == 0 {
			t.Errorf("it ended as %+v", e)
		}
		return
	}
	if !strings.Contains(err.Error(), "exec format error") {
		t.Errorf("the start gave %v", err)
	}
	st, err := w.Backend.Inspect(t.Context(), r.ULID)
	if err != nil || !st.Started || st.Running || st.Exit.Code == 0 || st.Exit.Err == "" {
		t.Errorf("afterwards it is %+v, %v", st, err)
	}
	if e := wait(t, w.Backend, r.ULID); e.Err == "" {
		t.Errorf("it ended as %+v", e)
	}
}

func foreignMount(t *testing.T, w *world) {
	for _, m := range []container.Mount{
		{Source: "/etc", Target: "/x"},
		{Source: w.DataDir + "/../x", Target: "/x"},
		{Source: w.DataDir, Target: "/"},
	} {
		r := w.prepare(t, exiting("0"))
		r.Mounts = append(r.Mounts, m)
		if err := w.Backend.Create(t.Context(), r.Spec); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v gave %v", m, err)
		}
	}
	r := w.prepare(t, exiting("0"))
	r.Mounts = append(r.Mounts, container.Mount{Source: filepath.Join(r.RunDir, wire.DirPrivate), Target: "/x"})
	if err := w.Backend.Create(t.Context(), r.Spec); !fault.Is(err, fault.Invalid) {
		t.Errorf("private/ gave %v", err)
	}
	r = w.prepare(t, exiting("0"))
	r.Mounts = append(r.Mounts, container.Mount{Source: "/etc", Target: "/operators/etc", ReadOnly: true, Operator: true})
	if err := w.Backend.Create(t.Context(), r.Spec); err != nil {
		t.Errorf("an operator's own mount gave %v", err)
	}
}

func output(t *testing.T, w *world) {
	r := w.start(t, exiting("1"))
	wait(t, w.Backend, r.ULID)
	if b, err := w.Backend.Output(t.Context(), r.ULID, 1000); err != nil || string(b) != "ending with 1\n" {
		t.Errorf("got %q, %v", b, err)
	}
	if b, err := w.Backend.Output(t.Context(), r.ULID, 7); err != nil || string(b) != "with 1\n" {
		t.Errorf("the last 7 bytes are %q, %v", b, err)
	}
}

func missingImage(t *testing.T, w *world) {
	if !w.Backend.Capabilities().Images {
		return
	}
	const ref = "127.0.0.1:1/spaceport/nothing:none" // nobody listens there
	_, err := w.Backend.EnsureImage(t.Context(), ref, nil)
	if fault.As(err) == nil || !strings.Contains(err.Error(), ref) {
		t.Errorf("got %v", err)
	}
	if _, err := w.Backend.EnsureImage(t.Context(), "No Image", nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("a name that is none gave %v", err)
	}
	img, err := w.Backend.EnsureImage(t.Context(), w.Image, nil)
	if err != nil || img.ID == "" || img.OS != "linux" || img.Arch == "" || img.Pulled {
		t.Errorf("the image at hand is %+v, %v", img, err)
	}
}

func ownership(t *testing.T, w *world) {
	r := w.start(t, func(r run) []string { return []string{"write", filepath.Join(r.workspace, "file")} })
	wait(t, w.Backend, r.ULID)
	dir := filepath.Join(r.RunDir, wire.DirWorkspace)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := errors.Join(os.WriteFile(outside, nil, 0o600), os.Symlink(outside, filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(outside)
	for _, o := range []container.Ownership{{Dir: dir, UID: r.UID, GID: r.GID}, {Dir: dir, UID: r.UID, GID: r.GID, Delete: true}} {
		if err := w.Backend.Own(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	after, err := os.Stat(outside)
	if err != nil || after.Sys().(*syscall.Stat_t).Uid != before.Sys().(*syscall.Stat_t).Uid {
		t.Errorf("what a link names was touched: %v", err)
	}
	if err := w.Backend.Own(t.Context(), container.Ownership{Dir: t.TempDir(), Delete: true}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a tree outside gave %v", err)
	}
}
