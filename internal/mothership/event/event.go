// Package event keeps what changed. An event is appended in the transaction
// that makes the change, and told to listeners once that has been committed.
// Listening is a hint: a listener may miss events and must be able to look at
// the data instead.
package event

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
)

// Event is one change.
type Event struct {
	Kind    string // noun.verb, such as run.moved
	Subject string // the id of what changed
	Data    map[string]string
}

// Log appends events and tells listeners of this process.
type Log struct {
	now func() time.Time

	mu        sync.Mutex
	listeners map[int]func(Event)
	next      int
}

// NewLog returns a log whose times come from now.
func NewLog(now func() time.Time) *Log {
	return &Log{now: now, listeners: map[int]func(Event){}}
}

// Append stores e in tx and tells listeners after the commit.
func (l *Log) Append(ctx context.Context, tx *db.Tx, e Event) error {
	data, err := json.Marshal(e.Data)
	if err != nil {
		return fmt.Errorf("encode event %s: %w", e.Kind, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO event (at, kind, subject, data) VALUES ($1, $2, $3, $4)`,
		db.Micros(l.now()), e.Kind, e.Subject, string(data))
	if err != nil {
		return fmt.Errorf("append event %s: %w", e.Kind, err)
	}
	tx.AfterCommit(func() { l.tell(e) })
	return nil
}

// Listen calls f for each event that this process commits from now on, until
// the returned function is called. f must not block.
func (l *Log) Listen(f func(Event)) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.next
	l.next++
	l.listeners[id] = f
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.listeners, id)
	}
}

func (l *Log) tell(e Event) {
	l.mu.Lock()
	listeners := make([]func(Event), 0, len(l.listeners))
	for _, f := range l.listeners {
		listeners = append(listeners, f)
	}
	l.mu.Unlock()
	for _, f := range listeners {
		f(e)
	}
}
