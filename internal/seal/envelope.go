package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
)

// Encrypt seals what is written to the returned writer to every recipient.
// Memory does not grow with the length. Only Close ends the file: one without
// its end is refused by whoever opens it.
func Encrypt(dst io.Writer, recipients ...Recipient) (io.WriteCloser, error) {
	if len(recipients) == 0 {
		return nil, errors.New("seal: no recipient is given")
	}
	rs := make([]age.Recipient, len(recipients))
	for i, r := range recipients {
		if r.age == nil {
			return nil, fmt.Errorf("seal: recipient %d is empty", i+1)
		}
		rs[i] = r.age
	}
	w, err := age.Encrypt(dst, rs...)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return w, nil
}

// Decrypt opens a sealed stream. Nothing read from it may be used before it has
// ended with io.EOF: until then a later piece may still turn out to be forged or
// missing. [OpenFile], [OpenBytes] and [OpenTree] hold to that by themselves.
// Faults, also of the reader: invalid.seal_{recipients, envelope}.
func Decrypt(src io.Reader, identities ...age.Identity) (io.Reader, error) {
	if len(identities) == 0 {
		return nil, errors.New("open: no key is given")
	}
	r, err := age.Decrypt(src, identities...)
	if err != nil {
		var wrong *age.NoIdentityMatchError
		if errors.As(err, &wrong) {
			return nil, invalidBy(err, "seal_recipients", "the sealed blob can be opened by none of the keys at hand")
		}
		return nil, damaged(err)
	}
	return faultReader{r}, nil
}

func damaged(err error) error {
	return invalidBy(err, "seal_envelope", "the sealed blob is damaged: it is not a whole age file")
}

// faultReader turns age's errors into faults.
type faultReader struct{ r io.Reader }

func (f faultReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	// Exactly io.EOF is a clean end; an error that wraps it is none.
	if err != nil && err != io.EOF { //nolint:errorlint // see above
		err = damaged(err)
	}
	return n, err
}

// OpenFile opens a sealed stream into dst, a temporary file that nobody else
// reads. It returns the plaintext's size in bytes, with dst at its beginning,
// only after the authenticated end; on any error dst is emptied.
func OpenFile(ctx context.Context, src io.Reader, dst *os.File, identities ...age.Identity) (size int64, err error) {
	defer func() {
		if err != nil {
			_ = dst.Truncate(0)
		}
	}()
	r, err := Decrypt(withContext(ctx, src), identities...)
	if err != nil {
		return 0, err
	}
	size, err = io.Copy(dst, r)
	if err != nil {
		return 0, fmt.Errorf("open sealed file: %w", err)
	}
	if _, err := dst.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("open sealed file: %w", err)
	}
	return size, nil
}

// SealBytes seals a small blob, such as a state. It returns the ciphertext; its
// digest is by [Digest]. The plaintext goes in as it is, so that the stock age
// command prints it.
func SealBytes(plain []byte, recipients ...Recipient) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(len(plain) + len(plain)/4096 + 4096)
	w, err := Encrypt(&b, recipients...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return b.Bytes(), nil
}

// OpenBytes opens what [SealBytes] made. A plaintext is never longer than its
// ciphertext, so the caller's bound on that bounds memory.
func OpenBytes(ciphertext []byte, identities ...age.Identity) ([]byte, error) {
	r, err := Decrypt(bytes.NewReader(ciphertext), identities...)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return plain, nil
}

// withContext makes reads end when ctx does.
func withContext(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context //nolint:containedctx // lives for one call, as the reader does
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
