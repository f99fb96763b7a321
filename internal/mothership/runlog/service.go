package runlog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/blob"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Bounds of a chunk and of a batch of URLs.
const (
	MaxChunk = 16 << 20 // bytes
	Batch    = 4        // URLs that come unasked
	maxWant  = 64
)

// LateFor is how long after an attempt's end what is missing of its logs may
// still come, where Options say nothing else.
const LateFor = time.Minute

type authorizer interface {
	Require(ctx context.Context, action access.Action, space string) error
	RequireAnywhere(ctx context.Context, action access.Action) error
}

// Options are what a Service works with. All without a default are needed.
type Options struct {
	DB     *db.DB
	Blob   blob.Store
	Access authorizer
	// Hint tells a worker to look again: somebody watches. It must not block.
	Hint func(pool, worker string)
	Now  func() time.Time
	// Mono is the process's monotonic clock.
	Mono func() time.Duration

	URLFor     time.Duration // life of a URL; default 1 h
	WatchedFor time.Duration // after the last read; default 10 s
	// LateFor is how long after an attempt's end what is missing may still come;
	// after that, a log is as complete as it will be. Default [LateFor].
	LateFor time.Duration
}

// Service keeps logs.
type Service struct {
	o Options

	mu      sync.Mutex
	watched map[string]time.Duration // run → last read, on the monotonic clock
}

// New returns the service, or an error if an option is missing.
func New(o Options) (*Service, error) {
	if o.DB == nil || o.Blob == nil || o.Access == nil || o.Hint == nil || o.Now == nil || o.Mono == nil {
		return nil, errors.New("runlog: an option is missing")
	}
	for d, value := range map[*time.Duration]time.Duration{&o.URLFor: time.Hour, &o.WatchedFor: 10 * time.Second, &o.LateFor: LateFor} {
		if *d <= 0 {
			*d = value
		}
	}
	return &Service{o: o, watched: map[string]time.Duration{}}, nil
}

// Source is the attempt that a log comes from.
type Source struct {
	Run     string
	Attempt int64
	From    int // the first state version that is this attempt's
	To      int // the last
}

func (s Source) check(version int) error {
	if version < s.From || version > s.To {
		return fault.New(fault.Stale, "the log of state version %d is not that of attempt %d of run %s", version, s.Attempt, s.Run)
	}
	return nil
}

func object(src Source, version, chunk int) string {
	return fmt.Sprintf("logs/%s/%d/%d/%d", src.Run, src.Attempt, version, chunk)
}

// URLs returns n URLs for chunks of a state version from number from on.
func (s *Service) URLs(src Source, version, from, n int) ([]wire.LogURL, error) {
	if err := src.check(version); err != nil {
		return nil, err
	}
	if from < 0 {
		return nil, fault.New(fault.Invalid, "a chunk has no number below 0")
	}
	urls := make([]wire.LogURL, 0, min(n, maxWant))
	for chunk := from; chunk < from+min(n, maxWant); chunk++ {
		url, err := s.o.Blob.SignPut(object(src, version, chunk), s.o.URLFor, MaxChunk)
		if err != nil {
			return nil, fmt.Errorf("sign log URL of run %s: %w", src.Run, err)
		}
		urls = append(urls, wire.LogURL{StateVersion: version, Chunk: chunk, URL: url, ExpiresInMs: s.o.URLFor.Milliseconds()})
	}
	return urls, nil
}

// ForJob returns the first URLs of a state version, for an attempt's job.
func (s *Service) ForJob(runID string, attempt int64, version int) ([]wire.LogURL, error) {
	return s.URLs(Source{Run: runID, Attempt: attempt, From: version, To: version}, version, 0, Batch)
}

// Wanted returns the URLs that an update asks for; none if it asks for none.
func (s *Service) Wanted(src Source, u wire.LogUpdate) ([]wire.LogURL, error) {
	if u.Want <= 0 {
		return nil, nil
	}
	return s.URLs(src, u.WantStateVersion, u.WantFrom, u.Want)
}

