package launcher

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/attempt"
	"github.com/spaceport-iac/spaceport/internal/launcher/client"
	"github.com/spaceport-iac/spaceport/internal/launcher/container"
	"github.com/spaceport-iac/spaceport/internal/launcher/hint"
	"github.com/spaceport-iac/spaceport/internal/launcher/identity"
	"github.com/spaceport-iac/spaceport/internal/launcher/journal"
	"github.com/spaceport-iac/spaceport/internal/launcher/lease"
	"github.com/spaceport-iac/spaceport/internal/launcher/policy"
	"github.com/spaceport-iac/spaceport/internal/launcher/program"
	"github.com/spaceport-iac/spaceport/internal/launcher/registry"
	"github.com/spaceport-iac/spaceport/internal/launcher/setting"
	"github.com/spaceport-iac/spaceport/internal/launcher/source"
	"github.com/spaceport-iac/spaceport/internal/launcher/tool"
	"github.com/spaceport-iac/spaceport/internal/rootca"
	"github.com/spaceport-iac/spaceport/internal/seal"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Options are what a launcher is made of.
type Options struct {
	Settings *setting.Settings
	Log      *slog.Logger
	Version  string
	// Binary is the path of this program. Without Programs it is the worker and
	// the policy's evaluator too.
	Binary string
	// Programs holds them as programs of their own, see program.Contents.
	Programs map[string]string
	// Signals brings the operator's wish that the launcher leaves: the first
	// drains, the second stops the run.
	Signals <-chan os.Signal
	// Backend makes the container backend; the settings' own if nil.
	Backend func(data, runs string) (container.Backend, error)
	Now     func() time.Time
	Clock   lease.Clock
}

// Launcher is one worker.
type Launcher struct {
	o       Options
	token   *seal.Token
	key     *seal.PoolKey
	earlier []*seal.PoolKey
	id      *identity.Identity
	api     *client.Client
	backend container.Backend
	journal *journal.Journal
	runner  *attempt.Runner
	look    chan struct{} // something may have changed

	mu      sync.Mutex
	session session
	hints   *hint.Channel

	registering sync.Mutex
	owned       sync.WaitGroup
}

// Run is a launcher's whole life. It returns nil when it left as it should.
func Run(ctx context.Context, o Options) error {
	if o.Settings == nil || o.Log == nil || o.Binary == "" {
		return errors.New("launcher: an option is missing")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Clock == nil {
		o.Clock = lease.BootClock
	}
	l, err := assemble(ctx, o)
	if err != nil {
		return err
	}
	defer l.close()
	ctx, cancel := context.WithCancel(ctx)
	defer l.owned.Wait()
	defer cancel()
	return l.live(ctx)
}

// assemble builds everything that needs no mothership, in one place.
func assemble(ctx context.Context, o Options) (l *Launcher, err error) {
	// The key must not be read from this process's memory by a run on the same
	// host, nor be inherited by a child.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		o.Log.Warn("the process cannot be made non-dumpable", "err", err)
	}
	l = &Launcher{o: o, look: make(chan struct{}, 1)}
	s := o.Settings
	if l.token, err = seal.ParseToken(string(s.Token)); err != nil {
		return nil, named(s.TokenFrom, err)
	}
	if l.key, err = seal.ParsePoolKey(string(s.Key)); err != nil {
		return nil, named(s.KeyFrom, err)
	}
	if err := l.key.Matches(l.token.PoolCertificate()); err != nil {
		return nil, err
	}
	if err := l.openEarlier(); err != nil {
		return nil, err
	}
	s.Token, s.Key, s.Earlier = "", "", nil
	l.api, err = client.New(client.Options{Endpoint: l.token.API.Endpoint, Roots: l.roots(), Proxy: s.Proxy, Log: o.Log, Version: o.Version, Now: o.Now})
	if err != nil {
		return nil, err
	}
	l.id, err = identity.Open(identity.Options{DataDir: s.DataDir, Machine: identity.Machine(os.DirFS("/"), s.DataDir)})
	if err != nil {
		return nil, err
	}
	// Not by l, which a return with an error has made nil by then.
	id := l.id
	defer func() {
		if err != nil {
			_ = id.Close() // the start has failed already
		}
	}()
	o.Log.Info("data directory taken", "dir", s.DataDir, "slot", l.id.Slot())
	if err := l.makeRunner(ctx); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Launcher) makeRunner(ctx context.Context) error {
	s, path := l.o.Settings, os.Getenv("PATH")
	store, err := tool.NewStore(filepath.Join(s.DataDir, "bin"))
	if err != nil {
		return unusable(s.DataDir, err)
	}
	binary, err := l.keep(store, program.Worker)
	if err != nil {
		return unusable(s.DataDir, err)
	}
	asked, err := l.openPolicy(ctx, store)
	if err != nil {
		return err
	}
	bundle, err := l.bundle()
	if err != nil {
		return err
	}
	if l.backend, err = l.makeBackend(binary, bundle); err != nil {
		return err
	}
	tools, err := tool.New(tool.Options{DataDir: s.DataDir, Path: path, Images: l.backend.Capabilities().Images}, store)
	if err != nil {
		return err
	}
	sources, err := source.New(source.Options{
		Dir: filepath.Join(s.DataDir, "cache", "source"), Path: path, Proxies: assignments(s.Proxy.Environ()), Hide: s.Proxy.Secrets(), CAFile: bundle, AllowFile: s.AllowFileSource, Log: l.o.Log,
		KnownHosts: s.KnownHosts, PrivateVCS: s.PrivateVCS,
	})
	if err != nil {
		return unusable(s.DataDir, err)
	}
	if l.journal, err = journal.Open(filepath.Join(l.id.Dir(), "journal")); err != nil {
		return unusable(s.DataDir, err)
	}
	marks, err := l.openMarks()
	if err != nil {
		return err
	}
	l.runner, err = attempt.New(attempt.Options{
		Client: l.api, Backend: l.backend, Settings: s, Source: sources, Tools: tools, Journal: l.journal, Marks: marks,
		Key: l.key, Earlier: l.earlier, Origin: l.token.Origin, Pool: l.token.Pool, RunsDir: l.id.Runs(), Binary: binary, Log: l.o.Log,
		Now: l.o.Now, Clock: l.o.Clock, Boot: lease.BootID(), NewID: func() string { return ulid.Make().String() }, Random: nonce,
		Session: l.present, Renew: l.renew, Policy: asked, Version: l.o.Version,
	})
	return err
}

