package graph

import (
	"cmp"
	"context"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/mothership/graph/gen"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
)

func (q *query) WorkerPool(ctx context.Context, id string) (*gen.WorkerPool, error) {
	p, err := q.o.Pools.Get(ctx, id)
	return missing(poolView(p), err)
}

func (q *query) WorkerPools(ctx context.Context) ([]*gen.WorkerPool, error) {
	pools, err := q.o.Pools.List(ctx)
	if err != nil {
		return nil, err
	}
	return each(pools, poolView), nil
}

var searchPools = searchable[pool.Pool]{
	id:    func(p pool.Pool) string { return p.ID },
	texts: func(p pool.Pool) []string { return []string{p.ID, p.Name, p.Description} },
	strings: map[string]func(pool.Pool) []string{
		"name":   func(p pool.Pool) []string { return []string{p.Name} },
		"space":  func(p pool.Pool) []string { return []string{p.Space} },
		"label":  func(p pool.Pool) []string { return p.Labels },
		"labels": func(p pool.Pool) []string { return p.Labels },
	},
	orders: map[string]func(a, b pool.Pool) int{
		"name":      func(a, b pool.Pool) int { return strings.Compare(a.Name, b.Name) },
		"createdAt": func(a, b pool.Pool) int { return a.CreatedAt.Compare(b.CreatedAt) },
	},
}

func (q *query) SearchWorkerPools(ctx context.Context, input gen.SearchInput) (*gen.SearchWorkerPoolsOutput, error) {
	pools, err := q.o.Pools.List(ctx)
	if err != nil {
		return nil, err
	}
	found, err := searchPools.search(pools, input)
	if err != nil {
		return nil, err
	}
	return &gen.SearchWorkerPoolsOutput{
		Edges:    each(found.items, func(p pool.Pool) *gen.SearchWorkerPoolsEdge { return &gen.SearchWorkerPoolsEdge{Node: poolView(p)} }),
		PageInfo: found.info,
	}, nil
}

func (m *mutation) WorkerPoolCreate(ctx context.Context, name, csr string, description *string, labels []string, space *string, limit *int) (*gen.WorkerPool, error) {
	in := poolInput(name, description, labels, space, limit)
	in.CSR = csr
	return changed(m.o.Pools.Create(ctx, in))
}

func (m *mutation) WorkerPoolUpdate(ctx context.Context, id, name string, description *string, labels []string, space *string, limit *int) (*gen.WorkerPool, error) {
	return changed(m.o.Pools.Update(ctx, id, poolInput(name, description, labels, space, limit)))
}

func (m *mutation) WorkerPoolReset(ctx context.Context, id, csr string) (*gen.WorkerPool, error) {
	return changed(m.o.Pools.Reset(ctx, id, csr))
}

func (m *mutation) WorkerPoolDelete(ctx context.Context, id string) (*gen.WorkerPool, error) {
	view, err := changed(m.o.Pools.Delete(ctx, id))
	if err != nil {
		return nil, err
	}
	view.Deleted = true
	return view, nil
}

func (m *mutation) WorkerPoolCycle(ctx context.Context, id string) (bool, error) {
	err := m.o.Pools.Cycle(ctx, id)
	return err == nil, err
}

func (m *mutation) WorkerDrainSet(ctx context.Context, pool, id string, drain bool) (*gen.Worker, error) {
	w, err := m.o.Pools.Drain(ctx, pool, id, drain)
	if err != nil {
		return nil, err
	}
	return workerView(w), nil
}

func changed(p pool.Pool, err error) (*gen.WorkerPool, error) {
	if err != nil {
		return nil, err
	}
	return poolView(p), nil
}

func poolInput(name string, description *string, labels []string, space *string, limit *int) pool.Input {
	in := pool.Input{Name: name, Description: text(description), Labels: labels, Space: text(space)}
	if limit != nil && *limit >= 0 {
		n := int64(*limit)
		in.DriftLimit = &n
	}
	return in
}

// Config is the token, read at each question: it is kept wrapped, and the service
// decides who may see it.
func (f *poolFields) Config(ctx context.Context, obj *gen.WorkerPool) (string, error) {
	if obj.Deleted {
		return "", nil
	}
	return f.o.Pools.Token(ctx, obj.ID)
}

func (f *poolFields) SpaceDetails(ctx context.Context, obj *gen.WorkerPool) (*gen.Space, error) {
	return f.o.space(ctx, obj.Space)
}

func (f *poolFields) Workers(ctx context.Context, obj *gen.WorkerPool) ([]*gen.Worker, error) {
	return f.o.workers(ctx, obj, false)
}

func (f *poolFields) AllWorkers(ctx context.Context, obj *gen.WorkerPool) ([]*gen.Worker, error) {
	return f.o.workers(ctx, obj, true)
}

func (o Options) workers(ctx context.Context, obj *gen.WorkerPool, all bool) ([]*gen.Worker, error) {
	if obj.Deleted {
		return []*gen.Worker{}, nil
	}
	workers, err := o.Pools.Workers(ctx, obj.ID, all)
	if err != nil {
		return nil, err
	}
	return each(workers, workerView), nil
}

