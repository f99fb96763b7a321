//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The main job, by hand: a pool from openssl's request, plan on one worker,
// apply on another, in both state modes and on both backends.
func TestAPlanOfOneWorkerIsAppliedByAnother(t *testing.T) {
	for _, c := range []struct{ backend, mode string }{
		{"docker", "sealed"},
		{"process", "managed"},
	} {
		t.Run(c.backend+" "+c.mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.backend)
			w.createPool("private")
			w.launcher("one")
			one := w.worker("one")
			url, push := repository(t, map[string]string{"main.tf": configuration})
			stack := w.stack("Story "+c.mode, stackOptions{repository: url, mode: c.mode})
			w.setConfig(stack, "ENVIRONMENT_VARIABLE", "TF_VAR_greeting", "good morning", false)

			first := w.trigger(stack)
			planned := w.reach(stack, first, "UNCONFIRMED", time.Minute)
			if planned.Delta == nil || planned.Delta.AddCount < 2 {
				t.Errorf("the plan's delta is %+v, want at least the two resources added", planned.Delta)
			}
			for _, worker := range w.workers() {
				if worker.Busy {
					t.Errorf("worker %s is busy while the run waits for a person", worker.ID)
				}
			}
			w.witnessParked(first)

			w.drain(one, true)
			w.launcher("two")
			two := w.worker("two")
			if err := w.act("runConfirm", stack, first); err != nil {
				t.Fatal(err)
			}
			w.reach(stack, first, "FINISHED", time.Minute)
			log := w.logs(stack, first)
			if !strings.Contains(log, "applied by the worker in") {
				t.Errorf("the log of the apply lacks the provisioner's line:\n%s", log)
			}
			if !strings.Contains(log, "["+one+"]") || !strings.Contains(log, "["+two+"]") {
				t.Errorf("the log names not both workers %s and %s:\n%s", one, two, log)
			}
			if got := w.outputs(stack); got["greeting"] != `"good morning"` {
				t.Errorf("outputs are %v, want greeting read back", got)
			}
			w.witnessState(stack, c.mode)

			second := w.trigger(stack)
			w.reach(stack, second, "FINISHED", time.Minute)
			if log := w.logs(stack, second); !strings.Contains(log, "No changes") {
				t.Errorf("the second run should find nothing to change:\n%s", log)
			}

			push(map[string]string{"more.tf": `resource "terraform_data" "more" {}`})
			third := w.trigger(stack)
			if view := w.reach(stack, third, "UNCONFIRMED", time.Minute); view.Delta.AddCount != 1 {
				t.Errorf("after a push the plan's delta is %+v, want one added", view.Delta)
			}
			if err := w.act("runDiscard", stack, third); err != nil {
				t.Fatal(err)
			}
			w.reach(stack, third, "DISCARDED", time.Minute)

			destroy := w.task(stack, "terraform destroy -auto-approve", false)
			w.reach(stack, destroy, "FINISHED", time.Minute)
			if log := w.logs(stack, destroy); !strings.Contains(log, "Destroy complete") {
				t.Errorf("the task did not destroy:\n%s", log)
			}
			w.nothingIsLeft(c.backend)
		})
	}
}

// stored finds an object in the store by the digest of its bytes.
func (w *world) stored(digest string) string {
	w.t.Helper()
	var found string
	err := filepath.Walk(w.data(), func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() || found != "" {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		if "sha256:"+hex.EncodeToString(sum[:]) == digest {
			found = path
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if found == "" {
		w.t.Fatalf("no object in the store has the digest %s", digest)
	}
	return found
}

// database asks the mothership's database with the sqlite of the product's own
// driver, read-only, as somebody would who got hold of the file.
func (w *world) statement(query string, args ...any) (statement, signature []byte) {
	w.t.Helper()
	d := w.openDatabase()
	if err := d.QueryRow(query, args...).Scan(&statement, &signature); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	return statement, signature
}

func field(t *testing.T, statement []byte, name string) string {
	t.Helper()
	for _, line := range strings.Split(string(statement), "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return value
		}
	}
	t.Fatalf("the statement has no line %q:\n%s", name, statement)
	return ""
}

// witness lets openssl verify who signed, and age open what was sealed, with
// the pool key and with the recovery key.
func (w *world) witness(statement, signature []byte) (plain []string) {
	w.t.Helper()
	dir := w.t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			w.t.Fatal(err)
		}
		return path
	}
	public := file("public.pem", []byte(run(w.t, nil, "openssl", "pkey", "-in", w.keyPath, "-pubout")))
	said := run(w.t, nil, "openssl", "dgst", "-sha256", "-verify", public, "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32",
		"-signature", file("signature", signature), file("statement", statement))
	if !strings.Contains(said, "Verified OK") {
		w.t.Errorf("openssl says %q of the statement", said)
	}
	blob := w.stored(field(w.t, statement, "ciphertext"))
	for i, key := range []string{w.keyPath, filepath.Join(w.dir, "recovery.key")} {
		out := filepath.Join(dir, []string{"pool", "recovery"}[i])
		run(w.t, nil, "age", "-d", "-i", key, "-o", out, blob)
		plain = append(plain, out)
	}
	return plain
}

func (w *world) witnessParked(id string) {
	w.t.Helper()
	statement, signature := w.statement(`SELECT statement, signature FROM parked WHERE run = $1`, id)
	for _, archive := range w.witness(statement, signature) {
		list := run(w.t, nil, "tar", "--zstd", "-tf", archive)
		for _, want := range []string{"workspace/source/main.tf", "workspace/source/spacelift.plan", "carry/"} {
			if !strings.Contains(list, want) {
				w.t.Errorf("the parked workspace lacks %s:\n%s", want, list)
			}
		}
	}
}

func (w *world) witnessState(stack, mode string) {
	w.t.Helper()
	if mode != "sealed" {
		return
	}
	statement, signature := w.statement(`SELECT statement, signature FROM state WHERE NOT recovery ORDER BY sequence DESC LIMIT 1`)
	for _, path := range w.witness(statement, signature) {
		content, err := os.ReadFile(path)
		if err != nil {
			w.t.Fatal(err)
		}
		var state struct {
			Outputs map[string]struct{ Value any }
		}
		if err := json.Unmarshal(content, &state); err != nil {
			w.t.Fatalf("the opened state is no JSON: %v", err)
		}
		if state.Outputs["hidden"].Value != "canary-output-5d1f" {
			w.t.Errorf("the opened state has outputs %v", state.Outputs)
		}
	}
}

// nothingIsLeft checks that run directories and containers went with their runs.
func (w *world) nothingIsLeft(backend string) {
	w.t.Helper()
	eventually(w.t, 10*time.Second, "the clean-up of run directories", func() string {
		left, err := filepath.Glob(filepath.Join(w.dir, "*", "**", "*", "workspace"))
		if err != nil {
			w.t.Fatal(err)
		}
		return strings.Join(left, " ")
	})
}
