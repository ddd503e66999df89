package authz

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

const (
	// maxToken bounds a token: what is longer is not even looked at (CVE-2025-30204).
	maxToken = 8 << 10
	// clockSkew is how far the issuer's clock may be ahead of ours.
	clockSkew = time.Minute
)

// jwtRule says whose tokens are good.
type jwtRule struct {
	issuer    issuer
	audiences []string
	scopes    []string
	places    []place
}

// place is where a client may put its token.
type place struct{ kind, name string }

func (j *jwtRule) fromCookie() bool {
	return slices.ContainsFunc(j.places, func(p place) bool { return p.kind == "cookie" })
}

// bearer is a token that was accepted.
type bearer struct {
	issuer  issuer
	subject string
	scopes  []string
	claims  bool // Grant.Authorizer is made of its claims
}

// has reports whether the token has all of these scopes; nil has none.
func (b *bearer) has(scopes []string) bool {
	if b == nil {
		return false
	}
	for _, s := range scopes {
		if !slices.Contains(b.scopes, s) {
			return false
		}
	}
	return true
}

// algorithms are those that need the issuer's private key. "none" needs no key, and
// with an HS one the issuer's public key, which everybody has, would be the secret.
func algorithms() []string {
	return []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}
}

func (g *Guard) compileJWT(m *model.JWT, places []string) (*jwtRule, error) {
	j := &jwtRule{issuer: issuer{name: m.Issuer, url: m.JWKS}, audiences: m.Audiences, scopes: m.Scopes}
	if m.Issuer == "" {
		return nil, fault.New(fault.BadRequest, "JWT needs an Issuer")
	}
	if len(m.Audiences) == 0 {
		return nil, fault.New(fault.BadRequest, "JWT needs Audiences: without them tokens made for anybody else would do")
	}
	if slices.Contains(m.Audiences, "") {
		return nil, fault.New(fault.BadRequest, "JWT has an empty audience: that is the audience of every token that was made for nobody")
	}
	fetched := m.JWKS
	if fetched == "" {
		fetched = m.Issuer
	}
	if err := g.checkURL(fetched); err != nil {
		return nil, err
	}
	if len(places) == 0 {
		places = []string{"header.Authorization"}
	}
	for _, text := range places {
		kind, name, _ := strings.Cut(text, ".")
		if name == "" || kind != "header" && kind != "querystring" && kind != "subprotocol" && kind != "cookie" {
			return nil, fault.New(fault.BadRequest, "Token %q is none of header.NAME, querystring.NAME, subprotocol.NAME and cookie.NAME", text)
		}
		j.places = append(j.places, place{kind, name})
	}
	return j, nil
}

// token checks the handshake's token.
func (g *Guard) token(ctx context.Context, p *Plan, r *Request, gr *Grant) *Refusal {
	text, protocol := "", ""
	for _, at := range p.jwt.places {
		if text = at.find(r); text != "" {
			if at.kind == "subprotocol" {
				protocol = at.name
			}
			break
		}
	}
	if text == "" {
		return unauthorized("no token where the API looks for one")
	}
	c, no := g.verify(ctx, p.jwt, text)
	if no != nil {
		return no
	}
	gr.take(c)
	gr.Protocol = protocol
	gr.bearer.claims = true
	gr.Authorizer = event.AppendGrant(nil, c.subject, 0, c.properties)
	return nil
}

func (gr *Grant) take(c *claims) {
	gr.bearer = &bearer{issuer: c.issuer, subject: c.subject, scopes: c.scopes}
	gr.Expires = c.expires
}