// waitingRun is a run with its place in the queue of its pool.
type waitingRun struct {
	*runs.Run
	position int
}

var searchWaiting = searchable[waitingRun]{
	id:    func(w waitingRun) string { return w.ID },
	texts: func(w waitingRun) []string { return []string{w.ID, w.Stack, w.Title, w.Branch, w.Commit.SHA} },
	strings: map[string]func(waitingRun) []string{
		"state":  func(w waitingRun) []string { return []string{string(w.State)} },
		"type":   func(w waitingRun) []string { return []string{string(w.Type)} },
		"commit": func(w waitingRun) []string { return []string{w.Commit.SHA} },
		"branch": func(w waitingRun) []string { return []string{w.Branch} },
	},
	booleans: map[string]func(waitingRun) bool{"prioritized": func(w waitingRun) bool { return w.Prioritized }},
	orders: map[string]func(a, b waitingRun) int{
		"position":  func(a, b waitingRun) int { return cmp.Compare(a.position, b.position) },
		"createdAt": func(a, b waitingRun) int { return a.CreatedAt.Compare(b.CreatedAt) },
	},
}

// maxQueue bounds how much of a queue is searched; its length is pendingRuns.
const maxQueue = 1000

func (f *poolFields) SearchSchedulableRuns(ctx context.Context, obj *gen.WorkerPool, input gen.SearchInput) (*gen.SearchSchedulableRunsOutput, error) {
	waiting, err := f.o.Runs.Waiting(ctx, obj.ID, maxQueue)
	if err != nil {
		return nil, err
	}
	queue := make([]waitingRun, 0, len(waiting))
	for i, r := range waiting {
		queue = append(queue, waitingRun{r, i + 1})
	}
	found, err := searchWaiting.search(queue, input)
	if err != nil {
		return nil, err
	}
	out := &gen.SearchSchedulableRunsOutput{Edges: []*gen.SearchSchedulableRunsEdge{}, PageInfo: found.info}
	slugs := map[string]string{}
	for _, w := range found.items {
		if _, asked := slugs[w.Stack]; !asked {
			st, err := f.o.Stacks.Get(ctx, w.Stack)
			if err != nil {
				return nil, err
			}
			slugs[w.Stack] = st.Slug
		}
		out.Edges = append(out.Edges, &gen.SearchSchedulableRunsEdge{Node: &gen.SchedulableRun{
			Position: w.position, Run: runView(w.Run, slugs[w.Stack]), StackID: slugs[w.Stack],
		}})
	}
	return out, nil
}

// PublicWorkerPool is empty: stacks without a pool wait with that as their reason.
func (q *query) PublicWorkerPool(ctx context.Context) (*gen.PublicWorkerPool, error) {
	return &gen.PublicWorkerPool{}, known(ctx)
}

func (f *publicPoolFields) SearchSchedulableRuns(context.Context, *gen.PublicWorkerPool, gen.SearchInput) (*gen.SearchSchedulableRunsOutput, error) {
	return &gen.SearchSchedulableRunsOutput{Edges: []*gen.SearchSchedulableRunsEdge{}, PageInfo: &gen.PageInfo{}}, nil
}

func (f *workerRunFields) Run(ctx context.Context, obj *gen.WorkerRun) (*gen.Run, error) {
	return missing(f.o.runByID(ctx, obj.ID))
}

func (f *workerRunFields) StackID(ctx context.Context, obj *gen.WorkerRun) (string, error) {
	r, err := f.o.runByID(ctx, obj.ID)
	if err != nil {
		return "", err
	}
	return r.StackID, nil
}

func poolView(p pool.Pool) *gen.WorkerPool {
	view := &gen.WorkerPool{
		BusyWorkers: p.Busy, CreatedAt: seconds(p.CreatedAt), Description: some(p.Description), ID: p.ID,
		Labels: list(p.Labels), Name: p.Name, PendingRuns: p.PendingRuns, Space: p.Space,
		UpdatedAt: seconds(p.UpdatedAt), WorkersCount: p.Workers,
	}
	// No limit is said as it was asked for: a client that imports a pool would
	// otherwise see a difference.
	limit := -1
	if p.DriftLimit != nil {
		limit = int(*p.DriftLimit)
	}
	view.DriftDetectionRunLimit = &limit
	return view
}

func workerView(w pool.Worker) *gen.Worker {
	view := &gen.Worker{
		AvailableAt: optionalSeconds(w.AvailableAt), Busy: w.Busy, CreatedAt: seconds(w.CreatedAt), Drained: w.Drained,
		ID: w.ID, Metadata: w.Metadata, Status: gen.WorkerStatus(w.Status), Draining: w.Draining, Online: w.Online,
		LastSeenAt: seconds(w.SeenAt), Version: w.Version, Unwell: w.Unwell,
	}
	if w.Run != nil {
		view.CurrentRun = &gen.WorkerRun{ID: w.Run.Run, Attempt: int(w.Run.Attempt)}
	}
	return view
}
