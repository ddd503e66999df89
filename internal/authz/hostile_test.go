package authz

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"unsafe"

	"github.com/go-jose/go-jose/v4"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/iam"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/sigv4"
)

// An audience that a template left empty is the audience of every token without one.
func TestEmptyAudience(t *testing.T) {
	for _, audiences := range [][]string{{""}, {"my-api", ""}} {
		w, _, rk, _ := tokenWorld(t)
		w.route.Access.JWT.Audiences = audiences
		p := w.plan()
		_, no := w.authorize(p, w.request("", bearerOf(token(t, jose.RS256, rk, "rsa", claim{"aud": nil}))))
		w.want("a token for nobody", no, 500, "Internal server error")
		if p.Err() == nil {
			t.Errorf("%q compiles", audiences)
		}
	}
}

// Names of claims have a case (RFC 7519 §10.1.1). An issuer that lets users name claims
// of their own must not let them write a second "sub", "aud" or "scope".
func TestClaimsInAnotherCase(t *testing.T) {
	for name, over := range map[string]claim{
		"subject":  {"sub": nil, "Sub": "ann"},
		"audience": {"aud": "their-api", "Aud": "my-api"},
		"scopes":   {"scope": "chat.read", "ſcope": "admin"}, // ſ folds to s
		"expiry":   {"exp": at.Unix() - 3600, "exP": at.Unix() + 3600},
		"issuer":   {"iss": "https://other.example.test", "isS": issuerName},
	} {
		w, _, rk, _ := tokenWorld(t)
		w.route.Access.JWT.Scopes = []string{"chat.read"}
		w.api.Routes[1].Scopes = []string{"admin"}
		p := w.plan()
		gr, no := w.authorize(p, w.request("", bearerOf(token(t, jose.RS256, rk, "rsa", over))))
		if no == nil && (name != "scopes" || w.guard.Admit(p, gr, "send") == nil) {
			t.Errorf("%s: let in", name)
		}
	}
}

// A deployment that cannot work must not open what guarded the routes of connections
// that are there already.
func TestBrokenReloadKeepsRoutesClosed(t *testing.T) {
	w, _, rk, _ := tokenWorld(t)
	w.api.Routes[2].Scopes = []string{"admin"}
	p := w.plan()
	gr, no := w.authorize(p, w.request("", bearerOf(token(t, jose.RS256, rk, "rsa", nil))))
	w.want("connect", no, 0, "")
	w.want("before", w.refused(w.guard.Admit(p, gr, "secret")), 403, "Forbidden")
	w.api.Routes[1].AuthorizationType = "CUSTOM" // before the route with scopes
	p = w.plan()
	if p.Err() == nil {
		t.Fatal("it compiles")
	}
	w.want("after", w.refused(w.guard.Admit(p, gr, "secret")), 403, "Forbidden")

	w = signedWorld(t, `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*/$connect"}}`)
	p = w.plan()
	gr, no = w.authorize(p, w.handshake("", inHeader(key, scope, at)))
	w.want("connect", no, 0, "")
	w.want("before", w.refused(w.guard.Admit(p, gr, "send")), 403, "Forbidden")
	w.api.Routes[1].AuthorizationType = "CUSTOM"
	w.want("after", w.refused(w.guard.Admit(w.plan(), gr, "send")), 403, "Forbidden")
}

// A connection keeps nothing of the header that its access key id stood in: session
// tokens are a kilobyte, and no business of a heap dump.
func TestGrantKeepsNoCredentials(t *testing.T) {
	w := signedWorld(t)
	w.cfg.Callers = func(id string) (Caller, bool) { return Caller{Secret: key.Secret, UserID: id}, true }
	p := w.plan()
	r := w.handshake("", inQuery(sigv4.Key{ID: akid, Secret: key.Secret, Token: strings.Repeat("T", 1000)}, at, 60e9))
	gr, no := w.authorize(p, r)
	w.want("connect", no, 0, "")
	for what, text := range map[string]string{"access key": gr.Identity.AccessKey, "user": gr.Identity.User, "caller": gr.Identity.Caller} {
		for _, held := range append(headerValues(r), r.Target, r.Handshake.Query) {
			if inside(text, held) {
				t.Errorf("the %s is a part of %.40q…", what, held)
			}
		}
	}
	if gr.values != nil {
		t.Error("values are kept for policies that are not there")
	}
}

func headerValues(r *Request) (out []string) {
	for _, f := range r.Handshake.Headers {
		out = append(out, f.Value)
	}
	return out
}

// inside reports whether part shares whole's memory.
func inside(part, whole string) bool {
	if part == "" || whole == "" {
		return false
	}
	p, w := uintptr(unsafe.Pointer(unsafe.StringData(part))), uintptr(unsafe.Pointer(unsafe.StringData(whole)))
	return p >= w && p < w+uintptr(len(whole))
}

// Nothing that a client can send makes the guard panic, or lets it in.
func FuzzAuthorize(f *testing.F) {
	f.Add("/prod", "token=x", "Authorization", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=x", "h")
	f.Add("/prod?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%2f", "X-Amz-Algorithm=AWS4-HMAC-SHA256", "Origin", "null", "[::1")
	f.Add("http://x/prod", "", "Cookie", "t=a.b.c;t=\"", "x:")
	f.Add("*", "%zz&&=", "Sec-WebSocket-Protocol", "bearer,a.b.c", "")
	w := newWorld(&testing.T{})
	w.cfg.HTTP = &http.Client{Transport: refusing{}}
	w.route.Access = &model.Access{
		Origins: []string{"same-host", "https://*.example.com"}, Token: []string{"header.Authorization", "querystring.token", "subprotocol.bearer", "cookie.t"},
		JWT: &model.JWT{Issuer: issuerName, Audiences: []string{"my-api"}},
	}
	byToken := w.plan()
	w.route.Access, w.route.AuthorizationType = &model.Access{Origins: []string{"same-host"}}, "AWS_IAM"
	bySignature := w.plan()
	f.Fuzz(func(t *testing.T, target, query, name, value, host string) {
		r := w.request("")
		r.Target, r.Host = target, host
		r.Handshake = &event.Handshake{Query: query, Headers: []event.Field{{Name: name, Value: value}}}
		for _, p := range []*Plan{byToken, bySignature} {
			if gr, err := w.guard.Authorize(context.Background(), p, r); err == nil {
				t.Fatalf("let in: %+v", gr)
			}
		}
	})
}

type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, context.Canceled }

// What a caller is called is text, whatever it looks like in a policy.
func TestNamesAreNoPatterns(t *testing.T) {
	p, err := iam.Parse([]byte(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "execute-api:ManageConnections", "Resource": "*/POST/@connections/${aws:username}"}}`))
	if err != nil {
		t.Fatal(err)
	}
	g := New(Config{})
	for _, name := range []string{"*", "?", "${*}", "${aws:userid}", "ann*"} {
		c := Caller{UserID: "ann-id", UserARN: "arn:aws:iam::" + account + ":user/" + name, Policies: []*iam.Policy{p}}
		if g.Manage(c, "POST", "arn:x/prod/@connections/ann-id") == nil {
			t.Errorf("%q is a pattern", name)
		}
	}
}
