package seal

import (
	"crypto/rsa"

	"filippo.io/age"
)

// PoolKeys are the keys of a pool that a launcher holds. The first is the present
// one, which seals and signs. The others are earlier ones, from before a rotation:
// they open what was sealed to them and vouch for what they signed, and nothing new
// is ever sealed to them.
type PoolKeys []*PoolKey

// Signers are those whose statements are believed.
func (k PoolKeys) Signers() []*rsa.PublicKey {
	var all []*rsa.PublicKey
	for _, key := range k {
		all = append(all, key.Public())
	}
	return all
}

// Identities are what age opens with.
func (k PoolKeys) Identities() []age.Identity {
	var all []age.Identity
	for _, key := range k {
		all = append(all, key.Identity())
	}
	return all
}

// Fingerprints are the keys' names, the present one's first.
func (k PoolKeys) Fingerprints() []string {
	var all []string
	for _, key := range k {
		all = append(all, key.Fingerprint())
	}
	return all
}
