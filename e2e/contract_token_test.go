package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/go-jose/go-jose/v4"
)

// issuer is a small OpenID Connect issuer: a discovery document, a key set and tokens.
type issuer struct {
	t    testing.TB
	url  string
	asks atomic.Int64 // for the key set
	keys []jose.JSONWebKey
}

type claims map[string]any

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	op := &issuer{t: t}
	op.keys = []jose.JSONWebKey{op.newKey("first"), op.newKey("second")}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	op.url = server.URL
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": op.url, "jwks_uri": op.url + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		op.asks.Add(1)
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{op.keys[0].Public(), op.keys[1].Public()}})
	})
	return op
}

func (op *issuer) newKey(id string) jose.JSONWebKey {
	op.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		op.t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: id, Algorithm: string(jose.ES256), Use: "sig"}
}

// token is one for the audience "chat" that ends in an hour, changed by with.
func (op *issuer) token(with claims) string { return op.signed(op.keys[0], with) }

func (op *issuer) signed(key jose.JSONWebKey, with claims) string {
	op.t.Helper()
	all := claims{"iss": op.url, "aud": "chat", "sub": "ada", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, with)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	payload, err := json.Marshal(all)
	if err != nil {
		op.t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		op.t.Fatal(err)
	}
	object, err := signer.Sign(payload)
	if err != nil {
		op.t.Fatal(err)
	}
	text, err := object.CompactSerialize()
	if err != nil {
		op.t.Fatal(err)
	}
	return text
}

func TestTokensOfAnIssuer(t *testing.T) {
	op := newIssuer(t)
	p := startGuarded(t, "--parameter-overrides", "Issuer="+op.url)
	url := p.door("tokens")
	header := func(token string) dialing {
		return dialing{Header: http.Header{"Authorization": {"Bearer " + token}}}
	}
	t.Run("in the header", func(t *testing.T) {
		got := dial(t, url, header(op.token(claims{"team": "blue", "groups": []string{"a", "b"}, "level": 3}))).whoami().Authorizer
		for name, want := range map[string]string{"principalId": "ada", "sub": "ada", "team": "blue", "groups": "a,b", "level": "3"} {
			if got[name] != want {
				t.Errorf("authorizer.%s is %v, want %s", name, got[name], want)
			}
		}
	})
	t.Run("as a subprotocol, which is answered", func(t *testing.T) {
		s := dial(t, url, dialing{Protocols: []string{"bearer", op.token(nil)}})
		if got := s.ws.Subprotocol(); got != "bearer" {
			t.Errorf("subprotocol %q, want bearer: a browser would drop the connection", got)
		}
		s.whoami()
	})
	t.Run("in the query", func(t *testing.T) {
		dial(t, url+"?access_token="+op.token(nil), dialing{}).whoami()
	})
	t.Run("of the issuer's other key", func(t *testing.T) { dial(t, url, header(op.signed(op.keys[1], nil))) })
	stranger, hour := newIssuer(t), time.Hour
	for name, token := range map[string]string{
		"none":                     "",
		"no token at all":          "nonsense",
		"another audience":         op.token(claims{"aud": "shop"}),
		"another issuer":           op.token(claims{"iss": stranger.url}),
		"another issuer's key":     stranger.token(claims{"iss": op.url}),
		"a key the issuer lacks":   op.signed(op.newKey("third"), nil),
		"expired":                  op.token(claims{"exp": time.Now().Add(-hour).Unix()}),
		"not valid yet":            op.token(claims{"nbf": time.Now().Add(hour).Unix()}),
		"without an end":           op.token(claims{"exp": nil}),
		"without a subject":        op.token(claims{"sub": nil}),
		"not signed (alg: none)":   unsigned(op.token(nil)),
		"one letter of it changed": tampered(op.token(nil)),
	} {
		t.Run(name, func(t *testing.T) { header(token).refused(t, url, 401) })
	}
	t.Run("the keys were fetched once", func(t *testing.T) {
		// Once at first, and at most once more for the id that nobody knows.
		if n := op.asks.Load(); n > 2 {
			t.Errorf("the key set was fetched %d times", n)
		}
	})
	t.Run("pages", func(t *testing.T) {
		token := op.token(nil)
		for origin, ok := range map[string]bool{
			"https://app.example.com":           true,
			"https://pr-7.preview.example.com":  true,
			"https://a.b.preview.example.com":   false,
			"https://preview.example.com":       false,
			"http://app.example.com":            false,
			"https://app.example.com.evil.test": false,
			"https://evil.test":                 false,
			"null":                              false,
		} {
			how := header(token)
			how.Header.Set("Origin", origin)
			if ok {
				dial(t, url, how)
			} else {
				how.refused(t, url, 403)
			}
		}
	})
	t.Run("scopes of a route", func(t *testing.T) {
		s := dial(t, url, header(op.token(claims{"scope": "orders.read"})))
		s.call("order", nil)
		s.expectError("Forbidden")
		s = dial(t, url, header(op.token(claims{"scope": "orders.read orders.write"})))
		s.call("order", nil)
		if got := s.next(); got == "" || got[2:7] != "route" {
			t.Errorf("frame %s", got)
		}
	})
}

