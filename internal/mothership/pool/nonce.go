package pool

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"sync"
	"time"
)

// nonces gives out nonces and takes each once. Asking for one needs no
// credential, so giving one out takes no memory: it carries its own expiry and a
// MAC. Only those that came back in a signed registration are remembered. The key
// is this process's own, so that a restart forgets no used nonce by accident: it
// makes all earlier ones worthless.
type nonces struct {
	key  [32]byte
	life time.Duration
	now  func() time.Time

	mu   sync.Mutex
	used map[string]int64 // nonce → expiry
}

func newNonces(life time.Duration, now func() time.Time) *nonces {
	n := &nonces{life: life, now: now, used: map[string]int64{}}
	_, _ = rand.Read(n.key[:]) // never fails: the runtime ends the program first
	return n
}

func (n *nonces) give() string {
	var random [16]byte
	_, _ = rand.Read(random[:])
	text := strconv.FormatInt(n.now().Add(n.life).UnixMilli(), 36) + "." + base64.RawURLEncoding.EncodeToString(random[:])
	return text + "." + n.mac(text)
}

func (n *nonces) mac(text string) string {
	h := hmac.New(sha256.New, n.key[:])
	h.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// take reports whether nonce is one of ours, in time, and taken for the first
// time.
func (n *nonces) take(nonce string) bool {
	cut := strings.LastIndexByte(nonce, '.')
	if cut < 0 || !hmac.Equal([]byte(nonce[cut+1:]), []byte(n.mac(nonce[:cut]))) {
		return false
	}
	first, _, _ := strings.Cut(nonce, ".")
	expires, err := strconv.ParseInt(first, 36, 64)
	now := n.now().UnixMilli()
	if err != nil || now > expires {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for old, at := range n.used {
		if now > at {
			delete(n.used, old)
		}
	}
	if _, again := n.used[nonce]; again {
		return false
	}
	n.used[nonce] = expires
	return true
}
