package seal

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// VerifySealed decides whether a blob may be opened: first the signature over
// the statement's exact bytes by one of the signers, then the statement's fields
// against what is expected, then the ciphertext against the statement. Nothing
// is decrypted or unpacked before all three hold. The ciphertext is left at its
// beginning.
//
// signers are the pool keys of the launcher's own settings: nobody else's word
// adds one. Keep the blob where only the launcher can write, and open the very
// same file: a name could come to mean another file in between.
func VerifySealed(statement, signature []byte, signers []*rsa.PublicKey, want Expectation, ciphertext io.ReadSeeker) (*Statement, error) {
	s, err := verifySigned(statement, signature, signers)
	if err != nil {
		return nil, err
	}
	if err := s.Check(want); err != nil {
		return nil, err
	}
	if err := s.checkCiphertext(ciphertext); err != nil {
		return nil, err
	}
	return s, nil
}

// verifySigned finds the signer, and holds the statement to the name it gives:
// a statement must not claim one key and be signed by another.
func verifySigned(statement, signature []byte, signers []*rsa.PublicKey) (*Statement, error) {
	for _, pub := range signers {
		if VerifyStatement(pub, statement, signature) != nil {
			continue
		}
		s, err := ParseStatement(statement)
		if err != nil {
			return nil, err
		}
		fingerprint, err := FingerprintOf(pub)
		if err != nil {
			return nil, err
		}
		if s.Signer != fingerprint {
			return nil, mismatch("signer", s.Signer, fingerprint)
		}
		return s, nil
	}
	return nil, invalid("seal_signature", "the sealed blob's statement is signed by none of this worker's pool keys").
		WithHint("it was altered, or made by a pool key that has left the launcher's settings")
}

func (s *Statement) checkCiphertext(ciphertext io.ReadSeeker) error {
	if _, err := ciphertext.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read sealed blob: %w", err)
	}
	h := sha256.New()
	// One byte past the stated size tells a longer file without reading it all.
	size, err := io.Copy(h, io.LimitReader(ciphertext, s.Size+1))
	if err != nil {
		return fmt.Errorf("read sealed blob: %w", err)
	}
	if size > s.Size {
		return invalid("seal_size", "the sealed blob is longer than the %d bytes that its statement names", s.Size)
	}
	if size < s.Size {
		return invalid("seal_size", "the sealed blob has %d bytes, and its statement names %d", size, s.Size)
	}
	if got := digestPrefix + hex.EncodeToString(h.Sum(nil)); got != s.Ciphertext {
		return mismatch("ciphertext", got, s.Ciphertext)
	}
	if _, err := ciphertext.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read sealed blob: %w", err)
	}
	return nil
}
