package pool_test

import (
	"context"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/seal"
)

func TestAPoolsTokenIsAnsweredByteForByteUntilAReset(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	token, err := seal.ParseToken(p.Token)
	if err != nil {
		t.Fatal(err)
	}
	if token.Origin != w.inst.Origin || token.Pool != p.ID || token.Broker.Endpoint != "tls://spaceport.example.com:1984" || token.API.Endpoint != "https://spaceport.example.com" {
		t.Errorf("got %+v", token)
	}
	if err := c.key.Matches(token.PoolCertificate()); err != nil {
		t.Error(err)
	}
	if _, err := w.Update(admin(), p.ID, pool.Input{Name: "renamed"}); err != nil {
		t.Fatal(err)
	}
	w.options.Endpoints.API = "https://moved.example.com"
	w.restart(t)
	if again, err := w.Token(admin(), p.ID); err != nil || again != p.Token {
		t.Errorf("after a rename and a move of the server: %v", err)
	}
	reset, err := w.Reset(admin(), p.ID, newCustomer(t, 1).csr)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.Token(admin(), p.ID); err != nil || again != reset.Token || again == p.Token || reset.ID != p.ID {
		t.Errorf("after a reset: %v", err)
	}
}

func TestATokenIsEmptyForWhoMayNotUpdateThePool(t *testing.T) {
	t.Parallel()
	w := setup(t)
	p := w.create(t, newCustomer(t, 0), "payments")
	for _, role := range []access.Role{access.Reader, access.Writer} {
		if token, err := w.Token(as(role), p.ID); err != nil || token != "" {
			t.Errorf("%s: got %d bytes, %v", role, len(token), err)
		}
	}
	if _, err := w.Token(context.Background(), p.ID); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("nobody: %v", err)
	}
}

func TestATokenIsNotReadableInTheDatabase(t *testing.T) {
	t.Parallel()
	w := setup(t)
	p := w.create(t, newCustomer(t, 0), "payments")
	if n := w.count(t, `SELECT COUNT(*) FROM pool WHERE instr(token, $1) > 0`, []byte(p.Token[:20])); n != 0 {
		t.Error("the token is stored as it is")
	}
	// A token moved to another pool's row is not opened there.
	other := w.create(t, newCustomer(t, 1), "other")
	w.exec(t, `UPDATE pool SET token = (SELECT token FROM pool WHERE id = $1) WHERE id = $2`, p.ID, other.ID)
	if token, err := w.Token(admin(), other.ID); err == nil {
		t.Errorf("got %d bytes of another pool's token", len(token))
	}
}

func TestABadPoolIsRefusedByName(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	w.create(t, c, "taken")
	for code, in := range map[fault.Code]pool.Input{
		"invalid.pool_name":   {Name: " ", CSR: c.csr},
		"invalid.csr_empty":   {Name: "a"},
		"invalid.csr_base64":  {Name: "b", CSR: "%%%"},
		"invalid.space":       {Name: "c", CSR: c.csr, Space: "nowhere"},
		"conflict.pool_name":  {Name: " taken ", CSR: c.csr},
		"invalid.pool_labels": {Name: "d", CSR: c.csr, Labels: []string{""}},
	} {
		_, err := w.Create(access.With(context.Background(), access.Principal{Kind: access.KindAdmin, ID: "a", Admin: true}), in)
		if f := fault.As(err); f == nil || f.Code != code {
			t.Errorf("got %v, want %s", err, code)
		}
	}
	if n := w.count(t, `SELECT COUNT(*) FROM pool`); n != 1 {
		t.Errorf("%d pools", n)
	}
}

func TestARoleDecidesWhatMayBeDoneToPools(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	l := newLauncher(t, c, p.Token).register(t, w)
	for name, do := range map[string]func(ctx context.Context) error{
		"create": func(ctx context.Context) error {
			_, err := w.Create(ctx, pool.Input{Name: "x", CSR: c.csr})
			return err
		},
		"update": func(ctx context.Context) error { _, err := w.Update(ctx, p.ID, pool.Input{Name: "x"}); return err },
		"reset":  func(ctx context.Context) error { _, err := w.Reset(ctx, p.ID, c.csr); return err },
		"delete": func(ctx context.Context) error { _, err := w.Delete(ctx, p.ID); return err },
		"cycle":  func(ctx context.Context) error { return w.Cycle(ctx, p.ID) },
		"drain":  func(ctx context.Context) error { _, err := w.Drain(ctx, p.ID, l.Worker, true); return err },
	} {
		if err := do(as(access.Writer)); !fault.Is(err, fault.Forbidden) {
			t.Errorf("a writer may %s: %v", name, err)
		}
		if err := do(context.Background()); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("nobody may %s: %v", name, err)
		}
	}
	for name, do := range map[string]func(ctx context.Context) error{
		"get":     func(ctx context.Context) error { _, err := w.Get(ctx, p.ID); return err },
		"list":    func(ctx context.Context) error { _, err := w.List(ctx); return err },
		"workers": func(ctx context.Context) error { _, err := w.Workers(ctx, p.ID, false); return err },
	} {
		if err := do(as(access.Reader)); err != nil {
			t.Errorf("a reader may not %s: %v", name, err)
		}
		if err := do(context.Background()); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("nobody may %s: %v", name, err)
		}
	}
	if got := w.worker(t, l.Worker); got.Drained || got.Cycle {
		t.Error("a refused call changed the worker")
	}
}

