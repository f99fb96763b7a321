package seal

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
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
	counted := &hashWriter{w: dst, hash: sha256.New()}
	sealed, err := Encrypt(counted, recipients...)
	if err != nil {
		return "", 0, err
	}
	if err := Pack(ctx, sealed, trees, opts); err != nil {
		return "", 0, err
	}
	if err := sealed.Close(); err != nil {
		return "", 0, fmt.Errorf("seal: %w", err)
	}
	if err := dst.Sync(); err != nil {
		return "", 0, fmt.Errorf("seal: %w", err)
	}
	return digestPrefix + hex.EncodeToString(counted.hash.Sum(nil)), counted.size, nil
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

// hashWriter hashes and counts what it passes on.
type hashWriter struct {
	w    io.Writer
	hash hash.Hash
	size int64
}

func (h *hashWriter) Write(p []byte) (int, error) {
	n, err := h.w.Write(p)
	h.hash.Write(p[:n])
	h.size += int64(n)
	if err == nil && n != len(p) {
		err = errors.New("short write")
	}
	return n, err
}
