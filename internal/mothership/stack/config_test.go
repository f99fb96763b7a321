package stack_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
)

func (w *world) set(t *testing.T, in stack.ConfigInput) stack.ConfigElement {
	t.Helper()
	e, err := w.SetConfig(admin(), "shop", in)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAWriteOnlyValueIsNeverAnsweredAndARunGetsIt(t *testing.T) {
	t.Parallel()
	w := setup(t)
	st := w.create(t, input("shop"))
	w.set(t, stack.ConfigInput{ID: "TOKEN", Type: stack.EnvironmentVariable, Value: "canary-1", WriteOnly: true})
	w.set(t, stack.ConfigInput{ID: "wo_REGION", Type: stack.EnvironmentVariable, Value: "plain", Description: "where"})
	w.set(t, stack.ConfigInput{ID: "./source//key.pem", Type: stack.FileMount, Value: encoded("canary-2"), WriteOnly: true})
	all, err := w.Config(admin(), "shop")
	if err != nil || len(all) != 3 {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, e := range all {
		one, err := w.ConfigElement(admin(), st.ID, e.ID)
		if err != nil || (one.Value == nil) != (e.Value == nil) || one.Checksum != e.Checksum {
			t.Errorf("%s alone: %+v, %v", e.ID, one, err)
		}
		if e.WriteOnly && e.Value != nil {
			t.Errorf("%s is answered: %q", e.ID, *e.Value)
		}
	}
	if all[2].ID != "wo_REGION" || all[2].Value == nil || *all[2].Value != "plain" || all[2].Description != "where" {
		t.Errorf("got %+v", all[2])
	}
	variables, files, err := w.Resolve(context.Background(), w.inst.DB.Read(), st.ID)
	if err != nil || len(variables) != 2 || len(files) != 1 {
		t.Fatalf("%v, %v, %v", variables, files, err)
	}
	if v := variables[0]; v.Name != "TOKEN" || v.Value != "canary-1" || !v.Secret || v.Source != "stack" {
		t.Errorf("got %+v", v)
	}
	if f := files[0]; f.Path != "source/key.pem" || string(f.Content) != "canary-2" || !f.Secret {
		t.Errorf("got %+v", f)
	}
}

func TestValuesAreWrappedAndBoundToTheirRow(t *testing.T) {
	t.Parallel()
	w := setup(t)
	st := w.create(t, input("shop"))
	other := w.create(t, input("other"))
	w.set(t, stack.ConfigInput{ID: "A", Type: stack.EnvironmentVariable, Value: "canary", WriteOnly: true})
	w.set(t, stack.ConfigInput{ID: "B", Type: stack.EnvironmentVariable, Value: "canary"})
	if n := w.count(t, `SELECT COUNT(*) FROM stack_config WHERE instr(value, $1) > 0`, []byte("canary")); n != 0 {
		t.Errorf("%d values are stored as they are", n)
	}
	// Who can write to the database cannot have a secret answered by moving it to
	// a row that is not write-only, nor to a stack of their own.
	w.exec(t, `UPDATE stack_config SET value = (SELECT value FROM stack_config WHERE id = 'A') WHERE id = 'B'`)
	if _, err := w.ConfigElement(admin(), "shop", "B"); err == nil {
		t.Error("a value was opened in another row")
	}
	w.exec(t, `INSERT INTO stack_config SELECT $1, id, type, value, write_only, checksum, description, created_at FROM stack_config WHERE stack = $2 AND id = 'A'`, other.ID, st.ID)
	if _, _, err := w.Resolve(context.Background(), w.inst.DB.Read(), other.ID); err == nil {
		t.Error("a value was opened for another stack")
	}
}

func TestTheChecksumIsOfTheValueAsSent(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.create(t, input("shop"))
	for _, in := range []stack.ConfigInput{
		{ID: "A", Type: stack.EnvironmentVariable, Value: "value"},
		{ID: "f", Type: stack.FileMount, Value: encoded("value")},
	} {
		sum := sha256.Sum256([]byte(in.Value))
		if got := w.set(t, in).Checksum; got != hex.EncodeToString(sum[:]) {
			t.Errorf("%s has %s", in.ID, got)
		}
	}
}

func TestSettingAnElementAgainReplacesIt(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.create(t, input("shop"))
	w.set(t, stack.ConfigInput{ID: "A", Type: stack.EnvironmentVariable, Value: "old"})
	w.set(t, stack.ConfigInput{ID: "A", Type: stack.EnvironmentVariable, Value: "new", WriteOnly: true})
	all, err := w.Config(admin(), "shop")
	if err != nil || len(all) != 1 || !all[0].WriteOnly {
		t.Errorf("got %+v, %v", all, err)
	}
	if _, err := w.DeleteConfig(admin(), "shop", "A"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.DeleteConfig(admin(), "shop", "A"); !fault.Is(err, fault.NotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestAnUnusableElementIsNamedWithoutItsValue(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.create(t, input("shop"))
	variable := func(id, value string) stack.ConfigInput {
		return stack.ConfigInput{ID: id, Type: stack.EnvironmentVariable, Value: value}
	}
	file := func(id, value string) stack.ConfigInput {
		return stack.ConfigInput{ID: id, Type: stack.FileMount, Value: value}
	}
	for name, test := range map[string]struct {
		in   stack.ConfigInput
		code fault.Code
	}{
		"no name":              {variable("", "canary"), "invalid.variable_name"},
		"a digit first":        {variable("1A", "canary"), "invalid.variable_name"},
		"a dash":               {variable("A-B", "canary"), "invalid.variable_name"},
		"an equals sign":       {variable("A=B", "canary"), "invalid.variable_name"},
		"a prefix alone":       {variable("ro_", "canary"), "invalid.variable_name"},
		"a prefix and a digit": {variable("wo_1", "canary"), "invalid.variable_name"},
		"a null byte":          {variable("A", "canary\x00"), "invalid.variable_value"},
		"too long a value":     {variable("A", "canary"+strings.Repeat("x", 128<<10)), "invalid.variable_size"},
		"a path outside":       {file("../canary", ""), "invalid.file_path"},
		"an absolute path":     {file("/etc/passwd", ""), "invalid.file_path"},
		"a path that is none":  {file(".", ""), "invalid.file_path"},
		"no base64":            {file("f", "canary!"), "invalid.file_base64"},
		"too large a file":     {file("f", encoded(strings.Repeat("x", 2<<20+1))), "invalid.file_size"},
		"an unknown type":      {stack.ConfigInput{ID: "A", Type: "SECRET", Value: "canary"}, "invalid.config_type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := w.SetConfig(admin(), "shop", test.in)
			if code(err) != test.code {
				t.Fatalf("got %v, want %s", err, test.code)
			}
			if !strings.Contains(test.in.ID, "canary") && strings.Contains(err.Error(), "canary") {
				t.Errorf("the refusal repeats the value: %v", err)
			}
		})
	}
	w.set(t, file("largest", encoded(strings.Repeat("x", 2<<20))))
	w.set(t, variable("ro_A_1", "two\nlines"))
}

func TestAllValuesTogetherFitIntoAJob(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.create(t, input("shop"))
	file := base64.StdEncoding.EncodeToString(make([]byte, 2<<20))
	var err error
	n := 0
	for ; n < 20 && err == nil; n++ {
		_, err = w.SetConfig(admin(), "shop", stack.ConfigInput{ID: fmt.Sprintf("f%d", n), Type: stack.FileMount, Value: file})
	}
	if code(err) != "conflict.config_total" || n < 10 {
		t.Fatalf("after %d large files: %v", n, err)
	}
	if _, err := w.SetConfig(admin(), "shop", stack.ConfigInput{ID: "f0", Type: stack.FileMount, Value: file}); err != nil {
		t.Errorf("one is replaced: %v", err)
	}
}
