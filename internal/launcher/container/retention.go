package container

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/gofrs/flock"
	"github.com/moby/moby/client"
)

// pulledImages are notes about the images that launchers of this data directory
// have pulled, a file for each reference. An image without a note is somebody
// else's and is never removed. Launchers on one host share the notes, so each
// look at them that leads to something is under the lock.
type pulledImages struct{ dir string }

// pulledImage is one note.
type pulledImage struct {
	Ref    string    `json:"ref"`
	ID     string    `json:"id"`
	Pulled time.Time `json:"pulled"`
	Used   time.Time `json:"used"`
}

// lockRetry is how long another one's look is left alone before it is asked for again.
const lockRetry = 10 * time.Millisecond

// lock keeps other goroutines and launchers out until the returned function is
// called.
func (p pulledImages) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep notes about images: %w", err)
	}
	lock := flock.New(filepath.Join(p.dir, "lock"))
	// Not a call that blocks: a launcher that hangs with the lock must not keep
	// another one from ending its run.
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return nil, fmt.Errorf("lock the notes about images: %w", err)
	}
	return func() { _ = lock.Unlock() }, nil // the end of the process unlocks too
}

func (p pulledImages) path(ref string) string {
	sum := sha256.Sum256([]byte(ref))
	return filepath.Join(p.dir, hex.EncodeToString(sum[:16])+".json")
}

func (p pulledImages) write(n pulledImage) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	temporary := p.path(n.Ref) + ".new"
	if err = os.WriteFile(temporary, b, 0o600); err == nil {
		err = os.Rename(temporary, p.path(n.Ref))
	}
	if err != nil {
		return fmt.Errorf("note the use of an image: %w", err)
	}
	return nil
}

func (p pulledImages) add(ref, id string, now time.Time) error {
	return p.write(pulledImage{Ref: ref, ID: id, Pulled: now, Used: now})
}

// used notes that an image is used, under whichever name it was pulled.
func (p pulledImages) used(id string, now time.Time) error {
	notes, err := p.all()
	for _, n := range notes {
		if n.ID == id && now.After(n.Used) {
			n.Used = now
			err = errors.Join(err, p.write(n))
		}
	}
	return err
}

// all returns the notes, the longest unused first. A note that cannot be read
// speaks of nothing: its image stays.
func (p pulledImages) all() ([]pulledImage, error) {
	entries, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the notes about images: %w", err)
	}
	var notes []pulledImage
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(p.dir, e.Name()))
		var n pulledImage
		if err == nil && json.Unmarshal(b, &n) == nil && n.Ref != "" && n.ID != "" {
			notes = append(notes, n)
		}
	}
	slices.SortFunc(notes, func(a, b pulledImage) int { return a.Used.Compare(b.Used) })
	return notes, nil
}

// RemoveUnusedImages removes the images that a launcher of this data directory
// pulled and that no run has used for the given time; it returns their names. An
// image that was here before, or that has meanwhile been replaced under its name,
// is never touched, and one that a container was made of stays with it.
func (d *Docker) RemoveUnusedImages(ctx context.Context, unused time.Duration) ([]string, error) {
	notes, err := d.pulled.all()
	if err != nil {
		return nil, err
	}
	var removed []string
	for _, n := range notes {
		if d.now().Sub(n.Used) < unused {
			continue
		}
		gone, err := d.removeUnused(ctx, n.Ref, unused)
		if err != nil {
			return removed, err
		}
		if gone {
			removed = append(removed, n.Ref)
		}
	}
	return removed, nil
}

// removeUnused looks at one image again, now under the lock, and removes it.
func (d *Docker) removeUnused(ctx context.Context, ref string, unused time.Duration) (bool, error) {
	unlock, err := d.pulled.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	notes, err := d.pulled.all()
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(notes, func(n pulledImage) bool { return n.Ref == ref })
	if i < 0 || d.now().Sub(notes[i].Used) < unused {
		return false, nil
	}
	found, err := d.api.ImageInspect(ctx, ref)
	removed := false
	switch {
	case errdefs.IsNotFound(err):
	case err != nil:
		return false, d.failed("show image "+ref, err)
	case found.ID == notes[i].ID:
		// By its name, so that other names of the same image keep it; never by
		// force, so that a container keeps it.
		_, err := d.api.ImageRemove(ctx, ref, client.ImageRemoveOptions{PruneChildren: true})
		if errdefs.IsConflict(err) {
			return false, nil
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return false, d.failed("remove image "+ref, err)
		}
		removed = err == nil
	}
	return removed, os.Remove(d.pulled.path(ref))
}
