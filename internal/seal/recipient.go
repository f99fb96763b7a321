package seal

import (
	"bufio"
	"crypto/rsa"
	"fmt"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"
)

// Recipient is a key that a blob is sealed to. The zero value is not useful.
type Recipient struct {
	// Fingerprint names it in statements: "sha256:…" of the SPKI for a pool key,
	// the recipient itself for an age key, "SHA256:…" for an SSH key.
	Fingerprint string

	age age.Recipient
}

// RecipientOf returns the recipient of a pool's public key.
func RecipientOf(pub *rsa.PublicKey) (Recipient, error) {
	fingerprint, err := FingerprintOf(pub)
	if err != nil {
		return Recipient{}, err
	}
	sshKey, err := ssh.NewPublicKey(pub)
	if err != nil {
		return Recipient{}, fmt.Errorf("make a recipient of a pool key: %w", err)
	}
	r, err := agessh.NewRSARecipient(sshKey)
	if err != nil {
		return Recipient{}, fmt.Errorf("make a recipient of a pool key: %w", err)
	}
	return Recipient{Fingerprint: fingerprint, age: r}, nil
}

// ParseRecipients reads recovery recipients: one age ("age1…") or SSH
// ("ssh-ed25519 …", "ssh-rsa …") public key a line. Empty lines and lines that
// begin with # are passed over. Faults, which name the line:
// invalid.recipient_{private_key, format, type, weak, duplicate}.
func ParseRecipients(text string) ([]Recipient, error) {
	var all []Recipient
	seen := map[string]int{}
	scan := bufio.NewScanner(strings.NewReader(text))
	scan.Buffer(nil, maxText)
	number := 0
	for scan.Scan() {
		number++
		line := strings.TrimSpace(scan.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		r, err := parseRecipient(line, number)
		if err != nil {
			return nil, err
		}
		if first, ok := seen[r.Fingerprint]; ok {
			return nil, invalid("recipient_duplicate", "line %d repeats the recipient of line %d", number, first)
		}
		seen[r.Fingerprint] = number
		all = append(all, r)
	}
	if err := scan.Err(); err != nil {
		return nil, invalidBy(err, "recipient_format", "line %d of the recipients is too long", number+1)
	}
	return all, nil
}

// ParseRecipient reads one age or SSH public key. Faults as by [ParseRecipients].
func ParseRecipient(text string) (Recipient, error) {
	return parseRecipient(strings.TrimSpace(text), 1)
}

// parseRecipient never repeats the line: it may be a private key.
func parseRecipient(line string, number int) (Recipient, error) {
	switch {
	case strings.HasPrefix(strings.ToUpper(line), "AGE-SECRET-KEY-"), strings.Contains(line, "PRIVATE KEY"):
		return Recipient{}, invalid("recipient_private_key", "line %d of the recipients is a private key, which must stay offline", number).
			WithHint("give its public half, as printed by: age-keygen -y key.txt")
	case strings.HasPrefix(line, "age1pq1"):
		// age refuses to mix them with RSA in one file, since the whole would
		// not be post-quantum. Said here, not at the first run's end.
		return Recipient{}, invalid("recipient_type", "line %d of the recipients is a post-quantum key, which cannot stand beside the pool's RSA key", number).
			WithHint("make a plain one, as by: age-keygen")
	case strings.HasPrefix(line, "age1"):
		r, err := age.ParseX25519Recipient(line)
		if err != nil {
			return Recipient{}, invalidBy(err, "recipient_format", "line %d of the recipients is not a whole age1… key", number)
		}
		return Recipient{Fingerprint: r.String(), age: r}, nil
	case strings.HasPrefix(line, "ssh-"), strings.HasPrefix(line, "ecdsa-"), strings.HasPrefix(line, "sk-"):
		return parseSSHRecipient(line, number)
	}
	return Recipient{}, invalid("recipient_format", "line %d of the recipients is neither an age nor an SSH public key", number).
		WithHint("lines look like age1… or ssh-ed25519 AAAA…")
}

func parseSSHRecipient(line string, number int) (Recipient, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return Recipient{}, invalidBy(err, "recipient_format", "line %d of the recipients is not a whole SSH public key", number)
	}
	var r age.Recipient
	switch key.Type() {
	case ssh.KeyAlgoRSA:
		if bits := sshBits(key); bits < minRSABits {
			return Recipient{}, invalid("recipient_weak", "line %d of the recipients is an RSA key of %d bits, and at least %d are needed", number, bits, minRSABits)
		}
		r, err = agessh.NewRSARecipient(key)
	case ssh.KeyAlgoED25519:
		r, err = agessh.NewEd25519Recipient(key)
	default:
		return Recipient{}, invalid("recipient_type", "line %d of the recipients is an SSH key of type %s, and only ssh-ed25519 and ssh-rsa are supported", number, key.Type())
	}
	if err != nil {
		return Recipient{}, invalidBy(err, "recipient_format", "line %d of the recipients is not a usable SSH public key", number)
	}
	return Recipient{Fingerprint: ssh.FingerprintSHA256(key), age: r}, nil
}

func sshBits(key ssh.PublicKey) int {
	if c, ok := key.(ssh.CryptoPublicKey); ok {
		if pub, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok {
			return pub.N.BitLen()
		}
	}
	return 0
}

// Fingerprints returns the names of recipients, in order, for a statement.
func Fingerprints(rs []Recipient) []string {
	names := make([]string, len(rs))
	for i, r := range rs {
		names[i] = r.Fingerprint
	}
	return names
}