func TestAPoolInUseIsNotDeleted(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	l := newLauncher(t, c, p.Token).register(t, w)
	w.exec(t, `INSERT INTO stack (id, slug, name, space, pool, settings, state_mode, state, created_at, updated_at) VALUES ('S', 'shop', 'Shop', 'root', $1, '{}', 'managed', 'NONE', 1, 1)`, p.ID)
	_, err := w.Delete(admin(), p.ID)
	if f := fault.As(err); f == nil || f.Code != "conflict.pool_attached" || !strings.Contains(f.Message, "shop") {
		t.Errorf("with a stack attached: %v", err)
	}
	w.exec(t, `UPDATE stack SET deleted_at = 1 WHERE id = 'S'`)
	run := w.hold(t, p.ID, l.Worker, "write")
	_, err = w.Delete(admin(), p.ID)
	if f := fault.As(err); f == nil || f.Code != "conflict.pool_running" || !strings.Contains(f.Message, run) {
		t.Errorf("with a run live: %v", err)
	}
	w.exec(t, `UPDATE attempt SET live = FALSE`)
	if _, err := w.Delete(admin(), p.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Get(admin(), p.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("still there: %v", err)
	}
	if _, err := w.Authenticate(context.Background(), l.Bearer); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("its worker: %v", err)
	}
	if !w.heard(pool.EventPoolDeleted, p.ID) {
		t.Error("nobody was told to cut its connections")
	}
	w.create(t, c, "payments") // the name is free again
}

func TestCountersSayWhatWorkersDo(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p, empty := w.create(t, c, "payments"), w.create(t, c, "empty")
	first := newLauncher(t, c, p.Token).register(t, w)
	newLauncher(t, c, p.Token).register(t, w)
	run := w.hold(t, p.ID, first.Worker, "read")
	w.exec(t, `INSERT INTO run (id, stack, type, blocking, state, state_version, state_at, branch, commit_data, title, pool, created_at, updated_at)
		SELECT 'W' || v.state, stack, 'PROPOSED', FALSE, v.state, 1, 1, 'main', '{}', 'x', $1, 1, 1
		FROM run, (SELECT 'READY' AS state UNION SELECT 'CONFIRMED' UNION SELECT 'REPLAN_REQUESTED' UNION SELECT 'QUEUED' UNION SELECT 'UNCONFIRMED' UNION SELECT 'FINISHED') v WHERE run.id = $2`, p.ID, run)
	all, err := w.List(admin())
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %v", all, err)
	}
	one, err := w.Get(admin(), p.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []pool.Pool{one, all[1]} {
		if got.ID != p.ID || got.Workers != 2 || got.Busy != 1 || got.PendingRuns != 3 {
			t.Errorf("got %+v", got)
		}
	}
	if all[0].ID != empty.ID || all[0].Workers != 0 || all[0].Busy != 0 || all[0].PendingRuns != 0 {
		t.Errorf("got %+v", all[0])
	}
}

func TestEveryChangeOfAPoolLeavesAnAuditRowAndAnEvent(t *testing.T) {
	t.Parallel()
	w, c := setup(t), newCustomer(t, 0)
	p := w.create(t, c, "payments")
	limit := int64(-1)
	if got, err := w.Update(admin(), p.ID, pool.Input{Name: "renamed", Description: "d", Labels: []string{"a", "a", "b"}, DriftLimit: &limit}); err != nil || len(got.Labels) != 2 || got.DriftLimit != nil || got.Name != "renamed" {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := w.Reset(admin(), p.ID, c.csr); err != nil {
		t.Fatal(err)
	}
	if err := w.Cycle(admin(), p.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Delete(admin(), p.ID); err != nil {
		t.Fatal(err)
	}
	for _, action := range []access.Action{access.PoolCreate, access.PoolUpdate, access.PoolReset, access.PoolCycle, access.PoolDelete} {
		if n := w.count(t, `SELECT COUNT(*) FROM audit WHERE action = $1 AND subject = $2 AND actor = 'api::Kadmin' AND space = 'root'`, string(action), p.ID); n != 1 {
			t.Errorf("%s has %d audit rows", action, n)
		}
	}
}
