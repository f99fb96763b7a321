package client

import (
	"context"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// Pool is a worker pool. Config is its token.
type Pool struct {
	ID, Name, Config, Description, Space   string
	WorkersCount, BusyWorkers, PendingRuns int
}

// PoolInput is what a pool is made from.
type PoolInput struct {
	Name        string
	CSR         string // PEM, or base64 of it
	Description string
	Space       string // empty: the root space
	Labels      []string
}

// Worker is a worker of a pool.
type Worker struct {
	ID       string
	Status   string // IDLE, BUSY or DRAINED
	Busy     bool
	Drained  bool
	Draining bool
	Metadata string // JSON object of strings
	Version  string
	// CurrentRun is nil when it holds none.
	CurrentRun *struct{ ID, StackID string }
	CreatedAt  int64 // unix seconds
}

// CreatePool makes a pool and answers it with its token.
func (c *Client) CreatePool(ctx context.Context, in PoolInput) (*Pool, error) {
	variables := map[string]any{"name": in.Name, "csr": in.CSR, "description": in.Description, "labels": in.Labels, "limit": -1}
	if in.Space != "" {
		variables["space"] = in.Space
	}
	var answer struct{ WorkerPoolCreate *Pool }
	err := c.Do(ctx, createPoolDocument, variables, &answer)
	return answer.WorkerPoolCreate, err
}

// Pools lists the pools.
func (c *Client) Pools(ctx context.Context) ([]Pool, error) {
	var answer struct{ WorkerPools []Pool }
	err := c.Do(ctx, poolsDocument, nil, &answer)
	return answer.WorkerPools, err
}

// Workers lists a pool's workers.
func (c *Client) Workers(ctx context.Context, pool string) ([]Worker, error) {
	var answer struct{ WorkerPool *struct{ Workers []Worker } }
	if err := c.Do(ctx, workersDocument, map[string]any{"id": pool}, &answer); err != nil {
		return nil, err
	}
	if answer.WorkerPool == nil {
		return nil, fault.New(fault.NotFound, "there is no worker pool %q", pool)
	}
	return answer.WorkerPool.Workers, nil
}

// Drain sets whether a worker takes new runs. Its Busy is final in the answer.
func (c *Client) Drain(ctx context.Context, pool, worker string, drain bool) (*Worker, error) {
	var answer struct{ WorkerDrainSet *Worker }
	err := c.Do(ctx, drainDocument, map[string]any{"pool": pool, "id": worker, "drain": drain}, &answer)
	return answer.WorkerDrainSet, err
}
