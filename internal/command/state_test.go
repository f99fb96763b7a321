package command

import (
	"context"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/installation"
)

// keep DIR ID MODE TEXT puts a recovery version, and a stack for it, beside the
// server that runs on DIR.
func keep(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	inst, err := installation.OpenBeside(ctx, ts.MkAbs(args[0]))
	ts.Check(err)
	defer func() { ts.Check(inst.Close()) }()
	id, mode, stored := args[1], args[2], []byte(args[3])
	if mode == "managed" {
		stored, err = inst.Vault.Wrap(ctx, "state:"+id, stored)
		ts.Check(err)
	}
	object := "states/" + id + "/x"
	file := filepath.Join(inst.Objects, filepath.FromSlash(object))
	ts.Check(os.MkdirAll(filepath.Dir(file), 0o700))
	ts.Check(os.WriteFile(file, stored, 0o600))
	ts.Check(inst.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO stack (id, slug, name, space, settings, state_mode, state, created_at, updated_at)
			VALUES ($1, $1, $1, 'root', '{}', $2, 'NONE', 0, 0)`, id, mode)
		ts.Check(err)
		_, err = tx.ExecContext(ctx, `INSERT INTO state (id, stack, sequence, base, run, attempt, write_id, mode, object, digest, size, recovery, created_at)
			VALUES ($1, $1, 1, 0, $1, 1, 'w', $2, $3, 'sha256:', 0, TRUE, 0)`, id, mode, object)
		return err
	}))
}

// audited DIR ID fails unless the audit trail has one reading of the state ID, by
// the command line.
func audited(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	inst, err := installation.OpenBeside(ctx, ts.MkAbs(args[0]))
	ts.Check(err)
	defer func() { ts.Check(inst.Close()) }()
	var n int
	ts.Check(inst.DB.Read().QueryRowContext(ctx,
		`SELECT COUNT(*) FROM audit WHERE action = 'state:read' AND subject = $1 AND actor = 'system'`, args[1]).Scan(&n))
	if n != 1 {
		ts.Fatalf("the audit trail has %d readings of %s", n, args[1])
	}
}
