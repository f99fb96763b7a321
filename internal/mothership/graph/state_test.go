package graph_test

import (
	"context"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/installation"
)

func TestRecoveryVersionsAreShownOnTheirRunAndStackToWhoeverMayReadRuns(t *testing.T) {
	t.Parallel()
	w := setup(t)
	admin := w.admin()
	stack := admin.stack("Stack", vars{"workerPool": admin.pool("pool")})
	other := admin.stack("Other", nil)
	run := admin.trigger(stack)
	w.exec(`INSERT INTO state (id, stack, sequence, base, run, attempt, write_id, mode, object, digest, size, recovery, reason, created_at)
		SELECT '01KEPT', id, 3, 2, $2, 1, 'w', 'sealed', 'states/x/y', 'sha256:00', 17, TRUE, 'it came too late', 1700000000000000 FROM stack WHERE slug = $1`, stack, run)
	w.exec(`INSERT INTO state (id, stack, sequence, base, run, attempt, write_id, mode, object, digest, size, recovery, reason, created_at)
		SELECT '01CURRENT', id, 2, 1, $2, 1, 'v', 'sealed', 'states/x/z', 'sha256:00', 17, FALSE, '', 1600000000000000 FROM stack WHERE slug = $1`, stack, run)

	type version struct {
		ID, Run, StateMode, Digest, Reason       string
		Attempt, Sequence, Base, Size, CreatedAt int
	}
	var got struct {
		Stack struct {
			RecoveryVersions []version
			Run              struct{ RecoveryVersions []version }
		}
		Other struct{ RecoveryVersions []version }
	}
	const document = `query($stack: ID!, $other: ID!, $run: ID!) {
		stack(id: $stack) { recoveryVersions { ...all } run(id: $run) { recoveryVersions { ...all } } }
		other: stack(id: $other) { recoveryVersions { id } }
	}
	fragment all on StateRecoveryVersion { id run stateMode digest reason attempt sequence base size createdAt }`
	w.role(access.Reader).must(document, vars{"stack": stack, "other": other, "run": run}, &got)
	want := version{
		ID: "01KEPT", Run: run, StateMode: "SEALED", Digest: "sha256:00", Reason: "it came too late",
		Attempt: 1, Sequence: 3, Base: 2, Size: 17, CreatedAt: 1700000000,
	}
	for where, list := range map[string][]version{"stack": got.Stack.RecoveryVersions, "run": got.Stack.Run.RecoveryVersions} {
		if len(list) != 1 || list[0] != want {
			t.Errorf("the %s shows %+v, want %+v alone", where, list, want)
		}
	}
	if got.Other.RecoveryVersions == nil || len(got.Other.RecoveryVersions) != 0 {
		t.Errorf("a stack without any shows %+v", got.Other.RecoveryVersions)
	}
}

// exec changes the database beside the running server.
func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	ctx := context.Background()
	d, err := installation.OpenDatabase(ctx, w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	err = d.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}
