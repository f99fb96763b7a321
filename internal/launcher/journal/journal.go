// Package journal keeps state writes until the mothership has them.
//
// A tool that was told that its state is written must be right, whatever becomes
// of the network, the launcher or the machine. So each write is sealed, signed
// and on disk before it is sent, every try sends the very same bytes under the
// same write id, and the entry goes only once the write was acknowledged.
//
//	<dir>/<write id>.blob   the sealed state, in both state modes
//	<dir>/<write id>.json   what it is; an entry exists once this file does
package journal

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/durable"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

var idForm = regexp.MustCompile(`^[0-9a-zA-Z_-]{1,128}$`)

// Entry is one state write.
type Entry struct {
	ID     string          `json:"id"` // the write id
	Ref    wire.AttemptRef `json:"ref"`
	Order  int64           `json:"order"` // of the attempt's writes, across launchers
	Stack  string          `json:"stack"`
	Mode   string          `json:"mode"`
	Base   int64           `json:"base"`   // sequence of the state it replaces
	Digest string          `json:"digest"` // of the sealed bytes
	// Sequence is that of the statement, Statement and Signature its exact bytes.
	Sequence  int64  `json:"sequence"`
	Statement []byte `json:"statement"`
	Signature []byte `json:"signature"`
}

// Journal is a directory of entries. It is safe for concurrent use.
type Journal struct{ dir string }

// Open opens a journal, and makes its directory if it must. What an interrupted
// Append left behind is removed.
func Open(dir string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	// The directory's own name too: entries in a directory that is not there after
	// a power cut are kept nowhere.
	if err := durable.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	for _, n := range names {
		id, isBlob := strings.CutSuffix(n.Name(), ".blob")
		_, err := os.Lstat(filepath.Join(dir, id+".json"))
		if strings.HasPrefix(n.Name(), durable.Temporary) || (isBlob && errors.Is(err, fs.ErrNotExist)) {
			_ = os.Remove(filepath.Join(dir, n.Name()))
		}
	}
	return &Journal{dir: dir}, nil
}

func (j *Journal) path(id, kind string) string { return filepath.Join(j.dir, id+kind) }

// Append keeps a write. When it returns nil both files are on disk.
func (j *Journal) Append(e Entry, sealed []byte) error {
	if !idForm.MatchString(e.ID) {
		return fmt.Errorf("journal: %q is no write id", e.ID)
	}
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	// The blob first: the other file makes it an entry.
	if err := durable.WriteFile(j.path(e.ID, ".blob"), sealed); err != nil {
		return fmt.Errorf("keep state write %s: %w", e.ID, err)
	}
	if err := durable.WriteFile(j.path(e.ID, ".json"), data); err != nil {
		return fmt.Errorf("keep state write %s: %w", e.ID, err)
	}
	return nil
}

// Find returns an entry by its write id; ok is false where there is none.
func (j *Journal) Find(id string) (e Entry, ok bool, err error) {
	if !idForm.MatchString(id) {
		return e, false, nil
	}
	data, err := os.ReadFile(j.path(id, ".json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return e, false, nil
	case err != nil:
		return e, false, fmt.Errorf("read state write %s: %w", id, err)
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return e, false, fmt.Errorf("read state write %s: %w", id, err)
	}
	return e, true, nil
}

// Entries returns the writes that are not delivered, in the order of their
// attempts' writes. With an error it returns those that can be read: one damaged
// file must not keep the states of other runs from being delivered.
func (j *Journal) Entries() ([]Entry, error) {
	names, err := filepath.Glob(filepath.Join(j.dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, name := range names {
		e, ok, ferr := j.Find(strings.TrimSuffix(filepath.Base(name), ".json"))
		err = errors.Join(err, ferr)
		if ok {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b Entry) int {
		if c := strings.Compare(a.Ref.Run, b.Ref.Run); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.Ref.Attempt, b.Ref.Attempt), cmp.Compare(a.Order, b.Order))
	})
	return all, err
}

// Sealed returns an entry's sealed bytes.
func (j *Journal) Sealed(e Entry) ([]byte, error) {
	data, err := os.ReadFile(j.path(e.ID, ".blob"))
	if err != nil {
		return nil, fmt.Errorf("read state write %s: %w", e.ID, err)
	}
	return data, nil
}

// Done forgets a write that was acknowledged.
func (j *Journal) Done(id string) error {
	// In this order an interruption leaves a blob without an entry, which Open removes.
	for _, kind := range []string{".json", ".blob"} {
		if err := os.Remove(j.path(id, kind)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget state write %s: %w", id, err)
		}
	}
	return durable.SyncDir(j.dir)
}
