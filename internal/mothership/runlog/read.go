package runlog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/blob"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/run"
)

// pageSize is about how many bytes one read answers.
const pageSize = 1 << 20

// Query says which part of which log to read.
type Query struct {
	Run          string
	State        run.State
	StateVersion int    // 0: the newest version with that state
	Token        string // of the page before; empty: from the start
}

// Page is a part of a log.
type Page struct {
	Exists   bool     // there is something to read
	Messages []string // lines with their line ends, verbatim
	Next     string   // token of what follows
	More     bool     // there is more already
	Finished bool     // nothing follows
}

// Read answers what is committed now of a state's log, from a token on.
func (s *Service) Read(ctx context.Context, q Query) (Page, error) {
	if err := s.o.Access.RequireAnywhere(ctx, access.RunRead); err != nil {
		return Page{}, err
	}
	st, err := s.state(ctx, q)
	if err != nil {
		return Page{}, err
	}
	if err := s.o.Access.Require(ctx, access.RunRead, st.space); err != nil {
		return Page{}, err
	}
	var offset int64
	if q.Token != "" {
		if offset, err = strconv.ParseInt(q.Token, 10, 64); err != nil || offset < 0 {
			return Page{}, fault.New(fault.Invalid, "log token %q is not one", q.Token)
		}
	}
	if st.worker != "" && s.watch(q.Run) {
		s.o.Hint(st.pool, st.worker)
	}
	text, err := s.text(ctx, q.Run, st.version, offset)
	if err != nil {
		return Page{}, err
	}
	more := offset+int64(len(text)) < st.bytes
	if more || !st.over {
		// What follows may complete the last character: it comes with that.
		text = whole(text)
	}
	page := Page{Exists: st.bytes > 0, Messages: lines(text), Next: strconv.FormatInt(offset+int64(len(text)), 10), More: more}
	page.Finished = st.over && !page.More
	if page.Finished && st.lost > 0 {
		page.Messages = append(page.Messages, fmt.Sprintf("[%d bytes of this log were lost]\n", st.lost))
	}
	return page, nil
}

// whole returns text without the beginning of a character at its end. Pages end
// between bytes, and half a character would not survive the answer.
func whole(text string) string {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		tail := text[len(text)-n:]
		if !utf8.RuneStart(tail[0]) {
			continue
		}
		if !utf8.FullRuneInString(tail) {
			return text[:len(text)-n]
		}
		break
	}
	return text
}

// lines splits text behind each line end. What follows the last is a message too:
// its end will come with the next page.
func lines(text string) []string {
	if text == "" {
		return nil
	}
	all := strings.SplitAfter(text, "\n")
	if all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return all
}

// logState is what is known about one state's log.
type logState struct {
	space   string
	version int
	bytes   int64
	lost    int64
	over    bool   // nothing will be added
	pool    string // of the worker that writes it
	worker  string // that writes it; empty if none does
}

// state finds the log that a query means, and how it stands.
func (s *Service) state(ctx context.Context, q Query) (logState, error) {
	var (
		st      logState
		current int
		now     run.State
	)
	r := s.o.DB.Read()
	err := r.QueryRowContext(ctx, `SELECT s.space, r.state, r.state_version FROM run r JOIN stack s ON s.id = r.stack WHERE r.id = $1`, q.Run).
		Scan(&st.space, &now, &current)
	if errors.Is(err, sql.ErrNoRows) {
		return st, fault.New(fault.NotFound, "there is no run %q", q.Run)
	}
	if err != nil {
		return st, fmt.Errorf("look up run %s: %w", q.Run, err)
	}
	err = r.QueryRowContext(ctx, `SELECT COALESCE(MAX(state_version), 0) FROM run_history WHERE run = $1 AND state = $2 AND ($3 = 0 OR state_version = $3)`,
		q.Run, string(q.State), q.StateVersion).Scan(&st.version)
	if err != nil {
		return st, fmt.Errorf("look up state of run %s: %w", q.Run, err)
	}
	if st.version == 0 {
		// The run has not been there; unless it has ended, it may yet be.
		st.over = now.Terminal()
		return st, nil
	}
	var total sql.NullInt64
	err = r.QueryRowContext(ctx, `SELECT bytes, total, lost FROM run_log WHERE run = $1 AND state_version = $2`, q.Run, st.version).
		Scan(&st.bytes, &total, &st.lost)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return st, fmt.Errorf("look up log of run %s: %w", q.Run, err)
	}
	complete := total.Valid && st.bytes+st.lost >= total.Int64
	var ended sql.NullInt64
	err = r.QueryRowContext(ctx, `SELECT pool, worker, ended_at FROM attempt WHERE run = $1 AND from_version <= $2 ORDER BY attempt DESC LIMIT 1`,
		q.Run, st.version).Scan(&st.pool, &st.worker, &ended)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return st, fmt.Errorf("look up attempt of run %s: %w", q.Run, err)
	}
	late := s.o.Now().Add(-s.o.LateFor)
	switch {
	case complete:
		st.over = true
	case !q.State.OnWorker():
		st.over = current > st.version || now.Terminal()
	case ended.Valid:
		// The attempt is over. What its launcher still has may come for a while.
		st.over = db.Time(ended.Int64).Before(late)
	}
	if ended.Valid || !q.State.OnWorker() {
		st.worker = ""
	}
	return st, nil
}

// text reads about a page of a log from an offset on.
func (s *Service) text(ctx context.Context, id string, version int, offset int64) (string, error) {
	type chunk struct {
		offset, length int64
		object         string
	}
	rows, err := s.o.DB.Read().QueryContext(ctx, `SELECT log_offset, length, object FROM run_log_chunk
		WHERE run = $1 AND state_version = $2 AND log_offset + length > $3 ORDER BY log_offset LIMIT 64`, id, version, offset)
	chunks, err := db.Collect(rows, err, func(rows *sql.Rows) (chunk, error) {
		var c chunk
		return c, rows.Scan(&c.offset, &c.length, &c.object)
	})
	if err != nil {
		return "", fmt.Errorf("list log chunks of run %s: %w", id, err)
	}
	var text strings.Builder
	for _, c := range chunks {
		skip := max(0, offset-c.offset)
		if err := s.copy(ctx, &text, c.object, skip, min(c.length-skip, int64(pageSize-text.Len()))); err != nil {
			return "", fmt.Errorf("read log of run %s: %w", id, err)
		}
		if text.Len() >= pageSize {
			break
		}
	}
	return text.String(), nil
}

// copy adds n bytes of an object from skip on. An object with fewer was not what
// its launcher committed; the gap is filled so that offsets stay true.
func (s *Service) copy(ctx context.Context, w *strings.Builder, object string, skip, n int64) error {
	before := w.Len()
	r, err := s.o.Blob.Get(ctx, object)
	switch {
	case err == nil:
		defer func() { _ = r.Close() }() // only read from
		if _, err := io.CopyN(io.Discard, r, skip); err == nil {
			if _, err := io.CopyN(w, r, n); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
	case !errors.Is(err, blob.ErrNotFound):
		return err
	}
	for int64(w.Len()-before) < n {
		w.WriteByte('?')
	}
	return nil
}