// unsigned is the same token with {"alg":"none"} in front and nothing behind.
func unsigned(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	return "eyJhbGciOiJub25lIn0." + payload + "."
}

// tampered changes a letter in the middle of the payload.
func tampered(token string) string {
	b := []byte(token)
	i := slices.Index(b, '.') + 20
	if b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

// A connection ends with its token, unless it is given a new one.
func TestTokensEndAndAreRenewed(t *testing.T) {
	op := newIssuer(t)
	p := startGuarded(t, "--parameter-overrides", "Issuer="+op.url)
	short := func(seconds int, with claims) string {
		all := claims{"exp": time.Now().Add(time.Duration(seconds) * time.Second).Unix()}
		maps.Copy(all, with)
		return op.token(all)
	}
	began := time.Now()
	url := p.door("tokens")
	ends := dial(t, url+"?tag=ends&access_token="+short(4, nil), dialing{})
	renewed := dial(t, url+"?tag=renewed&access_token="+short(4, claims{"team": "blue"}), dialing{})
	failed := dial(t, url+"?tag=failed&access_token="+short(4, nil), dialing{})
	send := func(s *socket, token string) {
		t.Helper()
		text, err := json.Marshal(map[string]string{"action": "renew", "token": token})
		if err != nil {
			t.Fatal(err)
		}
		s.send(string(text))
	}
	send(renewed, op.token(claims{"team": "green"}))
	var now caller
	if err := json.Unmarshal([]byte(renewed.next()), &now); err != nil || now.Route != "renew" || now.Authorizer["team"] != "green" {
		t.Errorf("after the renewal: %+v (%v)", now, err)
	}
	send(failed, op.token(claims{"sub": "eve"}))
	failed.expectError("Forbidden")
	for _, bad := range []string{"", "nonsense", op.token(claims{"exp": began.Add(-time.Hour).Unix()})} {
		send(failed, bad)
		failed.expectError("Unauthorized")
	}
	for tag, s := range map[string]*socket{"ends": ends, "failed": failed} {
		s.expectClose(4401, "Token expired")
		id := p.recorded("connect", tag).ConnectionID
		if r := p.recorded("disconnect", id); r.Code != 4401 || r.Reason != "Token expired" {
			t.Errorf("$disconnect with %d %q", r.Code, r.Reason)
		}
	}
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("ended after %v, before the token did", took)
	}
	if got := renewed.whoami().Authorizer["team"]; got != "green" {
		t.Errorf("the renewed connection is of team %v", got)
	}
	renewed.close(websocket.StatusNormalClosure, "")
}