// Renew takes a new token for an open connection, from the same issuer and for the
// same subject, and returns what replaces its grant. It may block like Authorize. The
// error is a *Refusal; the old grant then stays as it is.
func (g *Guard) Renew(ctx context.Context, p *Plan, gr *Grant, token string) (*Grant, error) {
	switch {
	case p == nil || p.err != nil:
		return nil, internal("there is no plan for this stage")
	case p.jwt == nil || gr == nil || gr.bearer == nil:
		return nil, forbidden("the connection has no token that another could replace")
	}
	c, no := g.verify(ctx, p.jwt, withoutScheme(token))
	if no != nil {
		return nil, no
	}
	if c.issuer.name != gr.bearer.issuer.name || c.subject != gr.bearer.subject {
		return nil, forbidden("the new token is for somebody else")
	}
	next := *gr
	next.take(c)
	if gr.bearer.claims {
		next.bearer.claims = true
		next.Authorizer = event.AppendGrant(nil, c.subject, 0, c.properties)
	}
	return &next, nil
}

// find is the token at a place; "" when there is none.
func (at place) find(r *Request) string {
	switch at.kind {
	case "header":
		v, _ := headerValue(r.Handshake.Headers, at.name)
		return withoutScheme(v)
	case "querystring":
		v, _ := queryValue(r.Handshake.Query, at.name)
		return v
	case "cookie":
		return cookie(r.Handshake.Headers, at.name)
	}
	return afterProtocol(r.Handshake.Headers, at.name)
}

// withoutScheme takes "Bearer " off.
func withoutScheme(v string) string {
	if scheme, rest, ok := strings.Cut(v, " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(rest)
	}
	return v
}

// cookie is a cookie's value (RFC 6265 §4.2.1). Two of the same name are none: which
// of them a page of a neighbouring host has set cannot be seen.
func cookie(fields []event.Field, name string) string {
	value, n := "", 0
	for _, f := range fields {
		if !strings.EqualFold(f.Name, "Cookie") {
			continue
		}
		for pair := range strings.SplitSeq(f.Value, ";") {
			if k, v, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && k == name {
				value = strings.Trim(v, `"`)
				n++
			}
		}
	}
	if n != 1 {
		return ""
	}
	return value
}

// afterProtocol is the subprotocol that follows the one called name.
func afterProtocol(fields []event.Field, name string) string {
	found := false
	for _, f := range fields {
		if !strings.EqualFold(f.Name, "Sec-WebSocket-Protocol") {
			continue
		}
		for v := range strings.SplitSeq(f.Value, ",") {
			v = strings.TrimSpace(v)
			if found {
				return v
			}
			found = v == name
		}
	}
	return ""
}

// claims are those of a token that was verified.
type claims struct {
	issuer     issuer
	subject    string
	scopes     []string
	expires    time.Time
	properties []event.Property
}

// verify checks a token: its form, signature, issuer, audience and times, then its
// scopes. Refusals never say more than which of them it was.
func (g *Guard) verify(ctx context.Context, j *jwtRule, text string) (*claims, *Refusal) {
	if len(text) > maxToken {
		return nil, unauthorized("the token is longer than 8 KiB")
	}
	if !compact(text) {
		return nil, unauthorized("the token is not a signed JWT")
	}
	set := &keySet{g: g, issuer: j.issuer}
	verifier := oidc.NewVerifier(j.issuer.name, set, &oidc.Config{
		SkipClientIDCheck:    true, // the audience is checked below: access tokens of some issuers have it in client_id
		SupportedSigningAlgs: algorithms(),
		Now:                  g.cfg.Now,
	})
	verified, err := verifier.Verify(ctx, text)
	if err != nil {
		return nil, set.refusal(err)
	}
	var raw json.RawMessage
	if verified.Claims(&raw) != nil {
		return nil, unauthorized("the token's claims cannot be read")
	}
	return g.accept(j, verified, raw)
}

