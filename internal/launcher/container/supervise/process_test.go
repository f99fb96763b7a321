package supervise

import (
	"errors"
	"os"
	"testing"
)

func TestAProcessWithAHostileNameIsReadRight(t *testing.T) {
	t.Parallel()
	st, err := parseStat([]byte("42 (a) S 1 (b) R 7 8 9 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3\n"))
	if err != nil || st != (stat{state: 'R', parent: 7, start: 98765}) {
		t.Errorf("got %+v, %v", st, err)
	}
	for _, broken := range []string{"", "42 (a", "42 (a) R 7 8", "42 (a) R x 8 9 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765"} {
		if _, err := parseStat([]byte(broken)); err == nil {
			t.Errorf("%q was read", broken)
		}
	}
}

func TestAnotherProcessWithTheSameNumberIsNotTouched(t *testing.T) {
	t.Parallel()
	boot, err := BootID()
	if err != nil {
		t.Fatal(err)
	}
	me, err := identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	earlier := Process{PID: me.PID, Start: me.Start - 1}
	if !me.Alive(boot) || earlier.Alive(boot) || me.Alive("another-boot") {
		t.Error("a process is mistaken for another")
	}
	if err := earlier.Signal(0, boot); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a signal gave %v", err)
	}
}
