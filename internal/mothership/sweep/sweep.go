// Package sweep removes objects that were uploaded and that no row names: what a
// launcher sent before it was lost, and what a removal did not get to.
//
// Nothing may go that is about to be named. An object is removed only if all of this
// holds:
//
//   - it has lain unchanged for a day;
//   - no attempt of its run lives, or has ended within that day, so that no URL to
//     upload it anew is good any more and nobody is left to name it;
//   - two sweeps in a row found it so. They are hours apart on the process's own
//     clock: a wall clock that is set makes nothing old at once.
//
// States are never swept. The service that stores them removes what it could not
// name, so that a crash alone leaves one behind; and where a database was restored
// from before a state was written, that object is the only record of what was made.
package sweep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/blob"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

type store interface {
	Walk(ctx context.Context, visit func(blob.Object) error) error
	Delete(ctx context.Context, key string) error
}

// Options are what a Sweeper works with. All without a default are needed.
type Options struct {
	DB      *db.DB
	Objects store
	Now     func() time.Time
	Log     *slog.Logger

	Every time.Duration // between two sweeps; default 6 h
	Age   time.Duration // for how long an object is left alone; default 24 h
}

// Sweeper removes objects that nothing names. It is for one goroutine.
type Sweeper struct {
	o Options
	// suspects are what the sweep before found, with the time of their last change.
	suspects map[string]time.Time
}

// New returns a sweeper, or an error if an option is missing.
func New(o Options) (*Sweeper, error) {
	if o.DB == nil || o.Objects == nil || o.Now == nil || o.Log == nil {
		return nil, errors.New("sweep: an option is missing")
	}
	for d, value := range map[*time.Duration]time.Duration{&o.Every: 6 * time.Hour, &o.Age: 24 * time.Hour} {
		if *d <= 0 {
			*d = value
		}
	}
	return &Sweeper{o: o, suspects: map[string]time.Time{}}, nil
}

// Run sweeps now and then until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	tick := time.NewTicker(s.o.Every)
	defer tick.Stop()
	for {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.Warn("looking for objects that nothing names failed; it is tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Sweep looks at every object once. It removes those that it and the sweep before
// found to be named by nothing.
func (s *Sweeper) Sweep(ctx context.Context) error {
	found := map[string]time.Time{}
	removed := 0
	err := s.o.Objects.Walk(ctx, func(o blob.Object) error {
		if s.o.Now().Sub(o.Modified) < s.o.Age {
			return nil
		}
		wanted, err := s.wanted(ctx, o.Key)
		if err != nil || wanted {
			return err
		}
		if before := s.suspects[o.Key]; !before.Equal(o.Modified) {
			found[o.Key] = o.Modified
			return nil
		}
		if err := s.o.Objects.Delete(ctx, o.Key); err != nil {
			return err
		}
		removed++
		return nil
	})
	s.suspects = found
	if removed > 0 {
		s.o.Log.Info("objects removed that nothing named", "objects", removed)
	}
	return err
}

// wanted tells whether a row names an object, or still may. What lies elsewhere
// than logs and parked workspaces is not the sweeper's business.
func (s *Sweeper) wanted(ctx context.Context, key string) (bool, error) {
	var named, run string
	switch part := strings.Split(key, "/"); {
	case part[0] == "logs" && len(part) == 5:
		run, named = part[1], `EXISTS (SELECT 1 FROM run_log_chunk WHERE run = $1 AND object = $2)`
	case part[0] == "parked" && len(part) == 4:
		run, named = part[2], `EXISTS (SELECT 1 FROM parked WHERE run = $1 AND object = $2 AND removed_at IS NULL)
			OR EXISTS (SELECT 1 FROM upload WHERE object = $2)`
	default:
		return true, nil
	}
	var wanted bool
	err := s.o.DB.Read().QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM attempt WHERE run = $1 AND (live OR ended_at > $3)) OR `+named,
		run, key, db.Micros(s.o.Now().Add(-s.o.Age))).Scan(&wanted)
	if err != nil {
		return false, fmt.Errorf("look for what names object %s: %w", key, err)
	}
	return wanted, nil
}
