package mothership

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/apikey"
	"github.com/spaceport-iac/spaceport/internal/mothership/audit"
	"github.com/spaceport-iac/spaceport/internal/mothership/authority"
	"github.com/spaceport-iac/spaceport/internal/mothership/blob"
	"github.com/spaceport-iac/spaceport/internal/mothership/broker"
	"github.com/spaceport-iac/spaceport/internal/mothership/event"
	"github.com/spaceport-iac/spaceport/internal/mothership/graph"
	"github.com/spaceport-iac/spaceport/internal/mothership/id"
	"github.com/spaceport-iac/spaceport/internal/mothership/installation"
	"github.com/spaceport-iac/spaceport/internal/mothership/lease"
	"github.com/spaceport-iac/spaceport/internal/mothership/metric"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/queue"
	"github.com/spaceport-iac/spaceport/internal/mothership/runlog"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/mothership/session"
	"github.com/spaceport-iac/spaceport/internal/mothership/setting"
	"github.com/spaceport-iac/spaceport/internal/mothership/space"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/mothership/statefile"
	"github.com/spaceport-iac/spaceport/internal/mothership/sweep"
	"github.com/spaceport-iac/spaceport/internal/mothership/vcs"
	"github.com/spaceport-iac/spaceport/internal/mothership/web"
	"github.com/spaceport-iac/spaceport/internal/mothership/workerapi"
	"github.com/spaceport-iac/spaceport/internal/version"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Options are what a mothership is made from.
type Options struct {
	Settings setting.Resolved
	Log      *slog.Logger
	Now      func() time.Time // nil: the system's clock
}

// Mothership is one that has all it needs and listens, but serves nothing yet.
type Mothership struct {
	Addresses Addresses

	parts  []part
	closed []func() error // in the order of making; closed the other way round
}

