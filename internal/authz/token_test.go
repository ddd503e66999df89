package authz

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/model"
)

type claim map[string]any

// token signs claims; those with the value nil are left out of the usual ones.
func token(t testing.TB, alg jose.SignatureAlgorithm, k any, kid string, over claim) string {
	t.Helper()
	c := claim{"iss": issuerName, "sub": "ann", "aud": "my-api", "exp": at.Add(time.Hour).Unix(), "iat": at.Unix(), "scope": "chat.read chat.write", "jti": canary}
	for name, v := range over {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	opts := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		opts = opts.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: k}, opts)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const issuerName = "https://issuer.example.test"

// testKey is one for all tests: making one takes a tenth of a second.
var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// tokenWorld has an API with a JWT, keys of RSA and EC, and an issuer.
func tokenWorld(t *testing.T) (*world, *idp, *rsa.PrivateKey, *ecdsa.PrivateKey) {
	w := newWorld(t)
	p := newIDP(t)
	rk := testKey()
	ek, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.publish(jose.JSONWebKey{Key: &rk.PublicKey, KeyID: "rsa", Use: "sig"})
	p.publish(jose.JSONWebKey{Key: &rk.PublicKey, KeyID: "rs256", Algorithm: "RS256"})
	p.publish(jose.JSONWebKey{Key: &ek.PublicKey, KeyID: "ec", Algorithm: "ES256"})
	w.cfg.AllowPrivate = true
	w.route.Access = &model.Access{JWT: &model.JWT{Issuer: issuerName, JWKS: p.URL + "/keys", Audiences: []string{"other", "my-api"}}}
	return w, p, rk, ek
}

func bearerOf(text string) string { return "Authorization: Bearer " + text }

