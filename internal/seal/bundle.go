package seal

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
)

// BundleVersion is the version of the bundle this package writes and reads.
const BundleVersion = 1

// bundleContext comes before the signed bytes, so that no other signature by
// the root key can be taken for one over a bundle.
const bundleContext = "spaceport-bundle-v1\n"

// Bundle holds the installation's operational keys and addresses, which change
// over the years while tokens stay as they are.
type Bundle struct {
	V              int      `json:"v"`
	Origin         string   `json:"origin"`
	Issued         int64    `json:"issued"`   // Unix seconds
	JobKeys        [][]byte `json:"job_keys"` // Ed25519 public keys
	BrokerEndpoint string   `json:"broker_endpoint"`
	APIEndpoint    string   `json:"api_endpoint"`
	ObjectOrigins  []string `json:"object_origins"` // scheme://host[:port] of signed URLs
	Roots          [][]byte `json:"roots"`          // DER, of roots to come too
}

// SignedBundle is a bundle as it travels: its exact bytes and who vouches.
type SignedBundle struct {
	Bytes     []byte `json:"bytes"`
	Signature []byte `json:"signature"` // ECDSA P-256 over SHA-256, ASN.1
}

func (b *Bundle) check() error {
	switch {
	case b.V != BundleVersion:
		return fmt.Errorf("it has version %d, not %d", b.V, BundleVersion)
	case b.Origin == "":
		return fmt.Errorf("it names no origin")
	case b.APIEndpoint == "":
		return fmt.Errorf("it names no API endpoint")
	case len(b.JobKeys) == 0:
		return fmt.Errorf("it holds no job key")
	}
	for i, k := range b.JobKeys {
		if len(k) != ed25519.PublicKeySize {
			return fmt.Errorf("job key %d has %d bytes", i+1, len(k))
		}
	}
	for i, der := range b.Roots {
		if _, err := x509.ParseCertificate(der); err != nil {
			return fmt.Errorf("root %d cannot be read", i+1)
		}
	}
	return nil
}

func bundleHash(data []byte) []byte {
	h := sha256.New()
	h.Write([]byte(bundleContext))
	h.Write(data)
	return h.Sum(nil)
}

// SignBundle writes and signs a bundle by the installation's root key.
func SignBundle(root *ecdsa.PrivateKey, b Bundle) (SignedBundle, error) {
	b.V = BundleVersion
	if err := b.check(); err != nil {
		return SignedBundle{}, fmt.Errorf("sign bundle: %w", err)
	}
	if root.Curve != elliptic.P256() {
		return SignedBundle{}, fmt.Errorf("sign bundle: the root key is not on P-256")
	}
	data, err := json.Marshal(b)
	if err != nil {
		return SignedBundle{}, fmt.Errorf("sign bundle: %w", err)
	}
	sig, err := ecdsa.SignASN1(rand.Reader, root, bundleHash(data))
	if err != nil {
		return SignedBundle{}, fmt.Errorf("sign bundle: %w", err)
	}
	return SignedBundle{Bytes: data, Signature: sig}, nil
}

// OpenBundle checks a bundle against the roots of the launcher's own token and
// reads it. Roots inside the bundle vouch for nothing: a bundle that could bring
// its own judge would pass any judgement. Faults: invalid.bundle_{signature,
// format, origin}.
func OpenBundle(sb SignedBundle, roots []*x509.Certificate, origin string) (*Bundle, error) {
	if !signedByRoot(sb, roots) {
		return nil, invalid("bundle_signature", "the installation's key bundle is signed by no root of this token").
			WithHint("the token is of another installation, or somebody stands between")
	}
	var b Bundle
	if err := json.Unmarshal(sb.Bytes, &b); err != nil {
		return nil, invalidBy(err, "bundle_format", "the installation's key bundle cannot be read")
	}
	if err := b.check(); err != nil {
		return nil, invalidBy(err, "bundle_format", "the installation's key bundle cannot be used: %s", err)
	}
	if b.Origin != origin {
		return nil, invalid("bundle_origin", "the key bundle is of installation %q, but %q is expected", b.Origin, origin)
	}
	return &b, nil
}

func signedByRoot(sb SignedBundle, roots []*x509.Certificate) bool {
	if len(sb.Bytes) > maxText {
		return false
	}
	hash := bundleHash(sb.Bytes)
	for _, root := range roots {
		pub, ok := root.PublicKey.(*ecdsa.PublicKey)
		if ok && pub.Curve == elliptic.P256() && ecdsa.VerifyASN1(pub, hash, sb.Signature) {
			return true
		}
	}
	return false
}

// Keys returns the job keys in the type that [VerifyJob] takes.
func (b *Bundle) Keys() []ed25519.PublicKey {
	keys := make([]ed25519.PublicKey, len(b.JobKeys))
	for i, k := range b.JobKeys {
		keys[i] = ed25519.PublicKey(k)
	}
	return keys
}
