//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Whoever holds the database and the object store can alter every byte there.
// What was sealed must then be refused, before it is unpacked, with the reason.
func TestAlteredSealedWorkIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "process")
	w.createPool("tamper")
	w.launcher("one")
	w.worker("one")
	url, _ := repository(t, map[string]string{"main.tf": configuration})

	park := func(t *testing.T, name string) (stack, id string) {
		t.Helper()
		stack = w.stack(name, stackOptions{repository: url, mode: "sealed"})
		id = w.trigger(stack)
		w.reach(stack, id, "UNCONFIRMED", time.Minute)
		return stack, id
	}
	object := func(t *testing.T, id string) string {
		t.Helper()
		statement, _ := w.statement(`SELECT statement, signature FROM parked WHERE run = $1`, id)
		return w.stored(field(t, statement, "ciphertext"))
	}
	exec := func(t *testing.T, query string, args ...any) {
		t.Helper()
		result, err := w.openDatabase().Exec(query, args...)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if n, _ := result.RowsAffected(); n == 0 {
			t.Fatalf("%s changed nothing", query)
		}
	}
	refused := func(t *testing.T, stack, id, reason string) {
		t.Helper()
		if err := w.act("runConfirm", stack, id); err != nil {
			t.Fatal(err)
		}
		view := w.reach(stack, id, "FAILED", time.Minute)
		if note := view.History[0].Note; !strings.Contains(strings.ToLower(note), reason) {
			t.Errorf("the run failed with %q, want a reason about %q", note, reason)
		}
		if log := w.logs(stack, id); strings.Contains(log, "Apply complete") {
			t.Errorf("the altered workspace was applied:\n%s", log)
		}
	}

	// One after the other: they share the worker.
	t.Run("a truncated workspace", func(t *testing.T) {
		stack, id := park(t, "Truncated")
		path := object(t, id)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, info.Size()/2); err != nil {
			t.Fatal(err)
		}
		refused(t, stack, id, "bytes")
	})
	t.Run("a workspace with one byte changed", func(t *testing.T) {
		stack, id := park(t, "Changed")
		path := object(t, id)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		content[len(content)-100] ^= 1
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, stack, id, "sha256")
	})
	t.Run("the workspace of another stack", func(t *testing.T) {
		_, other := park(t, "Swapped from")
		stack, id := park(t, "Swapped to")
		exec(t, `UPDATE parked SET (object, statement, signature, digest, ciphertext, size) = (SELECT object, statement, signature, digest, ciphertext, size FROM parked AS p WHERE p.run = $1) WHERE run = $2`, other, id)
		refused(t, stack, id, "stack")
	})
	t.Run("the workspace of another run of the same stack", func(t *testing.T) {
		stack, old := park(t, "Replayed")
		if err := w.act("runDiscard", stack, old); err != nil {
			t.Fatal(err)
		}
		id := w.trigger(stack)
		w.reach(stack, id, "UNCONFIRMED", time.Minute)
		exec(t, `UPDATE parked SET (object, statement, signature, digest, ciphertext, size) = (SELECT object, statement, signature, digest, ciphertext, size FROM parked AS p WHERE p.run = $1) WHERE run = $2`, old, id)
		refused(t, stack, id, "run")
	})
	t.Run("a statement that another key signed", func(t *testing.T) {
		stack, id := park(t, "Forged")
		statement, _ := w.statement(`SELECT statement, signature FROM parked WHERE run = $1`, id)
		dir := t.TempDir()
		file := filepath.Join(dir, "statement")
		if err := os.WriteFile(file, statement, 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, nil, "openssl", "genrsa", "-out", filepath.Join(dir, "key"), "2048")
		run(t, nil, "openssl", "dgst", "-sha256", "-sign", filepath.Join(dir, "key"), "-sigopt", "rsa_padding_mode:pss",
			"-sigopt", "rsa_pss_saltlen:32", "-out", filepath.Join(dir, "signature"), file)
		signature, err := os.ReadFile(filepath.Join(dir, "signature"))
		if err != nil {
			t.Fatal(err)
		}
		exec(t, `UPDATE parked SET signature = $1 WHERE run = $2`, signature, id)
		refused(t, stack, id, "sign")
	})
	t.Run("a statement that was edited", func(t *testing.T) {
		stack, id := park(t, "Edited")
		statement, _ := w.statement(`SELECT statement, signature FROM parked WHERE run = $1`, id)
		edited := []byte(strings.Replace(string(statement), "attempt 1\n", "attempt 2\n", 1))
		sum := sha256.Sum256(edited)
		exec(t, `UPDATE parked SET statement = $1, digest = $2 WHERE run = $3`, edited, "sha256:"+hex.EncodeToString(sum[:]), id)
		refused(t, stack, id, "sign")
	})
	t.Run("a job whose core changed since the plan", func(t *testing.T) {
		stack, id := park(t, "Core")
		w.query(`mutation($id: ID!, $input: StackInput!) { stackUpdate(id: $id, input: $input) { id } }`, map[string]any{"id": stack, "input": map[string]any{
			"name": "Core", "administrative": false, "branch": "main", "provider": "GIT", "repository": "infra", "namespace": "",
			"repositoryURL": url, "workerPool": w.pool, "space": "root", "beforeApply": []string{"echo slipped in"},
		}}, nil)
		refused(t, stack, id, "core")
	})

	t.Run("a state that was rolled back", func(t *testing.T) {
		stack := w.stack("Rollback", stackOptions{repository: url, mode: "sealed", autodeploy: true})
		first := w.trigger(stack)
		w.reach(stack, first, "FINISHED", time.Minute)
		w.setConfig(stack, "ENVIRONMENT_VARIABLE", "TF_VAR_greeting", "changed", false)
		second := w.trigger(stack)
		w.reach(stack, second, "FINISHED", time.Minute)
		// Only the first state is left, as if the second had never been.
		d := w.openDatabase()
		var id string
		var last int64
		if err := d.QueryRow(`SELECT s.id, MAX(sequence) FROM stack AS s JOIN state ON state.stack = s.id WHERE s.slug = $1`, stack).Scan(&id, &last); err != nil {
			t.Fatal(err)
		}
		if last < 2 {
			t.Fatalf("two applies left only sequence %d", last)
		}
		exec(t, `DELETE FROM state WHERE stack = $1 AND sequence > 1`, id)
		third := w.trigger(stack)
		view := w.reach(stack, third, "FAILED", time.Minute)
		if log := w.logs(stack, third) + view.History[0].Note; !strings.Contains(log, "sequence") {
			t.Errorf("the rollback was not named:\n%s", log)
		}
		exec(t, `DELETE FROM state WHERE stack = $1`, id)
		fourth := w.trigger(stack)
		w.reach(stack, fourth, "FAILED", time.Minute)
	})
}
