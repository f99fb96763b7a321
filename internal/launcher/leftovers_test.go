//go:build docker

package launcher_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/moby/moby/client"

	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
	"github.com/spaceport-iac/spaceport/internal/testkit"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// found is what a launcher might leave in an engine and below its data directory.
type found struct {
	containers, networks, volumes, runs []string
}

// look finds what belongs to this world: containers that mount something of its
// data directory, volumes in which a run left the mark, run directories. Other
// tests use the engine too; their networks bear a name that tells.
func (w *engineWorld) look(api *client.Client, mark string) found {
	w.t.Helper()
	ctx := w.t.Context()
	var f found
	containers, err := api.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range containers.Items {
		for _, m := range c.Mounts {
			if strings.HasPrefix(m.Source, w.data+"/") {
				f.containers = append(f.containers, c.Names...)
				break
			}
		}
	}
	networks, err := api.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range networks.Items {
		if !strings.HasPrefix(n.Name, "spaceport-test-") {
			f.networks = append(f.networks, n.Name)
		}
	}
	slices.Sort(f.networks)
	volumes, err := api.VolumeList(ctx, client.VolumeListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, v := range volumes.Items {
		if _, err := os.Stat(filepath.Join(v.Mountpoint, mark)); err == nil {
			f.volumes = append(f.volumes, v.Name)
		}
	}
	f.runs, _ = filepath.Glob(filepath.Join(w.data, "slots", "*", "runs", "*"))
	return f
}

func TestManyRunsAndKilledLaunchersLeaveAnEngineAsItWas(t *testing.T) {
	t.Parallel()
	const many = 18 // a third of them with a launcher that is killed
	w, api, reg := setupEngine(t, buildLauncher(t), nil), testkit.Docker(t), testkit.NewRegistry(t)
	reg.Trust()
	w.image = reg.PushRunner("runner", "/tmp") // declares a volume, which the engine makes for each container
	gates := t.TempDir()
	if err := os.Chmod(gates, 0o755); err != nil {
		t.Fatal(err)
	}
	mark := "mark-" + filepath.Base(filepath.Dir(w.data))
	before := w.look(api, mark)

	// Nobody says that he is idle while a container of a run of his is there.
	var mu sync.Mutex
	over := map[string]bool{} // containers of runs that are over
	idle := 0                 // how often somebody said so
	w.With(func() {
		w.Before = func(r *http.Request) int {
			if !strings.HasSuffix(r.URL.Path, "/orders") {
				return 0
			}
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			var req wire.OrdersRequest
			if json.Unmarshal(body, &req) != nil || req.Session == 0 || req.Busy != nil {
				return 0
			}
			mu.Lock()
			defer mu.Unlock()
			idle++
			for id := range over {
				if _, err := api.ContainerInspect(context.Background(), id, client.ContainerInspectOptions{}); err == nil {
					t.Errorf("the launcher is idle and container %s of a run that is over is there", id)
				}
			}
			return 0
		}
	})
	env := []string{"SPACELIFT_WORKER_EXTRA_MOUNTS=" + gates + ":/gates", "SPACELIFT_DOCKER_CONFIG_DIR=" + reg.Config(), "SPACELIFT_STANDBY_ENABLED=true"}
	l := w.launch(env...)
	kill := func() {
		_ = l.cmd.Process.Kill()
		<-l.done
	}
	marked := false
	for i := range many {
		name := fmt.Sprint("gate-", i)
		if i%3 != 0 {
			w.fine(w.Enqueue(&launchertest.Run{Job: w.job("echo > /tmp/" + mark)}))
		} else {
			fifo := filepath.Join(gates, name)
			if err := syscall.Mkfifo(fifo, 0o644); err != nil {
				t.Fatal(err)
			}
			r := w.Enqueue(&launchertest.Run{Job: w.job("echo > /tmp/" + mark + "; cat /gates/" + name)})
			opened := make(chan *os.File, 1)
			go func() {
				f, err := os.OpenFile(fifo, os.O_WRONLY, 0) // blocks until the run reads
				if err == nil {
					opened <- f
				}
			}()
			switch (i / 3) % 3 {
			case 0: // while it prepares
				w.wait("the run is accepted", func() (bool, string) { return r.Accepted, summary(r) })
				kill()
				l = w.launch(env...)
				_ = (<-opened).Close()
				w.fine(r)
			case 1: // while the run runs, which the next launcher adopts
				f := <-opened
				marked = marked || len(w.look(api, mark).volumes) > 0
				kill()
				l = w.launch(env...)
				_ = f.Close()
				w.fine(r)
			case 2: // while a run runs that nobody wants any more by then
				f := <-opened
				kill()
				w.Lost(r)
				l = w.launch(env...)
				w.wait("the container is ended", func() (bool, string) {
					ids := w.look(api, mark).runs
					return !slices.ContainsFunc(ids, func(dir string) bool { return filepath.Base(dir) == r.Container }), fmt.Sprint(ids)
				})
				_ = f.Close()
			}
		}
		w.With(func() {
			mu.Lock()
			defer mu.Unlock()
			for _, r := range w.Runs() {
				if r.Over && r.Container != "" {
					over[r.Container] = true
				}
			}
		})
	}
	if !marked {
		t.Error("no volume was ever seen: this test would see none that is left")
	}
	_ = l.cmd.Process.Signal(syscall.SIGTERM)
	<-l.done
	mu.Lock()
	if idle < many/2 {
		t.Errorf("the launchers said %d times that they are idle", idle)
	}
	mu.Unlock()
	after := w.look(api, mark)
	if len(after.containers)+len(after.volumes)+len(after.runs) > 0 || !slices.Equal(before.networks, after.networks) {
		t.Errorf("before: %+v\nafter:  %+v", before, after)
	}
	if kept, _ := filepath.Glob(filepath.Join(w.data, "slots", "*", "journal", "*")); len(kept) > 0 {
		t.Errorf("the journal keeps %v", kept)
	}
}