func TestTokens(t *testing.T) {
	w, idp, rk, ek := tokenWorld(t)
	plan := w.plan()
	if err := plan.Err(); err != nil || !plan.Guarded() || !plan.Waits() {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&rk.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	good := token(t, jose.RS256, rk, "rsa", nil)
	parts := strings.Split(good, ".")
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	embedded := jose.SigningKey{Algorithm: jose.RS256, Key: other}
	signer, err := jose.NewSigner(embedded, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	self, err := signer.Sign([]byte(`{"iss": "` + issuerName + `", "sub": "root", "aud": "my-api", "exp": 9999999999}`))
	if err != nil {
		t.Fatal(err)
	}
	selfSigned, _ := self.CompactSerialize()
	for _, c := range []struct {
		name, token string
		status      int
	}{
		{"RS256", good, 0},
		{"PS512", token(t, jose.PS512, rk, "rsa", nil), 0},
		{"ES256", token(t, jose.ES256, ek, "ec", nil), 0},
		{"one of the audiences", token(t, jose.RS256, rk, "rsa", claim{"aud": []string{"x", "my-api"}}), 0},
		{"client_id without aud", token(t, jose.RS256, rk, "rsa", claim{"aud": nil, "client_id": "my-api"}), 0},
		{"nbf within the skew", token(t, jose.RS256, rk, "rsa", claim{"nbf": at.Add(30 * time.Second).Unix()}), 0},
		{"nothing", "", 401},
		{"no JWT", canary, 401},
		{"alg none", encode(`{"alg":"none"}`) + "." + parts[1] + ".", 401},
		{"alg None", encode(`{"alg":"None","kid":"rsa"}`) + "." + parts[1] + "." + parts[2], 401},
		{"no alg", encode(`{"kid":"rsa"}`) + "." + parts[1] + "." + parts[2], 401},
		{"HS256 with the public key", token(t, jose.HS256, public, "rsa", nil), 401},
		{"HS256 with the DER", token(t, jose.HS256, der, "rsa", nil), 401},
		{"another key", token(t, jose.RS256, other, "rsa", nil), 401},
		{"a key of its own", selfSigned, 401},
		{"the wrong algorithm for the key", token(t, jose.RS256, rk, "ec", nil), 401},
		{"RS256 with a key for it", token(t, jose.RS256, rk, "rs256", nil), 0},
		{"PS256 with a key for RS256", token(t, jose.PS256, rk, "rs256", nil), 401},
		{"an unknown key id", token(t, jose.RS256, rk, "../rsa", nil), 401},
		{"no key id, three keys", token(t, jose.RS256, rk, "", nil), 401},
		{"no signature", parts[0] + "." + parts[1] + ".", 401},
		{"another payload", parts[0] + "." + encode(`{"iss":"`+issuerName+`","sub":"root","aud":"my-api","exp":9999999999}`) + "." + parts[2], 401},
		{"four parts", good + ".x", 401},
		{"JSON serialization", `{"payload":"` + parts[1] + `","signatures":[{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"}]}`, 401},
		{"another issuer", token(t, jose.RS256, rk, "rsa", claim{"iss": "https://evil.example.test"}), 401},
		{"issuer with a slash", token(t, jose.RS256, rk, "rsa", claim{"iss": issuerName + "/"}), 401},
		{"no issuer", token(t, jose.RS256, rk, "rsa", claim{"iss": nil}), 401},
		{"another audience", token(t, jose.RS256, rk, "rsa", claim{"aud": "another"}), 401},
		{"no audience", token(t, jose.RS256, rk, "rsa", claim{"aud": nil}), 401},
		{"another audience and a client_id", token(t, jose.RS256, rk, "rsa", claim{"aud": "another", "client_id": "my-api"}), 401},
		{"expired", token(t, jose.RS256, rk, "rsa", claim{"exp": at.Add(-time.Second).Unix()}), 401},
		{"no end", token(t, jose.RS256, rk, "rsa", claim{"exp": nil}), 401},
		{"an end in words", token(t, jose.RS256, rk, "rsa", claim{"exp": "tomorrow"}), 401},
		{"not yet", token(t, jose.RS256, rk, "rsa", claim{"nbf": at.Add(2 * time.Minute).Unix()}), 401},
		{"of the future", token(t, jose.RS256, rk, "rsa", claim{"iat": at.Add(time.Hour).Unix()}), 401},
		{"no subject", token(t, jose.RS256, rk, "rsa", claim{"sub": nil}), 401},
		{"longer than 8 KiB", token(t, jose.RS256, rk, "rsa", claim{"pad": strings.Repeat("x", maxToken)}), 401},
		{"dots", strings.Repeat(".", 8000), 401},
	} {
		headers := []string{bearerOf(c.token)}
		if c.token == "" {
			headers = nil
		}
		gr, no := w.authorize(plan, w.request("", headers...))
		w.want(c.name, no, c.status, "Unauthorized")
		if gr != nil && (gr.Subject() != "ann" || !gr.Expires.Equal(at.Add(time.Hour).Truncate(time.Second))) {
			t.Errorf("%s: %+v", c.name, gr)
		}
	}
	if n := idp.fetches.Load(); n != 1 {
		t.Errorf("%d fetches: key ids of clients must not make more", n)
	}
}

// Where a token may be, and that it is never answered or logged.
func TestTokenPlaces(t *testing.T) {
	w, _, rk, _ := tokenWorld(t)
	w.route.Access.Token = []string{"header.Authorization", "querystring.token", "subprotocol.bearer", "cookie.session"}
	w.route.Access.Origins = []string{"https://app.example.com"}
	p := w.plan()
	good := token(t, jose.RS256, rk, "rsa", nil)
	for _, c := range []struct {
		name, query, header string
		protocol            string
		in                  bool
	}{
		{"header", "", bearerOf(good), "", true},
		{"header in another case", "", "authorization: bearer " + good, "", true},
		{"header without a scheme", "", "Authorization: " + good, "", true},
		{"basic", "", "Authorization: Basic " + good, "", false},
		{"query", "token=" + good, "X-A: b", "", true},
		{"subprotocol", "", "Sec-WebSocket-Protocol: chat, bearer, " + good, "bearer", true},
		{"subprotocol without a token", "", "Sec-WebSocket-Protocol: chat, bearer", "", false},
		{"cookie", "", "Cookie: a=b; session=" + good, "", true},
		{"cookie twice", "", "Cookie: session=" + good + "; session=" + good, "", false},
		{"elsewhere", "access_token=" + good, "X-Token: " + good, "", false},
	} {
		gr, no := w.authorize(p, w.request(c.query, c.header))
		if c.in != (no == nil) {
			t.Errorf("%s: %v", c.name, no)
		}
		if gr != nil && gr.Protocol != c.protocol {
			t.Errorf("%s: protocol %q", c.name, gr.Protocol)
		}
	}
}

// A cookie comes along whoever's page connects: same-host is the rule then.
func TestCookieTokenMeansSameHost(t *testing.T) {
	w, _, rk, _ := tokenWorld(t)
	w.route.Access.Token = []string{"cookie.session"}
	p := w.plan()
	cookie := "Cookie: session=" + token(t, jose.RS256, rk, "rsa", nil)
	_, no := w.authorize(p, w.request("", cookie, "Origin: https://k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com"))
	w.want("same host", no, 0, "")
	_, no = w.authorize(p, w.request("", cookie, "Origin: https://evil.example.test"))
	w.want("elsewhere", no, 403, "Forbidden")
}

func TestClaimsAreTheContext(t *testing.T) {
	w, _, rk, _ := tokenWorld(t)
	p := w.plan()
	text := token(t, jose.RS256, rk, "rsa", claim{"jti": nil, "scope": nil, "iat": nil, "exp": at.Add(time.Minute).Unix(), "groups": []any{"a", 7, true}, "age": 5, "admin": false, "nested": claim{"a": 1}, "none": nil, "principalId": "root", "lists": []any{[]any{"x"}}})
	gr, no := w.authorize(p, w.request("", bearerOf(text)))
	w.want("claims", no, 0, "")
	var got map[string]any
	if err := json.Unmarshal(gr.Authorizer, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"principalId": "ann", "integrationLatency": float64(0), "iss": issuerName, "sub": "ann", "aud": "my-api", "exp": fmt.Sprint(at.Add(time.Minute).Unix()), "groups": "a,7,true", "age": "5", "admin": "false"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v\nwant %v", got, want)
	}
}

func TestScopes(t *testing.T) {
	w, _, rk, _ := tokenWorld(t)
	w.route.Access.JWT.Scopes = []string{"chat.read"}
	w.api.Routes[1].Scopes = []string{"chat.write"}
	w.api.Routes[2].Scopes = []string{"chat.write", "chat.admin"}
	p := w.plan()
	for _, c := range []struct {
		name         string
		claims       claim
		in           bool
		send, secret bool
	}{
		{"in scope", nil, true, true, false},
		{"in scp", claim{"scope": nil, "scp": []string{"chat.read", "chat.write", "chat.admin"}}, true, true, true},
		{"in both", claim{"scope": "chat.read", "scp": "chat.write"}, true, true, false},
		{"only reading", claim{"scope": "chat.read"}, true, false, false},
		{"none", claim{"scope": nil}, false, false, false},
		{"a longer one", claim{"scope": "chat.reader"}, false, false, false},
	} {
		gr, no := w.authorize(p, w.request("", bearerOf(token(t, jose.RS256, rk, "rsa", c.claims))))
		if c.in {
			w.want(c.name, no, 0, "")
		} else {
			w.want(c.name, no, 403, "Forbidden")
			continue
		}
		for route, want := range map[string]bool{"send": c.send, "secret": c.secret, "$default": true} {
			no := w.refused(w.guard.Admit(p, gr, route))
			if want != (no == nil) {
				t.Errorf("%s on %s: %v", c.name, route, no)
			}
		}
	}
	if w.guard.Admit(p, nil, "send") == nil {
		t.Error("a connection without a token has a scope")
	}
}

// A connection whose token has ended may do nothing until it renews.
func TestExpiryAndRenewal(t *testing.T) {
	w, _, rk, _ := tokenWorld(t)
	w.route.Access.JWT.Scopes = []string{"chat.read"}
	w.api.Routes[1].Scopes = []string{"chat.write"}
	p := w.plan()
	gr, no := w.authorize(p, w.request("", bearerOf(token(t, jose.RS256, rk, "rsa", claim{"scope": "chat.read"}))))
	w.want("connect", no, 0, "")
	w.now = at.Add(time.Hour)
	w.want("ended", w.refused(w.guard.Admit(p, gr, "$default")), 403, "Forbidden")
	renew := func(over claim) (*Grant, *Refusal) {
		next, err := w.guard.Renew(context.Background(), p, gr, token(t, jose.RS256, rk, "rsa", over))
		return next, w.refused(err)
	}
	later := claim{"exp": w.now.Add(time.Hour).Unix()}
	_, no = renew(nil)
	w.want("an old token", no, 401, "Unauthorized")
	_, no = renew(claim{"exp": later["exp"], "sub": "bob"})
	w.want("somebody else's", no, 403, "Forbidden")
	_, no = renew(claim{"exp": later["exp"], "scope": "x"})
	w.want("a smaller one", no, 403, "Forbidden")
	next, no := renew(later)
	w.want("a new one", no, 0, "")
	for _, route := range []string{"$default", "send"} {
		if err := w.guard.Admit(p, next, route); err != nil {
			t.Errorf("%s: %v", route, err)
		}
	}
	if !strings.Contains(string(next.Authorizer), fmt.Sprint(w.now.Add(time.Hour).Unix())) {
		t.Errorf("%s", next.Authorizer)
	}
	w.want("the old grant", w.refused(w.guard.Admit(p, gr, "$default")), 403, "Forbidden")
	_, err := w.guard.Renew(context.Background(), p, &Grant{}, token(t, jose.RS256, rk, "rsa", later))
	w.want("no token before", w.refused(err), 403, "Forbidden")
	_, err = w.guard.Renew(context.Background(), p, nil, "x")
	w.want("no grant", w.refused(err), 403, "Forbidden")
}

func TestJWTConfiguration(t *testing.T) {
	for name, breakIt := range map[string]func(*model.JWT, *model.Access, *Config){
		"no issuer":      func(j *model.JWT, _ *model.Access, _ *Config) { j.Issuer = "" },
		"no audience":    func(j *model.JWT, _ *model.Access, _ *Config) { j.Audiences = nil },
		"http":           func(_ *model.JWT, _ *model.Access, c *Config) { c.AllowPrivate = false },
		"a file":         func(j *model.JWT, _ *model.Access, _ *Config) { j.JWKS = "file:///etc/passwd" },
		"a user":         func(j *model.JWT, _ *model.Access, _ *Config) { j.JWKS = "https://u:p@issuer.example.test/keys" },
		"a bad place":    func(_ *model.JWT, a *model.Access, _ *Config) { a.Token = []string{"body.token"} },
		"a nameless one": func(_ *model.JWT, a *model.Access, _ *Config) { a.Token = []string{"header."} },
		"a bad origin":   func(_ *model.JWT, a *model.Access, _ *Config) { a.Origins = []string{"*"} },
	} {
		w, _, rk, _ := tokenWorld(t)
		breakIt(w.route.Access.JWT, w.route.Access, &w.cfg)
		p := w.plan()
		if p.Err() == nil {
			t.Errorf("%s: no error", name)
		}
		_, no := w.authorize(p, w.request("", bearerOf(token(t, jose.RS256, rk, "rsa", nil))))
		w.want(name, no, 500, "Internal server error")
	}
}

// Access on the API guards an API without $connect, and $connect's goes before it.
func TestAccessOfTheAPI(t *testing.T) {
	w, _, rk, _ := tokenWorld(t)
	access := w.route.Access
	w.route.Access, w.api.Access = nil, access
	w.api.Routes = w.api.Routes[1:]
	p := w.plan()
	_, no := w.authorize(p, w.request(""))
	w.want("no token", no, 401, "Unauthorized")
	_, no = w.authorize(p, w.request("", bearerOf(token(t, jose.RS256, rk, "rsa", nil))))
	w.want("a token", no, 0, "")
	w.api.Routes = append(w.api.Routes, w.route)
	w.route.Access = &model.Access{Origins: []string{"https://app.example.com"}}
	p = w.plan()
	_, no = w.authorize(p, w.request("", "Origin: https://app.example.com"))
	w.want("still a token", no, 401, "Unauthorized")
	_, no = w.authorize(p, w.request("", "Origin: https://other.example.com", bearerOf(token(t, jose.RS256, rk, "rsa", nil))))
	w.want("and the origin", no, 403, "Forbidden")
}

// With a token and a Lambda authorizer both must agree, and the authorizer's word
// stands in later events.
func TestTokenAndAuthorizer(t *testing.T) {
	w, _, rk, _ := tokenWorld(t)
	w.custom()
	p := w.plan()
	good := bearerOf(token(t, jose.RS256, rk, "rsa", nil))
	gr, no := w.authorize(p, w.request("", good))
	w.want("both", no, 0, "")
	if !strings.Contains(string(gr.Authorizer), "user-77") || gr.Subject() != "ann" || gr.Expires.IsZero() {
		t.Errorf("%+v", gr)
	}
	w.fn.answer = `{}`
	_, no = w.authorize(p, w.request("", good))
	w.want("only the token", no, 500, "Internal server error")
	w.fn.answer = allowed + "}"
	w.fn.calls = nil
	_, no = w.authorize(p, w.request(""))
	w.want("only the authorizer", no, 401, "Unauthorized")
	if len(w.fn.calls) > 0 {
		t.Error("the authorizer was asked")
	}
}

// Whatever happens to a good token, it is good or refused with 401.
func FuzzToken(f *testing.F) {
	rk, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	g := New(Config{Now: func() time.Time { return at }})
	name := issuer{issuerName, "https://issuer.example.test/keys"}
	g.issued.of(name).put(map[string][]issuedKey{"k": {{public: crypto.PublicKey(&rk.PublicKey)}}}, nil, at)
	good := token(f, jose.ES256, rk, "k", nil)
	f.Add(good)
	f.Add(strings.Replace(good, ".", "..", 1))
	f.Add("e30.e30.e30")
	j := &jwtRule{issuer: name, audiences: []string{"my-api"}}
	f.Fuzz(func(t *testing.T, text string) {
		c, no := g.verify(t.Context(), j, text)
		if no == nil && (c.subject != "ann" || !c.expires.Equal(at.Add(time.Hour).Truncate(time.Second))) {
			t.Fatalf("%q is good: %+v", text, c)
		}
		if no != nil && no.Status != 401 && no.Status != 500 {
			t.Fatalf("%q: %v", text, no)
		}
	})
}

func TestManyTokensAtOnce(t *testing.T) {
	w, idp, rk, _ := tokenWorld(t)
	p := w.plan()
	good := bearerOf(token(t, jose.RS256, rk, "rsa", nil))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := w.guard.Authorize(context.Background(), p, w.request("", good)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := idp.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestEventsWithAToken(t *testing.T) {
	w, _, rk, _ := tokenWorld(t)
	r := w.request("", bearerOf(token(t, jose.RS256, rk, "rsa", claim{"jti": nil})))
	gr, _ := w.authorize(w.plan(), r)
	r.Conn.Authorizer = gr.Authorizer
	if e := event.AppendMessage(nil, r.Conn, &r.Call, []byte("x")); !json.Valid(e) || !strings.Contains(string(e), `"authorizer":{"principalId":"ann","integrationLatency":0,`) {
		t.Errorf("%s", e)
	}
}
