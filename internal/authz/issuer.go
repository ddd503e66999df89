package authz

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/livegate/livegate/internal/clock"
)

const (
	keysFresh   = 10 * time.Minute // fetched again after that
	keysStale   = time.Hour        // and not used after that, if that fails
	fetchPause  = 10 * time.Second // between two tries
	fetchTime   = 5 * time.Second  // of each
	maxDocument = 256 << 10        // bytes of a key set or a discovery document
	maxKeys     = 100
	minRSABits  = 2048
)

// issuer is what keys are remembered by, together with their id. With the id alone a
// key of one issuer would verify tokens of another (CVE-2026-49998); as one text,
// "a"+"bc" would be "ab"+"c" (CVE-2026-39972).
type issuer struct {
	name string
	url  string // of the keys; "": the issuer's discovery document says
}

// issuers remembers keys. It holds one entry per issuer of the configuration: nothing
// that clients send adds one.
type issuers struct {
	clock clock.Clock // static

	mu   sync.Mutex
	held map[issuer]*held // guarded by mu
}

// held is one issuer's keys.
type held struct {
	turn                chan struct{} // of capacity 1: who is in it fetches
	pause, fresh, stale time.Duration // static

	mu    sync.Mutex
	keys  map[string][]issuedKey // by key id; guarded by mu
	at    time.Time              // of keys; guarded by mu
	tried time.Time              // last fetch, good or not; guarded by mu
	why   string                 // the last one failed; guarded by mu
}

type issuedKey struct {
	algorithm string // "": any that suits the key
	public    crypto.PublicKey
}

func (s *issuers) of(i issuer) *held {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held[i]
	if h == nil {
		if s.held == nil {
			s.held = map[issuer]*held{}
		}
		h = &held{turn: make(chan struct{}, 1), pause: s.clock.Real(fetchPause), fresh: s.clock.Real(keysFresh), stale: s.clock.Real(keysStale)}
		s.held[i] = h
	}
	return h
}

// keySet verifies one token with one issuer's keys.
type keySet struct {
	g      *Guard
	issuer issuer

	// set by VerifySignature
	why         string // the token is not good
	unreachable string // the keys cannot be had
	verified    bool
}

var _ oidc.KeySet = (*keySet)(nil)

var errNotVerified = errors.New("not verified")

func (s *keySet) VerifySignature(ctx context.Context, text string) ([]byte, error) {
	var allowed []jose.SignatureAlgorithm
	for _, a := range algorithms() {
		allowed = append(allowed, jose.SignatureAlgorithm(a))
	}
	signed, err := jose.ParseSignedCompact(text, allowed)
	if err != nil || len(signed.Signatures) != 1 {
		s.why = "the token is not a signed JWT"
		return nil, errNotVerified
	}
	head := signed.Signatures[0].Header
	keys, err := s.g.keysOf(ctx, s.issuer, head.KeyID)
	if err != nil {
		s.unreachable = err.Error()
		return nil, errNotVerified
	}
	if len(keys) == 0 {
		s.why = "the issuer has no key with the token's key id"
		return nil, errNotVerified
	}
	for _, k := range keys {
		if k.algorithm != "" && k.algorithm != head.Algorithm {
			continue
		}
		if payload, err := signed.Verify(k.public); err == nil {
			s.verified = true
			return payload, nil
		}
	}
	s.why = "the token's signature is wrong"
	return nil, errNotVerified
}

// keysOf finds an issuer's keys by id, fetching them when they are old or the id is
// new, and not more often than fetchPause allows: ids come from clients. A token
// without an id may use the only key there is. The error is for the log.
func (g *Guard) keysOf(ctx context.Context, i issuer, id string) ([]issuedKey, error) {
	h := g.issued.of(i)
	now := g.cfg.Now()
	if keys, settled, why := h.look(id, now); settled {
		return keys, why
	}
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, errors.New("waiting for them took too long")
	}
	defer func() { <-h.turn }()
	if keys, settled, why := h.look(id, now); settled { // somebody else has fetched them
		return keys, why
	}
	// A client that leaves must not make the fetch fail for all who come after it.
	fetched, err := g.fetchKeys(context.WithoutCancel(ctx), i)
	now = g.cfg.Now()
	h.put(fetched, err, now)
	keys, _, why := h.look(id, now)
	return keys, why
}

func (h *held) put(keys map[string][]issuedKey, err error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tried, h.why = now, ""
	if err != nil {
		h.why = err.Error()
		return
	}
	h.keys, h.at = keys, now
}

// look is what is known now; settled when asking the issuer would be no use or too
// soon.
func (h *held) look(id string, now time.Time) (keys []issuedKey, settled bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if id == "" && len(h.keys) == 1 {
		for _, only := range h.keys {
			keys = only
		}
	} else if id != "" {
		keys = h.keys[id]
	}
	age, pausing := now.Sub(h.at), !h.tried.IsZero() && now.Sub(h.tried) < h.pause
	switch {
	case len(keys) > 0 && age < h.fresh:
		return keys, true, nil
	case !pausing:
		return nil, false, nil
	case h.at.IsZero() || age >= h.stale:
		return nil, true, errors.New(h.why)
	}
	return keys, true, nil
}

// fetchKeys gets an issuer's keys, by way of its discovery document if need be.
func (g *Guard) fetchKeys(ctx context.Context, i issuer) (map[string][]issuedKey, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	address := i.url
	if address == "" {
		var document struct {
			Issuer string `json:"issuer"`
			JWKS   string `json:"jwks_uri"`
		}
		raw, err := g.get(ctx, strings.TrimSuffix(i.name, "/")+"/.well-known/openid-configuration")
		if err != nil {
			return nil, err
		}
		if json.Unmarshal(raw, &document) != nil || document.Issuer != i.name {
			return nil, errors.New("its discovery document is not its own (OpenID Connect Discovery §4.3)")
		}
		if err := g.checkURL(document.JWKS); err != nil {
			return nil, errors.New("its discovery document has no usable jwks_uri")
		}
		address = document.JWKS
	}
	raw, err := g.get(ctx, address)
	if err != nil {
		return nil, err
	}
	return readKeys(raw)
}

// readKeys reads a key set (RFC 7517 §5). A key of another kind or use is passed over.
func readKeys(raw []byte) (map[string][]issuedKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(raw, &set) != nil || len(set.Keys) > maxKeys {
		return nil, errors.New("what it answers is not a key set")
	}
	keys := map[string][]issuedKey{}
	for _, one := range set.Keys {
		var k jose.JSONWebKey
		if json.Unmarshal(one, &k) != nil || !k.Valid() || !k.IsPublic() || k.Use != "" && k.Use != "sig" {
			continue
		}
		if r, ok := k.Key.(*rsa.PublicKey); ok && r.N.BitLen() < minRSABits {
			continue
		}
		keys[k.KeyID] = append(keys[k.KeyID], issuedKey{k.Algorithm, k.Key})
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no key to verify with")
	}
	return keys, nil
}

func (g *Guard) get(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errors.New("its address is not a URL")
	}
	req.Header.Set("Accept", "application/json")
	resp, err := g.http.Do(req)
	if err != nil {
		return nil, err // names the address, which is configuration
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(address + " answers " + resp.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, errors.New(address + " stopped in the middle of its answer")
	}
	if len(raw) > maxDocument {
		return nil, errors.New(address + " answers more than 256 KiB")
	}
	return raw, nil
}