// part is something that runs for as long as the mothership does.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// New takes the data directory and makes every part. The caller closes it.
func New(ctx context.Context, o Options) (_ *Mothership, err error) {
	if o.Log == nil {
		return nil, errors.New("mothership: Log is needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Mothership{}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	s, log, now := o.Settings, o.Log, o.Now
	newID := id.Maker(now, rand.Reader)
	start := time.Now()
	mono := func() time.Duration { return time.Since(start) } // Go's monotonic reading

	// What everything stands on. The directory is taken before the ports: of two
	// servers on one directory the second is told about the directory.
	inst, err := installation.Open(ctx, s.Data, installation.Options{Now: now, NewID: newID})
	if err != nil {
		return nil, err
	}
	m.onClose(inst.Close)
	listeners, err := m.listen(ctx, s)
	if err != nil {
		return nil, err
	}
	if plain(m.Addresses.API) {
		log.Warn("the API's public address is plain http: launchers and clients on other hosts refuse it",
			"api", m.Addresses.API, "hint", "give --tls-cert and --tls-key, or SERVER_DOMAIN where a proxy ends TLS")
	}
	keys, err := authority.Open(ctx, authority.Options{DB: inst.DB, Vault: inst.Vault, Origin: inst.Origin, Now: now})
	if err != nil {
		return nil, err
	}
	objects, err := blob.NewLocal(blob.Options{Dir: inst.Objects, Key: keys.URLKey(), BaseURL: m.Addresses.API, Now: now})
	if err != nil {
		return nil, err
	}
	m.onClose(objects.Close)
	events := event.NewLog(now)
	auditor, err := audit.New(audit.Options{Now: now, NewID: newID})
	if err != nil {
		return nil, err
	}
	var auth access.Authorizer

	// The nouns.
	spaces, err := space.New(space.Options{DB: inst.DB, Auth: auth})
	if err != nil {
		return nil, err
	}
	apiKeys, err := apikey.New(apikey.Options{DB: inst.DB, Auth: auth, Audit: auditor, Now: now, NewID: newID})
	if err != nil {
		return nil, err
	}
	sessions, err := session.New(session.Options{Keys: apiKeys, Key: keys.SessionKey(), Audience: m.Addresses.API, Now: now})
	if err != nil {
		return nil, err
	}
	pools, err := pool.New(ctx, pool.Options{
		DB: inst.DB, Auth: auth, Audit: auditor, Events: events, Vault: inst.Vault, Authority: keys, Origin: inst.Origin,
		Endpoints: pool.Endpoints{API: m.Addresses.API, Broker: "tls://" + m.Addresses.Broker, ObjectOrigins: []string{m.Addresses.API}},
		BearerKey: keys.BearerKey(), Now: now, NewID: newID, Version: version.String(), Log: log,
	})
	if err != nil {
		return nil, err
	}
	stacks, err := stack.New(stack.Options{
		DB: inst.DB, Auth: auth, Audit: auditor, Events: events, Vault: inst.Vault, Now: now, NewID: newID, AllowFileSource: s.AllowFileSource,
	})
	if err != nil {
		return nil, err
	}
	integrations, err := vcs.New(vcs.Options{DB: inst.DB, Auth: auth, Audit: auditor, Vault: inst.Vault, Now: now, NewID: newID})
	if err != nil {
		return nil, err
	}
	certified, err := keys.BrokerTLS(hosts(m.Addresses.Broker, m.Addresses.MQTT))
	if err != nil {
		return nil, err
	}
	var line *queue.Service // the broker tells it of workers, and it tells the broker of work
	hints, err := broker.New(broker.Options{
		TLS: certified, Listener: listeners.mqtt, Active: pools.Active, Seen: pools.Seen,
		Up: func(pool, _ string) { line.Wake(pool) }, Log: log,
	})
	if err != nil {
		return nil, err
	}

	// Runs: who moves them, who gives them out, who leads them.
	mover, err := runs.NewMover(runs.MoverOptions{Events: events, Stacks: stacks, Now: now})
	if err != nil {
		return nil, err
	}
	line, err = queue.New(queue.Options{DB: inst.DB, Mover: mover, Events: events, Hints: hints, Online: pools.Online, Now: now, Log: log})
	if err != nil {
		return nil, err
	}
	states, err := statefile.New(statefile.Options{
		DB: inst.DB, Blob: objects, Vault: inst.Vault, Access: auth, Audit: auditor, Origin: inst.Origin, Now: now, NewID: newID,
	})
	if err != nil {
		return nil, err
	}
	logs, err := runlog.New(runlog.Options{DB: inst.DB, Blob: objects, Access: auth, Hint: hints.Hint, Now: now, Mono: mono})
	if err != nil {
		return nil, err
	}
	composer, err := runs.NewComposer(runs.ComposerOptions{
		Stacks: stacks, Signer: keys, Blob: objects, Origin: inst.Origin, Account: s.Account,
		State:      states.ForJob,
		Credential: integrations.Credential,
		LogURLs: func(r *runs.Run, attempt int64, version int) ([]wire.LogURL, error) {
			return logs.ForJob(r.ID, attempt, version)
		},
	})
	if err != nil {
		return nil, err
	}
	leases, err := lease.New(lease.Options{
		DB: inst.DB, Mover: mover, Stacks: stacks, Queue: line, Pool: pools, Composer: composer, State: states, Logs: logs, Blob: objects,
		Hints: hints, Origin: inst.Origin, Now: now, Mono: mono, NewID: newID, Log: log, Terms: lease.Terms{}.Scaled(s.LeaseScale),
	})
	if err != nil {
		return nil, err
	}
	service, err := runs.New(runs.Options{
		DB: inst.DB, Access: auth, Audit: auditor, Stacks: stacks, Mover: mover, Queue: line, Lease: leases, Now: now, NewID: newID,
	})
	if err != nil {
		return nil, err
	}

	sweeper, err := sweep.New(sweep.Options{DB: inst.DB, Objects: objects, Now: now, Log: log})
	if err != nil {
		return nil, err
	}

	// The transports.
	api, err := graph.New(graph.Options{
		Auth: auth, Sessions: sessions, Keys: apiKeys, Spaces: spaces, Pools: pools, Stacks: stacks, Runs: service, Logs: logs, States: states, VCS: integrations,
		Account: s.Account, Version: version.String(), Log: log,
	})
	if err != nil {
		return nil, err
	}
	workers, err := workerapi.New(workerapi.Options{Pools: pools, Attempts: leases, States: states, Log: log})
	if err != nil {
		return nil, err
	}
	public, err := web.Handler(web.Options{GraphQL: api, Worker: workers, Objects: objects, Log: log})
	if err != nil {
		return nil, err
	}
	figures, err := metric.Handler(metric.Options{DB: inst.DB, Pools: pools, Log: log})
	if err != nil {
		return nil, err
	}
	health, err := web.HealthHandler(web.HealthOptions{
		Ready:   map[string]web.Check{"database": inst.DB.Ping, "broker": answers(m.Addresses.MQTT)},
		Metrics: figures,
	})
	if err != nil {
		return nil, err
	}

	var serving atomic.Bool // while it is not, no launcher can be missed
	m.parts = []part{
		{"presence of workers", pools.Run},
		{"queue", line.Run},
		{"watch over attempts", leases.NewWatcher(serving.Load).Run},
		{"sweep of objects", sweeper.Run},
		{"API", func(ctx context.Context) error {
			serving.Store(true)
			defer serving.Store(false)
			return web.Serve(ctx, listeners.http, public, s.TLS, log)
		}},
		{"health", func(ctx context.Context) error { return web.Serve(ctx, listeners.health, health, nil, log) }},
	}
	if err := hints.Start(ctx); err != nil {
		return nil, err
	}
	m.onClose(hints.Close)
	stop := events.Listen(hints.Follow)
	m.onClose(func() error { stop(); return nil })
	return m, m.Addresses.write(inst.Dir)
}

func (m *Mothership) onClose(f func() error) { m.closed = append(m.closed, f) }

// Run serves until ctx ends or a part fails, and waits for all parts to end.
func (m *Mothership) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range m.parts {
		group.Go(func() error {
			if err := p.run(ctx); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// Close releases ports and directory. It is called once Run has returned.
func (m *Mothership) Close() error {
	var errs []error
	for i := len(m.closed) - 1; i >= 0; i-- {
		if err := m.closed[i](); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	m.closed = nil
	return errors.Join(errs...)
}
