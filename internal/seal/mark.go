package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"

	"github.com/spaceport-iac/spaceport/internal/durable"
)

const markTitle = "spaceport-mark-v1"

// Marks remembers, for each stack, the newest sealed state that this launcher
// has seen accepted. A directory holds one small file a stack. Without it, an
// older state with its older, valid signature would look like any other.
//
// Safe for concurrent use, also by several processes over one directory.
type Marks struct {
	dir string
	mu  sync.Mutex
}

// lockFile is held while a mark is looked at and moved: of two launchers that do so
// at once, the one with the older state must not be the last to write. No stack's
// name begins with a dot.
const lockFile = ".lock"

func (m *Marks) lock() (unlock func(), err error) {
	m.mu.Lock()
	l := flock.New(filepath.Join(m.dir, lockFile), flock.SetPermissions(0o600))
	if err := l.Lock(); err != nil {
		m.mu.Unlock()
		return nil, fmt.Errorf("lock the marks in %s: %w", m.dir, err)
	}
	return func() {
		_ = l.Close() // which unlocks
		m.mu.Unlock()
	}, nil
}

type mark struct {
	stack    string
	sequence int64
	digest   string
}

func (m *mark) fields() []line {
	return []line{
		{name: "stack", text: &m.stack},
		{name: "sequence", number: &m.sequence},
		{name: "digest", text: &m.digest},
	}
}

// NewMarks keeps marks in a directory, which it makes if it must (mode 0700).
func NewMarks(dir string) (*Marks, error) {
	if dir == "" {
		return nil, errors.New("keep marks: no directory is given")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep marks: %w", err)
	}
	return &Marks{dir: dir}, nil
}

// Get returns the mark of a stack (a ULID); ok is false where there is none. A
// mark that cannot be read is an error, never "none": else damaging the file
// would be a way round it.
func (m *Marks) Get(stack string) (sequence int64, digest string, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	got, err := m.read(stack)
	if err != nil || got == nil {
		return 0, "", false, err
	}
	return got.sequence, got.digest, true, nil
}

// Check says whether a state of this sequence and statement digest may be opened:
// it is the marked one, or newer. Fault: invalid.seal_rollback.
func (m *Marks) Check(stack string, sequence int64, digest string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.check(stack, sequence, digest)
	return err
}

// CheckAbsent says whether it can be true that the stack has no state yet.
// Fault: invalid.seal_rollback.
func (m *Marks) CheckAbsent(stack string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	got, err := m.read(stack)
	if err != nil {
		return err
	}
	if got != nil {
		return invalid("seal_rollback", "stack %s is said to have no state, but this worker has seen its state %d", stack, got.sequence).
			WithHint("the state was lost or held back; restore it by signing a kept version anew")
	}
	return nil
}

// Advance moves the mark: when the mothership has acknowledged a write as
// current, or when a state has been opened. It never goes back. Fault:
// invalid.seal_rollback. When it returns nil the mark is on disk.
func (m *Marks) Advance(stack string, sequence int64, digest string) error {
	unlock, err := m.lock()
	if err != nil {
		return err
	}
	defer unlock()
	got, err := m.check(stack, sequence, digest)
	if err != nil {
		return err
	}
	if got != nil && got.sequence == sequence {
		return nil
	}
	next := mark{stack, sequence, digest}
	if !isDigest(digest) {
		return fmt.Errorf("move the mark of stack %s: %q is not a digest", stack, digest)
	}
	data, err := marshalLines(markTitle, next.fields())
	if err != nil {
		return fmt.Errorf("move the mark of stack %s: %w", stack, err)
	}
	if err := m.write(stack, data); err != nil {
		return fmt.Errorf("move the mark of stack %s: %w", stack, err)
	}
	return nil
}

func (m *Marks) check(stack string, sequence int64, digest string) (*mark, error) {
	got, err := m.read(stack)
	if err != nil || got == nil {
		return nil, err
	}
	if sequence < got.sequence {
		return nil, invalid("seal_rollback", "state %d of stack %s is older than state %d, which this worker has seen", sequence, stack, got.sequence).
			WithHint("an older state is restored only by signing it anew as the next sequence")
	}
	if sequence == got.sequence && digest != got.digest {
		return nil, invalid("seal_rollback", "state %d of stack %s is not the one that this worker has seen: %s instead of %s", sequence, stack, digest, got.digest)
	}
	return got, nil
}

func (m *Marks) read(stack string) (*mark, error) {
	path, err := m.path(stack)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the mark of stack %s: %w", stack, err)
	}
	var got mark
	if err := parseLines(data, markTitle, got.fields()); err != nil {
		return nil, fmt.Errorf("read the mark of stack %s: %w", stack, err)
	}
	again, err := marshalLines(markTitle, got.fields())
	if err != nil || !bytes.Equal(again, data) || got.stack != stack || !isDigest(got.digest) {
		return nil, fmt.Errorf("read the mark of stack %s: the file %s is damaged", stack, path)
	}
	return &got, nil
}

// write makes the mark durable: a mark lost with the machine's power is a state
// that may be rolled back unseen.
func (m *Marks) write(stack string, data []byte) error {
	path, err := m.path(stack)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, data)
}

// path refuses any name that is not a ULID: it comes from a job.
func (m *Marks) path(stack string) (string, error) {
	if len(stack) != 26 {
		return "", fmt.Errorf("stack %q is not a ULID", stack)
	}
	for _, c := range stack {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return "", fmt.Errorf("stack %q is not a ULID", stack)
		}
	}
	return filepath.Join(m.dir, stack), nil
}