// keep puts a program of ours where runs find it.
func (l *Launcher) keep(store *tool.Store, name string) (string, error) {
	if l.o.Programs == nil {
		return store.Keep(l.o.Binary)
	}
	defer program.Release()
	return store.KeepContent(name, l.o.Programs[name])
}

// openPolicy checks the run initialization policy, if there is one.
func (l *Launcher) openPolicy(ctx context.Context, store *tool.Store) (*policy.Policy, error) {
	if l.o.Settings.Policy == "" {
		return nil, nil
	}
	binary, err := l.keep(store, program.Evaluator)
	if err != nil {
		return nil, unusable(l.o.Settings.DataDir, err)
	}
	p, err := policy.Open(ctx, policy.Options{
		Path: l.o.Settings.Policy, Evaluator: []string{binary, policy.EvaluatorCommand}, Decisions: filepath.Join(l.id.Dir(), "decisions"),
		Samples: os.Stderr, Now: l.o.Now, Log: l.o.Log,
	})
	if err != nil {
		return nil, named(setting.EnvPolicy, err)
	}
	l.o.Log.Info("run initialization policy taken", "path", l.o.Settings.Policy, "rego", p.Version(), "digest", p.Digest())
	for _, w := range p.Warnings() {
		l.o.Log.Warn("the run initialization policy may not be as meant", "reason", w)
	}
	return p, nil
}

// makeBackend makes the backend of the settings. binary is the worker's program,
// bundle the file of the authorities that our own children believe, or "".
func (l *Launcher) makeBackend(binary, bundle string) (container.Backend, error) {
	s := l.o.Settings
	switch {
	case l.o.Backend != nil:
		return l.o.Backend(s.DataDir, l.id.Runs())
	case s.Backend == "process":
		l.o.Log.Warn("runs are plain processes of this host, without any isolation")
		return container.NewProcess(container.ProcessOptions{DataDir: s.DataDir, RunsDir: l.id.Runs(), Supervisor: []string{binary, "supervise"}})
	}
	environ := append(os.Environ(), assignments(s.Proxy.Environ())...)
	if bundle != "" {
		for _, name := range rootca.BundleNames {
			environ = append(environ, name+"="+bundle)
		}
	}
	credentials, err := registry.New(registry.Options{Dir: s.DockerConfigDir, Environ: environ, HTTP: l.api.HTTP()})
	if err != nil {
		return nil, named("SPACELIFT_DOCKER_CONFIG_DIR", err)
	}
	wanted := container.Wanted{Network: s.Network, Runtime: s.Runtime}
	for _, m := range s.Mounts {
		wanted.Mounts = append(wanted.Mounts, container.WantedMount{Setting: m.Setting, Mount: container.Mount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly, Operator: true}})
	}
	return container.NewDocker(container.DockerOptions{
		DataDir: s.DataDir, RunsDir: l.id.Runs(), Host: s.DockerHost, Auth: credentials.Header, Wanted: wanted, Now: l.o.Now,
	})
}

func (l *Launcher) close() {
	l.runner.Close()
	l.api.Close()
	if err := l.backend.Close(); err != nil {
		l.o.Log.Debug("the container backend did not close", "err", err)
	}
	if err := l.id.Close(); err != nil {
		l.o.Log.Debug("the slot was not given back", "err", err)
	}
}

func named(setting string, err error) error {
	if f := fault.As(err); f != nil {
		e := *f
		e.Message = setting + ": " + f.Message
		return &e
	}
	return err
}

func unusable(dir string, err error) error {
	return fault.Wrap(err, fault.Invalid, "the data directory %s cannot be used: %v", dir, err).Named("data_dir")
}

func nonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// spawn runs a goroutine that Run waits for.
func (l *Launcher) spawn(f func()) {
	l.owned.Add(1)
	go func() { defer l.owned.Done(); f() }()
}

// again makes the loop ask for orders.
func (l *Launcher) again() {
	select {
	case l.look <- struct{}{}:
	default:
	}
}

// found are the records of run directories that a launcher before left, by
// attempt. What cannot be read is nobody's.
func (l *Launcher) found() map[wire.AttemptRef][]*attempt.Record {
	all := map[wire.AttemptRef][]*attempt.Record{}
	entries, err := os.ReadDir(l.id.Runs())
	if err != nil {
		l.o.Log.Error("the run directories cannot be read", "err", err)
	}
	for _, e := range entries {
		rec, err := attempt.Load(l.id.Runs(), e.Name())
		if err != nil {
			l.o.Log.Warn("a run directory is nobody's", "container", e.Name(), "err", err)
			continue
		}
		all[rec.Ref] = append(all[rec.Ref], rec)
	}
	return all
}