// Apply commits chunks and closes of one call, in tx. Repeats change nothing. A
// gap is refused with a conflict that names the offset that is expected.
func (s *Service) Apply(ctx context.Context, tx *db.Tx, src Source, u wire.LogUpdate) error {
	for _, c := range u.Commits {
		if err := s.commit(ctx, tx, src, c); err != nil {
			return err
		}
	}
	for _, c := range u.Closes {
		if err := src.check(c.StateVersion); err != nil {
			return err
		}
		if c.Bytes < 0 || c.Lost < 0 || c.Lost > c.Bytes {
			return fault.New(fault.Invalid, "a log of %d bytes cannot have lost %d", c.Bytes, c.Lost)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO run_log (run, state_version, total, sha256, lost) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (run, state_version) DO UPDATE SET total = excluded.total, sha256 = excluded.sha256, lost = excluded.lost`,
			src.Run, c.StateVersion, c.Bytes, c.SHA256, c.Lost)
		if err != nil {
			return fmt.Errorf("close log of run %s: %w", src.Run, err)
		}
	}
	return nil
}

func (s *Service) commit(ctx context.Context, tx *db.Tx, src Source, c wire.LogCommit) error {
	if err := src.check(c.StateVersion); err != nil {
		return err
	}
	if c.Length <= 0 || c.Length > MaxChunk || c.Chunk < 0 || c.Offset < 0 {
		return fault.New(fault.Invalid, "a log chunk has 1 to %d bytes and no negative number or offset", MaxChunk)
	}
	var have int64
	err := tx.QueryRowContext(ctx, `SELECT bytes FROM run_log WHERE run = $1 AND state_version = $2`, src.Run, c.StateVersion).Scan(&have)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("look up log of run %s: %w", src.Run, err)
	}
	switch {
	case c.Offset+c.Length <= have:
		return nil // committed before
	case c.Offset != have:
		return fault.New(fault.Conflict, "log chunk %d begins at byte %d, but byte %d is expected", c.Chunk, c.Offset, have).Named("log_offset")
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO run_log (run, state_version, bytes) VALUES ($1, $2, $3)
		ON CONFLICT (run, state_version) DO UPDATE SET bytes = excluded.bytes`, src.Run, c.StateVersion, have+c.Length)
	if err != nil {
		return fmt.Errorf("commit log of run %s: %w", src.Run, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO run_log_chunk (run, state_version, log_offset, length, sha256, object) VALUES ($1, $2, $3, $4, $5, $6)`,
		src.Run, c.StateVersion, c.Offset, c.Length, c.SHA256, object(src, c.StateVersion, c.Chunk))
	if err != nil {
		return fmt.Errorf("commit log chunk of run %s: %w", src.Run, err)
	}
	return nil
}

// Committed returns how many bytes of each state version of the source are
// committed.
func (s *Service) Committed(ctx context.Context, q db.Queryer, src Source) (map[int]int64, error) {
	rows, err := q.QueryContext(ctx, `SELECT state_version, bytes FROM run_log WHERE run = $1 AND state_version BETWEEN $2 AND $3`, src.Run, src.From, src.To)
	type row struct {
		version int
		bytes   int64
	}
	all, err := db.Collect(rows, err, func(rows *sql.Rows) (row, error) {
		var r row
		return r, rows.Scan(&r.version, &r.bytes)
	})
	if err != nil {
		return nil, fmt.Errorf("list logs of run %s: %w", src.Run, err)
	}
	committed := make(map[int]int64, len(all))
	for _, r := range all {
		committed[r.version] = r.bytes
	}
	return committed, nil
}

// Missing says whether the log of a state version is complete, and if it has been
// closed, how many bytes are to come.
func (s *Service) Missing(ctx context.Context, q db.Queryer, run string, version int) (complete bool, bytes int64, err error) {
	var (
		have, lost int64
		total      sql.NullInt64
	)
	err = q.QueryRowContext(ctx, `SELECT bytes, total, lost FROM run_log WHERE run = $1 AND state_version = $2`, run, version).Scan(&have, &total, &lost)
	if errors.Is(err, sql.ErrNoRows) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, fmt.Errorf("look up log of run %s: %w", run, err)
	}
	if !total.Valid {
		return false, 0, nil
	}
	return have+lost >= total.Int64, max(0, total.Int64-lost-have), nil
}

// Watched reports whether somebody reads the run's log right now.
func (s *Service) Watched(run string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok := s.watched[run]
	return ok && s.o.Mono()-last < s.o.WatchedFor
}

// watch notes a read and reports whether it is the first of a stretch.
func (s *Service) watch(run string) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Mono()
	last, ok := s.watched[run]
	s.watched[run] = now
	for id, at := range s.watched {
		if now-at >= s.o.WatchedFor {
			delete(s.watched, id)
		}
	}
	return !ok || now-last >= s.o.WatchedFor
}
