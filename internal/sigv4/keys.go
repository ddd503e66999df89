package sigv4

import (
	"crypto/sha256"
	"strings"
	"sync"
	"time"
)

// maxKeys bounds Keys. Beyond it all are forgotten: deriving a key again costs two
// microseconds.
const maxKeys = 1024

// Keys remembers derived signing keys, of which a caller has one per day, region
// and service. Only keys that verified a request are kept, so that nobody without a
// secret can fill it. The zero value is ready; it is safe for concurrent use.
type Keys struct {
	mu      sync.RWMutex
	derived map[derivation][sha256.Size]byte // guarded by mu
}

// derivation is what a signing key is made from.
type derivation struct{ secret, date, region, service string }

// Verify is s.Verify with the remembered key.
func (k *Keys) Verify(s *Signature, r *Request, secret string, now time.Time) error {
	d := derivation{secret, s.Date, s.Region, s.Service}
	k.mu.RLock()
	key, known := k.derived[d]
	k.mu.RUnlock()
	if !known {
		key = signingKey(secret, s.Date, s.Region, s.Service)
	}
	err := s.verify(r, now, &key)
	if err == nil && !known {
		k.keep(d, key)
	}
	return err
}

func (k *Keys) keep(d derivation, key [sha256.Size]byte) {
	// Copies: what was verified may be a view of a buffer that will be used again.
	d = derivation{strings.Clone(d.secret), strings.Clone(d.date), strings.Clone(d.region), strings.Clone(d.service)}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.derived == nil || len(k.derived) >= maxKeys {
		k.derived = make(map[derivation][sha256.Size]byte)
	}
	k.derived[d] = key
}
