package seal

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"unicode"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

const (
	// maxText bounds every text that a person pastes: keys, CSRs, tokens.
	maxText = 1 << 20
	// minRSABits and maxRSABits bound RSA keys. Above the upper bound a single
	// verification takes long enough to be a way of wearing a server down.
	minRSABits = 2048
	maxRSABits = 8192

	digestPrefix = "sha256:"
)

// invalid makes a fault of kind fault.Invalid with a code below it.
func invalid(code, message string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, message, args...).Named(code)
}

// invalidBy is invalid with a cause that only the log keeps.
func invalidBy(cause error, code, message string, args ...any) *fault.Error {
	return fault.Wrap(cause, fault.Invalid, message, args...).Named(code)
}

// decodeLoose decodes base64 as people paste it: broken into lines or by
// spaces, in either alphabet, with or without padding.
func decodeLoose(text string) ([]byte, error) {
	clean := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), r == '\ufeff', r == '=':
			return -1
		case r == '-':
			return '+'
		case r == '_':
			return '/'
		}
		return r
	}, text)
	return base64.RawStdEncoding.DecodeString(clean)
}

// unwrapPEM returns the PEM text in what a person gave: the PEM itself, or its
// base64. ok is false where the text is neither.
func unwrapPEM(text string) (data []byte, ok bool) {
	if strings.Contains(text, "-----BEGIN ") {
		return []byte(text), true
	}
	data, err := decodeLoose(text)
	return data, err == nil
}

// blocksOf returns the PEM blocks in data.
func blocksOf(data []byte) []*pem.Block {
	var blocks []*pem.Block
	for {
		var b *pem.Block
		b, data = pem.Decode(data)
		if b == nil {
			return blocks
		}
		blocks = append(blocks, b)
	}
}

// Digest returns "sha256:" and the lower-case hex SHA-256 of data.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return digestPrefix + hex.EncodeToString(sum[:])
}

// isDigest reports whether s is "sha256:" and 64 lower-case hex digits.
func isDigest(s string) bool {
	rest, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(rest) != 2*sha256.Size {
		return false
	}
	for _, c := range rest {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
