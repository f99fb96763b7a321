package identity

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
)

func open(t *testing.T, dir, machine string) *Identity {
	t.Helper()
	id, err := Open(Options{DataDir: dir, Machine: machine})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func fingerprint(t *testing.T, id *Identity) string {
	t.Helper()
	fp, err := id.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	return fp
}

func TestFiftyStartsAreOneWorker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := ""
	for i := range 50 {
		id := open(t, dir, "m1")
		if i == 0 {
			first = fingerprint(t, id)
		}
		if fp := fingerprint(t, id); fp != first {
			t.Fatalf("start %d has key %s, the first had %s", i, fp, first)
		}
		if n, err := id.NextSession(); err != nil || n != int64(i+1) {
			t.Fatalf("start %d is session %d, %v", i, n, err)
		}
		closed(t, id)
	}
	info, err := os.Stat(filepath.Join(dir, "slots", "0", "worker.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v %v", info, err)
	}
}

func TestACopyOnAnotherMachineIsAnotherWorker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := open(t, dir, "m1")
	fp := fingerprint(t, a)
	closed(t, a)
	b := open(t, dir, "m2")
	defer closed(t, b)
	if fingerprint(t, b) == fp {
		t.Fatal("the copy kept the key")
	}
}

func TestLaunchersOfOneHostTakeNumberedSlots(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := open(t, dir, "m"), open(t, dir, "m")
	defer closed(t, b)
	if a.Slot() != 0 || b.Slot() != 1 || fingerprint(t, a) == fingerprint(t, b) {
		t.Fatalf("slots %d and %d", a.Slot(), b.Slot())
	}
	closed(t, a)
	c := open(t, dir, "m")
	defer closed(t, c)
	if c.Slot() != 0 {
		t.Fatalf("slot %d, want the one given back", c.Slot())
	}
}

func TestAKeyThatCannotBeReadIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	closed(t, open(t, dir, "m"))
	if err := os.WriteFile(filepath.Join(dir, "slots", "0", "worker.key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	id := open(t, dir, "m")
	defer closed(t, id)
	if id.Key() == nil {
		t.Fatal("no key")
	}
}

func TestTheMachineIsToldByItsIDAndNotByItsName(t *testing.T) {
	t.Parallel()
	one := Machine(fstest.MapFS{"etc/machine-id": {Data: []byte("aa\n")}, "etc/hostname": {Data: []byte("x")}}, "/")
	same := Machine(fstest.MapFS{"etc/machine-id": {Data: []byte("aa")}}, "/")
	dmi := Machine(fstest.MapFS{"sys/class/dmi/id/product_uuid": {Data: []byte("bb")}}, "/")
	if one != same || one == dmi || dmi == "" {
		t.Fatalf("%s %s %s", one, same, dmi)
	}
}

func closed(t *testing.T, id *Identity) {
	t.Helper()
	if err := id.Close(); err != nil {
		t.Error(err)
	}
}
