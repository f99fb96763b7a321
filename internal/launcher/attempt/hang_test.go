package attempt

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/setting"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// hung is a backend whose engine takes a day to answer a call for as long as hangs is
// above zero, which each call lowers.
type hung struct {
	container.Backend
	hangs atomic.Int64
}

func (h *hung) answer(ctx context.Context) error {
	if h.hangs.Add(-1) < 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(24 * time.Hour):
		return nil
	}
}

func (h *hung) Inspect(ctx context.Context, _ string) (container.Status, error) {
	return container.Status{Exists: true, Running: true, Started: true}, h.answer(ctx)
}

func (h *hung) Kill(ctx context.Context, _ string) error { return h.answer(ctx) }

func (h *hung) Signal(ctx context.Context, _ string, _ syscall.Signal) error { return h.answer(ctx) }

func (h *hung) Remove(ctx context.Context, _ string) error { return h.answer(ctx) }

func (h *hung) Capabilities() container.Capabilities { return container.Capabilities{} }

// Each of these calls holds something up: a run, a stop, the cleaning up. None of them
// may wait for an engine longer than its bound.
func TestNoCallToAnEngineThatHangsIsWaitedForWithoutEnd(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(ctx context.Context, ta *task, rec *Record) error{
		"whether a container lives on": func(ctx context.Context, ta *task, rec *Record) error {
			there, err := ta.exists(ctx, rec.Container)
			if err == nil && !there {
				err = errors.New("it is said to be gone")
			}
			return err
		},
		"whether the container that waits still waits": func(ctx context.Context, ta *task, _ *Record) error {
			s := &standby{}
			if ta.runner.fits(ctx, s, s.spec) {
				return errors.New("it fits, and nobody knows")
			}
			return nil
		},
		"a removal": func(_ context.Context, ta *task, rec *Record) error {
			if err := ta.runner.remove(rec.Container); !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &hung{}
				b.hangs.Store(1)
				ta, _, rec := held(t, b)
				ta.o.Settings = &setting.Settings{}
				ta.runner = &Runner{o: ta.o}
				begin := time.Now()
				if err := call(t.Context(), ta, rec); err != nil {
					t.Error(err)
				}
				if took := time.Since(begin); took > 2*time.Minute { // of the fake clock
					t.Errorf("it was given up after %s", took)
				}
			})
		})
	}
}

// A kill that hangs is asked for again: else the container of a fenced run would go on.
func TestAKillThatHangsIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &hung{}
		b.hangs.Store(2)
		ta, d, rec := held(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { ta.halting(ctx, d, rec) })
		ta.stop(true, "somebody said so")
		time.Sleep(2 * time.Minute) // of the fake clock
		if n := b.hangs.Load(); n >= 0 {
			t.Errorf("%d more kills would hang", n)
		}
		cancel()
		wg.Wait()
	})
}

// A container that waits takes its launcher for gone without a sign of life. A disk
// that was full for a moment must not end them.
func TestASignOfLifeThatCannotBeWrittenIsNotTheLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, d, _ := held(t, &deaf{})
		path := filepath.Join(d.In(), wire.InAlive)
		if err := os.Mkdir(path, 0o700); err != nil { // which no file can replace
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { keepAlive(ctx, slog.New(slog.DiscardHandler), d, 7) })
		time.Sleep(aliveEvery / 2) // of the fake clock
		if st, err := os.Stat(path); err != nil || !st.IsDir() {
			t.Fatalf("the sign of life could be written: %v", err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(aliveEvery)
		if data, err := os.ReadFile(path); err != nil || string(data) != "8" {
			t.Errorf("the sign of life is %q, %v", data, err)
		}
		cancel()
		wg.Wait()
	})
}

func TestOnlyAWorkspaceThatCannotBeMountedLiesOutsideTheRunDirectory(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		root    string
		mountAt bool
		want    string
	}{{"", false, ""}, {"", true, ""}, {"/w", true, ""}, {"/w", false, "/w/01HRUN00000000000000000001"}} {
		ta := &task{ref: wire.AttemptRef{Run: "01HRUN00000000000000000001", Attempt: 1}}
		ta.o.Settings, ta.o.Backend = &setting.Settings{WorkspaceRoot: c.root}, placing(c.mountAt)
		if got := ta.elsewhere(); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

// placing is a backend that tells whether it shows a workspace at a given place.
func placing(mountAt bool) container.Backend { return place{mountAt: mountAt} }

type place struct {
	container.Backend
	mountAt bool
}

func (p place) Capabilities() container.Capabilities {
	return container.Capabilities{MountAt: p.mountAt}
}
