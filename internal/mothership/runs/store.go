package runs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Columns lists the columns that Scan reads, each prefixed with the alias r.
const Columns = `r.id, r.stack, r.type, r.state, r.state_version, r.state_at, r.branch, r.commit_data,
	r.command, r.skip_init, r.targets, r.title, r.triggered_by, r.metadata, r.prioritized, COALESCE(r.pool, ''),
	r.sort_key, r.attempt, r.lost, r.phase, r.delta, r.reason, r.created_at, r.updated_at`

// scanner is a row: of one result or of many.
type scanner interface{ Scan(dest ...any) error }

// Scan reads a run from a row of Columns; more takes the columns after them.
func Scan(row scanner, more ...any) (*Run, error) {
	var (
		r                                Run
		stateAt, createdAt, updatedAt    int64
		commit, targets, metadata, delta string
	)
	dest := []any{
		&r.ID, &r.Stack, &r.Type, &r.State, &r.StateVersion, &stateAt, &r.Branch, &commit,
		&r.Command, &r.SkipInit, &targets, &r.Title, &r.TriggeredBy, &metadata, &r.Prioritized, &r.Pool,
		&r.SortKey, &r.Attempt, &r.Lost, &r.Phase, &delta, &r.Reason, &createdAt, &updatedAt,
	}
	if err := row.Scan(append(dest, more...)...); err != nil {
		return nil, err
	}
	r.StateAt, r.CreatedAt, r.UpdatedAt = db.Time(stateAt), db.Time(createdAt), db.Time(updatedAt)
	err := errors.Join(
		json.Unmarshal([]byte(commit), &r.Commit),
		json.Unmarshal([]byte(targets), &r.Targets),
		json.Unmarshal([]byte(metadata), &r.Metadata),
	)
	if delta != "" {
		r.Delta = &wire.Delta{}
		err = errors.Join(err, json.Unmarshal([]byte(delta), r.Delta))
	}
	if err != nil {
		return nil, fmt.Errorf("decode run %s: %w", r.ID, err)
	}
	return &r, nil
}

// Load returns the run with this id, or a not-found fault.
func Load(ctx context.Context, q db.Queryer, id string) (*Run, error) {
	r, err := Scan(q.QueryRowContext(ctx, `SELECT `+Columns+` FROM run r WHERE r.id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("load run %s: %w", id, err)
	}
	return r, nil
}

func notFound(id string) error { return fault.New(fault.NotFound, "there is no run %q", id) }

func insert(ctx context.Context, tx *db.Tx, r *Run) error {
	commit, err := json.Marshal(r.Commit)
	if err != nil {
		return err
	}
	metadata, err := json.Marshal(append([]string{}, r.Metadata...))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO run (id, stack, type, blocking, state, state_version, state_at, branch,
		commit_data, command, skip_init, title, triggered_by, metadata, prioritized, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16)`,
		r.ID, r.Stack, string(r.Type), r.Type.Blocking(), string(r.State), r.StateVersion, db.Micros(r.StateAt), r.Branch,
		string(commit), r.Command, r.SkipInit, r.Title, r.TriggeredBy, string(metadata), r.Prioritized, db.Micros(r.CreatedAt))
	if err != nil {
		return fmt.Errorf("insert run %s: %w", r.ID, err)
	}
	return nil
}

func list(ctx context.Context, q db.Queryer, stack string, in ListInput) ([]*Run, error) {
	query := `SELECT ` + Columns + ` FROM run r WHERE r.stack = $1`
	args := []any{stack}
	if in.Before != "" {
		args = append(args, in.Before)
		query += fmt.Sprintf(` AND r.id < $%d`, len(args))
	}
	if len(in.Types) > 0 {
		var marks []string
		for _, t := range in.Types {
			args = append(args, string(t))
			marks = append(marks, fmt.Sprintf(`$%d`, len(args)))
		}
		query += ` AND r.type IN (` + strings.Join(marks, ", ") + `)`
	}
	args = append(args, in.Limit)
	query += fmt.Sprintf(` ORDER BY r.id DESC LIMIT $%d`, len(args))
	rows, err := q.QueryContext(ctx, query, args...)
	return db.Collect(rows, err, func(rows *sql.Rows) (*Run, error) { return Scan(rows) })
}

// history returns a run's states, newest first. It names an API key by the name
// that it was given, also once it is deleted. late is the time before which an
// attempt must have ended for nothing more of its logs to come.
func history(ctx context.Context, q db.Queryer, id string, late time.Time) ([]Transition, error) {
	rows, err := q.QueryContext(ctx, `SELECT h.state, h.state_version, h.at, COALESCE(k.name, h.actor), h.note, COALESCE(l.bytes, 0) > 0,
		l.total IS NULL AND EXISTS (SELECT 1 FROM attempt a
			WHERE a.run = h.run AND a.from_version <= h.state_version AND (a.ended_at IS NULL OR a.ended_at >= $2))
		FROM run_history h LEFT JOIN run_log l ON l.run = h.run AND l.state_version = h.state_version
		LEFT JOIN api_key k ON k.id = substr(h.actor, 6) AND substr(h.actor, 1, 5) = 'api::'
		WHERE h.run = $1 ORDER BY h.state_version DESC`, id, db.Micros(late))
	return db.Collect(rows, err, func(rows *sql.Rows) (Transition, error) {
		var (
			t    Transition
			at   int64
			open bool
		)
		err := rows.Scan(&t.State, &t.StateVersion, &at, &t.Who, &t.Note, &t.HasLogs, &open)
		t.At = db.Time(at)
		// Clients look at an entry once. One that has no line yet would stay
		// without its log for them: they are told to ask, and wait for its end.
		t.HasLogs = t.HasLogs || open && t.State.OnWorker()
		return t, err
	})
}

func changes(ctx context.Context, q db.Queryer, id string) ([]wire.Change, error) {
	var text string
	if err := q.QueryRowContext(ctx, `SELECT changes FROM run WHERE id = $1`, id).Scan(&text); err != nil {
		return nil, fmt.Errorf("load changes of run %s: %w", id, err)
	}
	if text == "" {
		return nil, nil
	}
	var all []wire.Change
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("decode changes of run %s: %w", id, err)
	}
	return all, nil
}

