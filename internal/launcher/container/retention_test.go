package container

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestNotesThatAnotherLauncherHoldsDoNotHoldUpAStop(t *testing.T) {
	t.Parallel()
	p := pulledImages{t.TempDir()}
	unlock, err := p.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := p.lock(ctx)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	unlock()
	again, err := p.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestTheUseOfAnImageIsNotedUnderEachNameItWasPulledBy(t *testing.T) {
	t.Parallel()
	p, now := pulledImages{t.TempDir()}, time.Unix(1000, 0).UTC()
	for _, err := range []error{p.add("a:1", "sha256:x", now), p.add("b:1", "sha256:x", now), p.add("c:1", "sha256:y", now), p.used("sha256:x", now.Add(time.Hour)), p.used("sha256:x", now)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	notes, err := p.all()
	if err != nil || len(notes) != 3 || notes[0].Ref != "c:1" || !notes[1].Used.Equal(now.Add(time.Hour)) || !notes[2].Used.Equal(now.Add(time.Hour)) || !notes[1].Pulled.Equal(now) {
		t.Fatalf("got %+v, %v", notes, err)
	}
}