// compact reports whether a token is three runs of base64url (RFC 7515 §7.1).
func compact(text string) bool {
	dots := 0
	for i := range len(text) {
		c := text[i]
		switch {
		case c == '.':
			dots++
		case c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return dots == 2
}

// accept checks what the signature has vouched for.
func (g *Guard) accept(j *jwtRule, verified *oidc.IDToken, raw []byte) (*claims, *Refusal) {
	var body struct {
		NotBefore json.Number `json:"nbf"`
		ClientID  string      `json:"client_id"`
		Scope     words       `json:"scope"`
		Scp       words       `json:"scp"`
	}
	if json.Unmarshal(raw, &body) != nil || ambiguous(raw) {
		return nil, unauthorized("the token's claims cannot be read")
	}
	latest := g.cfg.Now().Add(clockSkew)
	notBefore, _ := body.NotBefore.Float64()
	switch {
	case verified.Subject == "":
		return nil, unauthorized("the token has no sub")
	case verified.IssuedAt.After(latest), notBefore > float64(latest.Unix()):
		return nil, unauthorized("the token is not valid yet")
	case !slices.ContainsFunc(j.audiences, func(a string) bool {
		return slices.Contains(verified.Audience, a) || a == body.ClientID && len(verified.Audience) == 0
	}):
		return nil, unauthorized("the token is for another audience")
	}
	c := &claims{issuer: j.issuer, subject: verified.Subject, expires: verified.Expiry, scopes: append(body.Scope, body.Scp...)}
	var ok bool
	if c.properties, ok = claimProperties(raw); !ok {
		return nil, unauthorized("the token's claims cannot be read")
	}
	for _, s := range j.scopes {
		if !slices.Contains(c.scopes, s) {
			return nil, forbidden("the token does not have the scope " + s)
		}
	}
	return c, nil
}

// ambiguous reports whether a claim that decides stands there in another case. Names of
// claims have a case (RFC 7519 §10.1.1), which the decoder does not look at: an issuer
// that lets users name claims of their own would let them write a "Sub" over the "sub".
func ambiguous(raw []byte) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return true
	}
	for name := range members {
		for _, decides := range [...]string{"iss", "sub", "aud", "exp", "nbf", "iat", "client_id", "scope", "scp"} {
			if name != decides && strings.EqualFold(name, decides) {
				return true
			}
		}
	}
	return false
}

// words is "a b" or ["a", "b"].
type words []string

func (w *words) UnmarshalJSON(raw []byte) error {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		*w = strings.Fields(text)
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(w))
}

// claimProperties are the claims as an authorizer's context: text, numbers and
// booleans as text, lists of them joined by commas. Objects are left out.
func claimProperties(raw []byte) (out []event.Property, ok bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, false
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, false
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, false
		}
		text, set := claimText(value)
		out = setProperty(out, name.(string), text, set)
	}
	return out, true
}

func claimText(value json.RawMessage) (string, bool) {
	switch value[0] {
	case '"':
		var s string
		return s, json.Unmarshal(value, &s) == nil && s != ""
	case '{', 'n':
		return "", false
	case '[':
		var items []json.RawMessage
		if json.Unmarshal(value, &items) != nil {
			return "", false
		}
		var texts []string
		for _, item := range items {
			if item[0] == '[' {
				return "", false
			}
			if s, ok := claimText(item); ok {
				texts = append(texts, s)
			}
		}
		return strings.Join(texts, ","), len(texts) > 0
	}
	return string(value), true
}

// refusal says why a token was not verified, in words of our own: the library's quote
// the token.
func (s *keySet) refusal(err error) *Refusal {
	switch {
	case s.unreachable != "":
		return internal("the keys of the issuer cannot be had: " + s.unreachable)
	case errors.As(err, new(*oidc.TokenExpiredError)):
		return unauthorized("the token has expired")
	case s.why != "":
		return unauthorized(s.why)
	case s.verified:
		return unauthorized("the token's issuer or times are not those wanted")
	}
	return unauthorized("the token is malformed or signed with an algorithm that is not allowed")
}

// checkURL refuses addresses of keys that cannot be fetched safely.
func (g *Guard) checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return fault.New(fault.BadRequest, "JWT: %q is not the URL of an issuer or its keys", text)
	case u.Scheme == "https", u.Scheme == "http" && g.cfg.AllowPrivate:
		return nil
	}
	return fault.New(fault.BadRequest, "JWT: %q must be an https URL", text)
}
