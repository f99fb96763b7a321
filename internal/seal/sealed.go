package seal

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"

	"filippo.io/age"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

func isFault(err error) bool { return fault.As(err) != nil }

// SealTree packs trees and seals the archive into dst, from its present offset.
// It returns the ciphertext's digest and size in bytes, for the statement. When
// it returns nil the file has been synced; on an error its content is worthless.
// The stock tools open it: age -d -i KEY FILE | zstd -d | tar x.
func SealTree(ctx context.Context, dst *os.File, trees []Tree, opts PackOptions, recipients ...Recipient) (digest string, size int64, err error) {
	counted := newHashWriter(dst)
	err = sealTree(ctx, counted, trees, opts, recipients)
	digest = counted.sum()
	if err == nil {
		err = dst.Sync()
	}
	if err != nil {
		return "", 0, fmt.Errorf("seal workspace: %w", err)
	}
	return digest, counted.size, nil
}

func sealTree(ctx context.Context, dst io.Writer, trees []Tree, opts PackOptions, recipients []Recipient) error {
	sealed, err := Encrypt(dst, recipients...)
	if err != nil {
		return err
	}
	if err := Pack(ctx, sealed, trees, opts); err != nil {
		return err
	}
	return sealed.Close()
}

// OpenTree opens a sealed archive into trees, whose directories nobody else uses
// yet. Call it only after [VerifySealed] on the same file.
//
// It reads the file twice: the first time only to its authenticated end, so that
// no unpacker ever sees a byte of a file that later turns out to be cut or
// forged, and no plaintext copy of the archive touches the disk.
func OpenTree(ctx context.Context, src io.ReadSeeker, trees []Tree, opts UnpackOptions, identities ...age.Identity) error {
	plain, err := rewind(ctx, src, identities)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return err
	}
	plain, err = rewind(ctx, src, identities)
	if err != nil {
		return err
	}
	return Unpack(ctx, plain, trees, opts)
}

func rewind(ctx context.Context, src io.ReadSeeker, identities []age.Identity) (io.Reader, error) {
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("open sealed workspace: %w", err)
	}
	return Decrypt(bufio.NewReaderSize(withContext(ctx, src), 128<<10), identities...)
}

// hashWriter hashes and counts what it passes on. Hashing has a goroutine of its
// own beside encryption's, since the two take about as long; sum ends it.
type hashWriter struct {
	w     io.Writer
	size  int64
	full  chan []byte
	empty chan []byte
	done  chan hash.Hash
}

func newHashWriter(w io.Writer) *hashWriter {
	const buffers = 4
	h := &hashWriter{w: w, full: make(chan []byte, buffers), empty: make(chan []byte, buffers), done: make(chan hash.Hash, 1)}
	for range buffers {
		h.empty <- nil
	}
	go func() {
		sum := sha256.New()
		for p := range h.full {
			sum.Write(p)
			h.empty <- p
		}
		h.done <- sum
	}()
	return h
}

func (h *hashWriter) Write(p []byte) (int, error) {
	h.full <- append((<-h.empty)[:0], p...)
	n, err := h.w.Write(p)
	h.size += int64(n)
	return n, err
}

// sum ends the writer and returns the digest. Call it exactly once.
func (h *hashWriter) sum() string {
	close(h.full)
	return digestPrefix + hex.EncodeToString((<-h.done).Sum(nil))
}
