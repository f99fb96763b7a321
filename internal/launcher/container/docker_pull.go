package container

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/launcher/sleep"
)

// pullTries is how often a pull is tried while its registry has troubles that
// pass. The engine itself repeats the download of a layer, and nothing else.
const pullTries = 4

// pull is one image on its way, for as many callers as want it.
type pull struct {
	progress pullProgress
	waiting  int // guarded by Docker.mu; at zero the pull is given up
	cancel   context.CancelFunc
	done     chan struct{}
	err      error // once done
}

// pull fetches an image, or joins those who are fetching it. Each caller hears
// how it goes, and a caller that leaves takes the pull along only if it was the
// last.
func (d *Docker) pull(ctx context.Context, ref string, named reference.Named, say func(line string)) error {
	say("Pulling image " + ref + " from " + reference.Domain(named))
	p := d.joinPull(ref, named)
	defer d.leavePull(ref, p)
	tick := time.NewTicker(d.opts.ProgressEvery)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			// Nothing new is nothing to say: the run's silence limit is not for
			// this phase, and a stuck pull should look stuck.
			if line := p.progress.line(); line != "" && line != last {
				last = line
				say("Pulling image " + ref + ": " + line)
			}
		case <-p.done:
			if p.err == nil {
				say("Pulled image " + ref + p.progress.total())
			}
			return p.err
		}
	}
}

func (d *Docker) joinPull(ref string, named reference.Named) *pull {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.pulls[ref]; p != nil {
		p.waiting++
		return p
	}
	// Not a caller's context: others may join it and stay longer.
	ctx, cancel := context.WithCancel(context.Background())
	p := &pull{waiting: 1, cancel: cancel, done: make(chan struct{})}
	d.pulls[ref] = p
	d.pulling.Add(1)
	go func() {
		defer d.pulling.Done()
		defer cancel()
		p.err = d.fetch(ctx, ref, named, &p.progress)
		d.mu.Lock()
		if d.pulls[ref] == p {
			delete(d.pulls, ref)
		}
		d.mu.Unlock()
		close(p.done)
	}()
	return p
}

func (d *Docker) leavePull(ref string, p *pull) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.waiting--; p.waiting == 0 {
		p.cancel()
		if d.pulls[ref] == p {
			delete(d.pulls, ref) // whoever comes now begins anew
		}
	}
}

// fetch pulls an image, again if the registry was in trouble, and notes that it
// was fetched for a run.
func (d *Docker) fetch(ctx context.Context, ref string, named reference.Named, p *pullProgress) error {
	for try, wait := 1, d.opts.PullRetry; ; try, wait = try+1, 4*wait {
		err := d.fetchOnce(ctx, ref, named, p)
		var passing *troubled
		switch {
		case err == nil:
			return d.notePulled(ctx, ref)
		case ctx.Err() != nil, !errors.As(err, &passing):
			return err
		case try == pullTries:
			return passing.error
		}
		p.status("the registry is in trouble, trying again (" + clean(engineText(passing.cause)) + ")")
		if sleep.For(ctx, wait/2+rand.N(wait)) != nil {
			return err
		}
	}
}

func (d *Docker) fetchOnce(ctx context.Context, ref string, named reference.Named, p *pullProgress) error {
	host := reference.Domain(named)
	options := client.ImagePullOptions{}
	if d.opts.Auth != nil {
		auth, err := d.opts.Auth(ctx, host)
		if err != nil {
			if fault.As(err) != nil {
				return err
			}
			return fault.Wrap(err, fault.Forbidden, "no credentials could be had for the registry of image %s", ref).Named("image_credentials")
		}
		options.RegistryAuth = auth
	}
	// An engine waits without end for a registry that has stopped sending.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(d.opts.PullSilence, func() {
		cancel(fault.New(fault.Unavailable, "nothing of image %s came from the registry %s for %s", ref, host, d.opts.PullSilence).
			Named("image_stalled").WithHint("see whether the registry is well and what lies between it and this worker; the run can be tried again"))
	})
	defer silence.Stop()
	err := d.readPull(ctx, ref, host, options, func(m jsonstream.Message) {
		silence.Reset(d.opts.PullSilence)
		p.heard(m)
	})
	if stalled := fault.As(context.Cause(ctx)); err != nil && stalled != nil {
		return stalled
	}
	return err
}

// readPull has the engine pull and reads what it says.
func (d *Docker) readPull(ctx context.Context, ref, host string, options client.ImagePullOptions, heard func(jsonstream.Message)) error {
	resp, err := d.api.ImagePull(ctx, ref, options)
	if err != nil {
		return d.pullFailed(ref, host, err)
	}
	defer resp.Close()
	// The stream must be read to its end: the pull stops otherwise, and its
	// failure is told nowhere else.
	for m, err := range resp.JSONMessages(ctx) {
		if err != nil {
			return d.pullFailed(ref, host, err)
		}
		if m.Error != nil {
			return d.pullFailed(ref, host, m.Error)
		}
		heard(m)
	}
	return nil
}

// notePulled remembers that an image is here because a run wanted it. An image
// that cannot be noted would stay for ever, so that is an error.
func (d *Docker) notePulled(ctx context.Context, ref string) error {
	found, err := d.api.ImageInspect(ctx, ref)
	if err != nil {
		return d.failed("show image "+ref, err)
	}
	unlock, err := d.pulled.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return d.pulled.add(ref, found.ID, d.now())
}