func outputs(ctx context.Context, q db.Queryer, stack string) ([]Output, error) {
	rows, err := q.QueryContext(ctx, `SELECT name, value, sensitive, run FROM stack_output WHERE stack = $1 ORDER BY name`, stack)
	return db.Collect(rows, err, func(rows *sql.Rows) (Output, error) {
		var (
			o     Output
			value string
		)
		err := rows.Scan(&o.Name, &value, &o.Sensitive, &o.Run)
		if value != "" && !o.Sensitive {
			o.Value = json.RawMessage(value)
		}
		return o, err
	})
}

// SetPlan stores what a plan would change.
func SetPlan(ctx context.Context, tx *db.Tx, id string, p wire.Plan) error {
	delta, err := json.Marshal(p.Delta)
	if err != nil {
		return err
	}
	list, err := json.Marshal(append([]wire.Change{}, p.Changes...))
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE run SET delta = $2, changes = $3 WHERE id = $1`, id, string(delta), string(list)); err != nil {
		return fmt.Errorf("store plan of run %s: %w", id, err)
	}
	return nil
}

// SetOutputs makes these the outputs of the run and of its stack.
func SetOutputs(ctx context.Context, tx *db.Tx, r *Run, all []wire.Output) error {
	kept := make([]wire.Output, 0, len(all))
	for _, o := range all {
		if o.Sensitive {
			o.Value = nil // whatever a launcher sends, a sensitive value is not kept here
		}
		kept = append(kept, o)
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE run SET outputs = $2 WHERE id = $1`, r.ID, string(text)); err != nil {
		return fmt.Errorf("store outputs of run %s: %w", r.ID, err)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM stack_output WHERE stack = $1`, r.Stack); err != nil {
		return fmt.Errorf("replace outputs of stack %s: %w", r.Stack, err)
	}
	for _, o := range kept {
		_, err := tx.ExecContext(ctx, `INSERT INTO stack_output (stack, name, value, sensitive, run) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (stack, name) DO NOTHING`, r.Stack, o.Name, string(o.Value), o.Sensitive, r.ID)
		if err != nil {
			return fmt.Errorf("store output %s of stack %s: %w", o.Name, r.Stack, err)
		}
	}
	return nil
}

// SetCommit pins the run's commit. A commit that is pinned stays.
func SetCommit(ctx context.Context, tx *db.Tx, r *Run, c wire.Commit) error {
	if !commitID.MatchString(c.SHA) {
		return fault.New(fault.Invalid, "%q is not the id of a commit", c.SHA)
	}
	if r.Commit.SHA != "" && r.Commit.SHA != c.SHA {
		return fault.New(fault.Conflict, "run %s is pinned to commit %s and cannot become %s", r.ID, r.Commit.SHA, c.SHA)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE run SET commit_data = $2 WHERE id = $1`, r.ID, string(text)); err != nil {
		return fmt.Errorf("pin commit of run %s: %w", r.ID, err)
	}
	r.Commit = c
	return nil
}

// notHolding lists the states in which a blocking run does not hold its stack;
// it is the text of the index run_blocker, so that the index serves the query.
const notHolding = `'` + string(run.Queued) + `', '` + string(run.Finished) + `', '` + string(run.Failed) + `', '` +
	string(run.Discarded) + `', '` + string(run.Canceled) + `', '` + string(run.Stopped) + `', '` + string(run.Skipped) + `'`

// BlockerOf returns the id of the blocking run that holds the stack, or "".
func BlockerOf(ctx context.Context, q db.Queryer, stack string) (string, error) {
	var id string
	err := q.QueryRowContext(ctx, `SELECT id FROM run WHERE stack = $1 AND blocking
		AND state NOT IN (`+notHolding+`)`, stack).Scan(&id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("look for the blocking run of stack %s: %w", stack, err)
	}
	return id, nil
}
