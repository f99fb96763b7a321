// Package metric answers /metrics: what an operator watches and an autoscaler
// counts. Figures are read from the database when somebody asks, so that several
// replicas say the same.
package metric

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/version"
)

// within bounds the reading of all figures.
const within = 5 * time.Second

// Options are what figures are read from. All are needed.
type Options struct {
	DB    *db.DB
	Pools *pool.Service
	Log   *slog.Logger
}

// Handler answers in the format of Prometheus, or returns an error if an option
// is missing.
func Handler(o Options) (http.Handler, error) {
	if o.DB == nil || o.Pools == nil || o.Log == nil {
		return nil, errors.New("metric: an option is missing")
	}
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newCollector(o),
	} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), nil
}

type collector struct {
	o                            Options
	build, workers, waiting, run *prometheus.Desc
}

func newCollector(o Options) *collector {
	return &collector{
		o:       o,
		build:   prometheus.NewDesc("spaceport_build_info", "The release that runs.", []string{"version"}, nil),
		workers: prometheus.NewDesc("spaceport_workers", "Workers that are listed, by pool and status.", []string{"pool", "pool_name", "status"}, nil),
		waiting: prometheus.NewDesc("spaceport_queue_waiting", "Runs that wait for a worker of the pool.", []string{"pool", "pool_name"}, nil),
		run:     prometheus.NewDesc("spaceport_runs", "Runs that have not ended, by state.", []string{"state"}, nil),
	}
}

// Describe names the figures.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	to <- c.build
	to <- c.workers
	to <- c.waiting
	to <- c.run
}

// Collect reads them. What cannot be read is reported as an error of the scrape:
// a missing figure must not look like a zero.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(access.With(context.Background(), access.System("metrics")), within)
	defer cancel()
	to <- prometheus.MustNewConstMetric(c.build, prometheus.GaugeValue, 1, version.String())
	if err := errors.Join(c.pools(ctx, to), c.runs(ctx, to)); err != nil {
		c.o.Log.Warn("figures could not be read", "err", err)
		to <- prometheus.NewInvalidMetric(c.run, errors.New("figures could not be read"))
	}
}

func (c *collector) pools(ctx context.Context, to chan<- prometheus.Metric) error {
	pools, err := c.o.Pools.List(ctx)
	if err != nil {
		return err
	}
	for _, p := range pools {
		workers, err := c.o.Pools.Workers(ctx, p.ID, false)
		if err != nil {
			return err
		}
		count := map[pool.Status]int{pool.Idle: 0, pool.Busy: 0, pool.Drained: 0}
		for _, w := range workers {
			count[w.Status]++
		}
		for status, n := range count {
			to <- prometheus.MustNewConstMetric(c.workers, prometheus.GaugeValue, float64(n), p.ID, p.Name, string(status))
		}
		to <- prometheus.MustNewConstMetric(c.waiting, prometheus.GaugeValue, float64(p.PendingRuns), p.ID, p.Name)
	}
	return nil
}

func (c *collector) runs(ctx context.Context, to chan<- prometheus.Metric) error {
	rows, err := c.o.DB.Read().QueryContext(ctx, `SELECT state, COUNT(*) FROM run
		WHERE state NOT IN ('FINISHED', 'FAILED', 'DISCARDED', 'CANCELED', 'STOPPED', 'SKIPPED') GROUP BY state`)
	_, err = db.Collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var state string
		var n int
		if err := r.Scan(&state, &n); err != nil {
			return struct{}{}, err
		}
		to <- prometheus.MustNewConstMetric(c.run, prometheus.GaugeValue, float64(n), state)
		return struct{}{}, nil
	})
	return err
}
