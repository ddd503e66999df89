package authz

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/livegate/livegate/internal/model"
)

// idp is an issuer with a server of its own.
type idp struct {
	*httptest.Server
	mu      sync.Mutex
	keys    []jose.JSONWebKey
	answer  http.HandlerFunc // instead of the keys
	fetches atomic.Int64
}

func newIDP(t *testing.T) *idp {
	p := &idp{}
	mux := http.NewServeMux()
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		p.fetches.Add(1)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.answer != nil {
			p.answer(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: p.keys})
	})
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"issuer": %q, "jwks_uri": %q}`, p.URL, p.URL+"/keys")
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *idp) publish(k jose.JSONWebKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, k)
}

func (p *idp) answers(f http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

// Keys are remembered by issuer, address and id: the same id of another issuer is
// another key (CVE-2026-49998).
func TestKeysOfTwoIssuers(t *testing.T) {
	w, _, rk, _ := tokenWorld(t)
	second := newIDP(t)
	evil, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	second.publish(jose.JSONWebKey{Key: &evil.PublicKey, KeyID: "rsa"})
	p := w.plan()
	api2 := *w.api
	connect := *w.route
	connect.Access = &model.Access{JWT: &model.JWT{Issuer: "https://evil.example.test", JWKS: second.URL + "/keys", Audiences: []string{"my-api"}}}
	api2.Routes = []*model.Route{&connect}
	p2 := w.guard.Compile(w.app, &api2, w.stage)
	mine, forged := token(t, jose.RS256, evil, "rsa", claim{"iss": "https://evil.example.test"}), token(t, jose.RS256, evil, "rsa", nil)
	for range 2 {
		_, no := w.authorize(p2, w.request("", bearerOf(mine)))
		w.want("its own", no, 0, "")
		_, no = w.authorize(p, w.request("", bearerOf(forged)))
		w.want("forged with the other's key", no, 401, "Unauthorized")
		_, no = w.authorize(p, w.request("", bearerOf(token(t, jose.RS256, rk, "rsa", nil))))
		w.want("good", no, 0, "")
		_, no = w.authorize(p2, w.request("", bearerOf(token(t, jose.RS256, rk, "rsa", nil))))
		w.want("the first's token at the second", no, 401, "Unauthorized")
	}
	a, b := issuer{"ab", "c"}, issuer{"a", "bc"}
	if w.guard.issued.of(a) == w.guard.issued.of(b) {
		t.Error("two issuers share keys")
	}
}

// New keys are found, at most every ten seconds; removed ones stop working.
func TestKeyRotation(t *testing.T) {
	w, idp, rk, _ := tokenWorld(t)
	p := w.plan()
	old := token(t, jose.RS256, rk, "rsa", nil)
	next, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	fresh := token(t, jose.ES256, next, "next", nil)
	try := func(name, text string, status int) {
		t.Helper()
		_, no := w.authorize(p, w.request("", bearerOf(text)))
		w.want(name, no, status, "Unauthorized")
	}
	try("old", old, 0)
	idp.publish(jose.JSONWebKey{Key: &next.PublicKey, KeyID: "next"})
	try("new, too soon", fresh, 401)
	w.now = at.Add(fetchPause)
	try("new", fresh, 0)
	idp.mu.Lock()
	idp.keys = idp.keys[3:]
	idp.mu.Unlock()
	try("old, remembered", old, 0)
	w.now = w.now.Add(keysFresh)
	try("old, removed", old, 401)
	try("new", fresh, 0)
	if n := idp.fetches.Load(); n != 3 {
		t.Errorf("%d fetches", n)
	}
	// The issuer is away: what was fetched lasts an hour.
	idp.answers(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "away", 503) })
	w.now = w.now.Add(keysFresh)
	try("while it is away", fresh, 0)
	w.now = w.now.Add(keysStale - keysFresh)
	_, no := w.authorize(p, w.request("", bearerOf(token(t, jose.ES256, next, "next", claim{"exp": w.now.Add(time.Hour).Unix()}))))
	w.want("for too long", no, 500, "Internal server error")
}

// Keys that cannot be had let nobody in.
func TestIssuerFailures(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"not found": http.NotFound,
		"garbage":   func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>") },
		"no keys":   func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"keys": []}`) },
		"symmetric": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"keys": [{"kty":"oct","k":"c2VjcmV0","kid":"rsa"}]}`)
		},
		"another use": func(w http.ResponseWriter, r *http.Request) {
			writeKey(w, &jose.JSONWebKey{KeyID: "rsa", Use: "enc"}, 2048)
		},
		"a short key": func(w http.ResponseWriter, r *http.Request) { writeKey(w, &jose.JSONWebKey{KeyID: "rsa"}, 1024) },
		"more than fits": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"keys": [], "pad": "`+strings.Repeat("x", maxDocument)+`"}`)
		},
		"many": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"keys": [`+strings.Repeat("{},", maxKeys)+`{}]}`)
		},
		"redirects":       func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://127.0.0.2:1/keys", 302) },
		"redirects often": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/keys", 302) },
	} {
		w, idp, rk, _ := tokenWorld(t)
		idp.answers(answer)
		p := w.plan()
		for range 3 {
			_, no := w.authorize(p, w.request("", bearerOf(token(t, jose.RS256, rk, "rsa", nil))))
			w.want(name, no, 500, "Internal server error")
		}
		if n := idp.fetches.Load(); n != 1 && name != "redirects often" {
			t.Errorf("%s: %d fetches", name, n)
		}
	}
}

func writeKey(w http.ResponseWriter, k *jose.JSONWebKey, bits int) {
	// A modulus is enough: nobody signs with it.
	n := make([]byte, bits/8)
	for i := range n {
		n[i] = 0xff
	}
	fmt.Fprintf(w, `{"keys": [{"kty": "RSA", "kid": %q, "use": %q, "n": %q, "e": "AQAB"}]}`, k.KeyID, k.Use, base64.RawURLEncoding.EncodeToString(n))
}

func TestDiscovery(t *testing.T) {
	w, idp, rk, _ := tokenWorld(t)
	w.route.Access.JWT.Issuer, w.route.Access.JWT.JWKS = idp.URL, ""
	p := w.plan()
	_, no := w.authorize(p, w.request("", bearerOf(token(t, jose.RS256, rk, "rsa", claim{"iss": idp.URL}))))
	w.want("discovered", no, 0, "")
	w.route.Access.JWT.Issuer = idp.URL + "/"
	_, no = w.authorize(w.plan(), w.request("", bearerOf(token(t, jose.RS256, rk, "rsa", claim{"iss": idp.URL + "/"}))))
	w.want("of another issuer", no, 500, "Internal server error")
}
