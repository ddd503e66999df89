package authz

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/iam"
	"github.com/livegate/livegate/internal/sigv4"
)

const (
	akid     = "AKIDEXAMPLE000000001"
	mismatch = "The request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)

var (
	key   = sigv4.Key{ID: akid, Secret: canary + "-secret"}
	scope = sigv4.Scope{Region: "eu-west-1", Service: "execute-api"}
)

// signedWorld has $connect with AWS_IAM and one caller.
func signedWorld(t *testing.T, policies ...string) *world {
	w := newWorld(t)
	w.route.AuthorizationType = "AWS_IAM"
	caller := Caller{Secret: key.Secret, UserID: "AIDAEXAMPLE", UserARN: "arn:aws:iam::" + account + ":user/team/ann"}
	for _, text := range policies {
		p, err := iam.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		caller.Policies = append(caller.Policies, p)
	}
	w.cfg.Callers = func(id string) (Caller, bool) { return caller, id == akid }
	return w
}

// handshake is a client's GET, signed by sign.
func (w *world) handshake(query string, sign func(*http.Request)) *Request {
	w.t.Helper()
	r := w.request(query)
	hr, err := http.NewRequest(http.MethodGet, "https://"+r.Host+r.Target, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	sign(hr)
	r.Target = hr.URL.RequestURI()
	r.Handshake.Query = hr.URL.RawQuery
	for name, values := range hr.Header {
		for _, v := range values {
			r.Handshake.Headers = append(r.Handshake.Headers, event.Field{Name: name, Value: v})
		}
	}
	return r
}

func inHeader(k sigv4.Key, s sigv4.Scope, at time.Time) func(*http.Request) {
	return func(r *http.Request) { sigv4.Sign(r, nil, k, s, at) }
}

func inQuery(k sigv4.Key, at time.Time, life time.Duration) func(*http.Request) {
	return func(r *http.Request) { sigv4.Presign(r, k, scope, at, life) }
}

func TestSignatures(t *testing.T) {
	const missing, unknown = "Missing Authentication Token", "The security token included in the request is invalid."
	none := func(*http.Request) {}
	for _, c := range []struct {
		name   string
		query  string
		sign   func(*http.Request)
		tamper func(*Request)
		status int
		text   string // "" with a status: any
		typ    string
	}{
		{name: "header", sign: inHeader(key, scope, at)},
		{name: "header and query", query: "b=2&a=1", sign: inHeader(key, scope, at)},
		{name: "presigned", sign: inQuery(key, at, time.Minute)},
		{name: "presigned with a query", query: "tenant=a", sign: inQuery(key, at, time.Minute)},
		{name: "presigned without an end", sign: inQuery(key, at, 0)},
		{name: "presigned an hour ago for a day", sign: inQuery(key, at.Add(-time.Hour), 24*time.Hour)},
		{name: "an absolute target", sign: inHeader(key, scope, at), tamper: func(r *Request) { r.Target = "http://" + r.Host + r.Target }},
		{name: "four minutes off", sign: inHeader(key, scope, at.Add(-4*time.Minute))},
		{name: "four minutes ahead", sign: inHeader(key, scope, at.Add(4*time.Minute))},
		{name: "unsigned", sign: none, status: 403, text: missing, typ: "MissingAuthenticationTokenException"},
		{name: "a bearer token", sign: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+canary) }, status: 403, text: missing},
		{name: "unreadable", sign: func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 "+canary) }, status: 403, typ: "IncompleteSignatureException"},
		{name: "six minutes old", sign: inHeader(key, scope, at.Add(-6*time.Minute)), status: 403, typ: "InvalidSignatureException"},
		{name: "six minutes ahead", sign: inHeader(key, scope, at.Add(6*time.Minute)), status: 403, typ: "InvalidSignatureException"},
		{name: "expired", sign: inQuery(key, at.Add(-2*time.Minute), time.Minute), status: 403, typ: "InvalidSignatureException"},
		{name: "longer than a week", sign: inQuery(key, at, 8*24*time.Hour), status: 403, typ: "IncompleteSignatureException"},
		{name: "another secret", sign: inHeader(sigv4.Key{ID: akid, Secret: "other"}, scope, at), status: 403, text: mismatch},
		{name: "an unknown key", sign: inHeader(sigv4.Key{ID: "AKIDOTHER", Secret: "x"}, scope, at), status: 403, text: unknown, typ: "UnrecognizedClientException"},
		{name: "another service", sign: inHeader(key, sigv4.Scope{Region: "eu-west-1", Service: "lambda"}, at), status: 403, typ: "InvalidSignatureException"},
		{name: "another region", sign: inHeader(key, sigv4.Scope{Region: "us-east-1", Service: "execute-api"}, at), status: 403, typ: "InvalidSignatureException"},
		{name: "another query", query: "role=user", sign: inHeader(key, scope, at), tamper: func(r *Request) { r.Target = strings.Replace(r.Target, "user", "admin", 1) }, status: 403, text: mismatch},
		{name: "more query", sign: inQuery(key, at, time.Minute), tamper: func(r *Request) { r.Target += "&role=admin" }, status: 403, text: mismatch},
		{name: "a longer life", sign: inQuery(key, at, time.Minute), tamper: func(r *Request) { r.Target = strings.Replace(r.Target, "Expires=60", "Expires=600", 1) }, status: 403, text: mismatch},
		{name: "another stage", sign: inQuery(key, at, time.Minute), tamper: func(r *Request) { r.Target = strings.Replace(r.Target, "/prod", "/dev", 1) }, status: 403, text: mismatch},
		{name: "another host", sign: inQuery(key, at, time.Minute), tamper: func(r *Request) { r.Host = "other.execute-api.eu-west-1.amazonaws.com" }, status: 403, text: mismatch},
		{name: "a path in other words", sign: inHeader(key, scope, at), tamper: func(r *Request) { r.Target = "/%70rod" }, status: 403, text: mismatch},
		{name: "a header more", sign: inHeader(key, scope, at), tamper: func(r *Request) {
			r.Handshake.Headers = append(r.Handshake.Headers, event.Field{Name: "X-Amz-Security-Token", Value: "t"})
		}, status: 403, typ: "InvalidSignatureException"},
		{name: "signed twice", sign: func(r *http.Request) { inQuery(key, at, time.Minute)(r); inHeader(key, scope, at)(r) }, status: 403, typ: "IncompleteSignatureException"},
		{name: "no target", sign: inHeader(key, scope, at), tamper: func(r *Request) { r.Target = "*" }, status: 403},
		{name: "an authority without a path", sign: inHeader(key, scope, at), tamper: func(r *Request) { r.Target = "http://" + r.Host }, status: 403},
	} {
		w := signedWorld(t)
		p := w.plan()
		if !p.Guarded() || p.Waits() {
			t.Fatal("IAM needs Authorize, and does not wait")
		}
		r := w.handshake(c.query, c.sign)
		if c.tamper != nil {
			c.tamper(r)
		}
		gr, no := w.authorize(p, r)
		if c.text == "" && no != nil {
			c.text = no.Message
		}
		w.want(c.name, no, c.status, c.text)
		if c.typ != "" && (no == nil || no.Type != c.typ) {
			t.Errorf("%s: %+v, want %s", c.name, no, c.typ)
		}
		if gr != nil && *gr.Identity != (event.Identity{AccountID: account, Caller: "AIDAEXAMPLE", User: "AIDAEXAMPLE", UserARN: "arn:aws:iam::" + account + ":user/team/ann", AccessKey: akid}) {
			t.Errorf("%s: %+v", c.name, gr.Identity)
		}
	}
}

func TestNobodyIsKnownByDefault(t *testing.T) {
	w := signedWorld(t)
	w.cfg.Callers = nil
	_, no := w.authorize(w.plan(), w.handshake("", inHeader(key, scope, at)))
	w.want("no callers", no, 403, "The security token included in the request is invalid.")
}

func TestSessionToken(t *testing.T) {
	for given, status := range map[string]int{"": 403, canary + "-other": 403, "token": 0} {
		w := signedWorld(t)
		caller := Caller{Secret: key.Secret, Token: "token"}
		w.cfg.Callers = func(string) (Caller, bool) { return caller, true }
		k := key
		k.Token = given
		_, no := w.authorize(w.plan(), w.handshake("", inQuery(k, at, time.Minute)))
		w.want(given, no, status, "The security token included in the request is invalid.")
	}
}

// In development SDKs sign with anything: unknown keys pass, known ones are checked.
func TestAnyCaller(t *testing.T) {
	stranger := sigv4.Key{ID: "AKIDSTRANGER", Secret: "x"}
	for _, c := range []struct {
		name   string
		sign   func(*http.Request)
		status int
	}{
		{"unknown", inHeader(stranger, scope, at), 0},
		{"unknown, presigned", inQuery(stranger, at, time.Minute), 0},
		{"known with another secret", inHeader(sigv4.Key{ID: akid, Secret: "x"}, scope, at), 403},
		{"unknown and old", inHeader(stranger, scope, at.Add(-time.Hour)), 403},
		{"unknown and expired", inQuery(stranger, at.Add(-time.Hour), time.Minute), 403},
		{"unknown and early", inHeader(stranger, scope, at.Add(time.Hour)), 403},
		{"unsigned", func(*http.Request) {}, 403},
	} {
		w := signedWorld(t)
		w.cfg.AnyCaller = true
		gr, no := w.authorize(w.plan(), w.handshake("", c.sign))
		if (no != nil) != (c.status != 0) {
			t.Errorf("%s: %v", c.name, no)
		}
		if gr != nil && (gr.Identity.AccessKey != stranger.ID || gr.Identity.AccountID != account) {
			t.Errorf("%s: %+v", c.name, gr.Identity)
		}
	}
}

// Policies of the caller decide on $connect and on every message.
func TestInvokePolicies(t *testing.T) {
	const base = "arn:aws:execute-api:eu-west-1:" + account + ":k3v9x1m2qz/prod/"
	statement := func(effect, resource string) string {
		return `{"Effect": "` + effect + `", "Action": "execute-api:Invoke", "Resource": "` + base + resource + `"}`
	}
	document := func(s ...string) string {
		return `{"Version": "2012-10-17", "Statement": [` + strings.Join(s, ",") + `]}`
	}
	for _, c := range []struct {
		name          string
		policies      []string
		connect, send bool
		secret        bool
	}{
		{"everything", []string{document(statement("Allow", "*"))}, true, true, true},
		{"all but one", []string{document(statement("Allow", "*"), statement("Deny", "secret"))}, true, true, false},
		{"a deny elsewhere", []string{document(statement("Allow", "*")), document(statement("Deny", "s*"))}, true, false, false},
		{"only $connect", []string{document(statement("Allow", "$connect"))}, true, false, false},
		{"not $connect", []string{document(statement("Allow", "send"))}, false, false, false},
		{"nothing", []string{document()}, false, false, false},
		{"callbacks only", []string{`{"Statement": {"Effect": "Allow", "Action": "execute-api:ManageConnections", "Resource": "*"}}`}, false, false, false},
		{"by name", []string{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*", "Condition": {"StringEquals": {"aws:username": "ann"}, "Bool": {"aws:SecureTransport": "true"}, "IpAddress": {"aws:SourceIp": "198.51.100.23"}, "StringEquals": {"aws:PrincipalAccount": "` + account + `"}}}}`}, true, true, true},
	} {
		if c.name == "by name" { // one operator cannot be there twice
			c.policies[0] = strings.Replace(c.policies[0], `, "StringEquals": {"aws:PrincipalAccount"`, `, "StringLike": {"aws:PrincipalAccount"`, 1)
		}
		w := signedWorld(t, c.policies...)
		p := w.plan()
		gr, no := w.authorize(p, w.handshake("", inHeader(key, scope, at)))
		if c.connect != (no == nil) {
			t.Errorf("%s: %v", c.name, no)
		}
		if no != nil {
			want := "User: arn:aws:iam::" + account + ":user/team/ann is not authorized to perform: execute-api:Invoke on resource: " + methodARN
			w.want(c.name, no, 403, want)
			continue
		}
		for route, want := range map[string]bool{"send": c.send, "secret": c.secret, "unknown": false} {
			no := w.refused(w.guard.Admit(p, gr, route))
			if want != (no == nil) {
				t.Errorf("%s on %s: %v", c.name, route, no)
			}
			if no != nil {
				w.want(route, no, 403, "Forbidden")
			}
		}
	}
}

// A policy may end while a connection is open.
func TestPoliciesAreAskedAgain(t *testing.T) {
	w := signedWorld(t, `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"DateLessThan": {"aws:CurrentTime": "2025-08-05T12:30:00Z"}}}}`)
	p := w.plan()
	gr, no := w.authorize(p, w.handshake("", inHeader(key, scope, at)))
	w.want("in time", no, 0, "")
	if err := w.guard.Admit(p, gr, "send"); err != nil {
		t.Error(err)
	}
	w.now = at.Add(time.Hour)
	w.want("too late", w.refused(w.guard.Admit(p, gr, "send")), 403, "Forbidden")
}

// execute-api:ManageConnections (§8.5 of the reference).
func TestManage(t *testing.T) {
	w := newWorld(t)
	w.plan()
	arn := ConnectionARN(w.app, w.api, w.stage, "Qa1zTdYbrRcCJ4w=")
	const base = "arn:aws:execute-api:eu-west-1:" + account + ":k3v9x1m2qz/"
	for _, c := range []struct {
		action, resource string
		methods          string // that are allowed
	}{
		{"execute-api:ManageConnections", base + "*/*/@connections/*", "POST GET DELETE"},
		{"execute-api:ManageConnections", base + "prod/POST/@connections/*", "POST"},
		{"execute-api:*", base + "prod/*/@connections/Qa1zTdYbrRcCJ4w=", "POST GET DELETE"},
		{"execute-api:ManageConnections", base + "prod/GET/@connections/other", ""},
		{"execute-api:ManageConnections", base + "dev/*/@connections/*", ""},
		{"execute-api:ManageConnections", base + "prod/@connections/*", ""},
		{"execute-api:Invoke", "*", ""},
	} {
		p, err := iam.Parse([]byte(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "` + c.action + `", "Resource": "` + c.resource + `"}}`))
		if err != nil {
			t.Fatal(err)
		}
		caller := Caller{UserARN: "arn:aws:iam::1:role/r", Policies: []*iam.Policy{p}}
		for _, method := range []string{"POST", "GET", "DELETE"} {
			err := w.guard.Manage(caller, method, arn)
			if want := strings.Contains(c.methods, method); want != (err == nil) {
				t.Errorf("%s %s %s: %v", c.action, c.resource, method, err)
			}
			if err == nil {
				continue
			}
			e, ok := err.(*fault.Error)
			if !ok || e.Kind != fault.Forbidden || e.AWSType() != "AccessDeniedException" || !strings.HasPrefix(e.Msg, "User: arn:aws:iam::1:role/r is not authorized to perform: execute-api:ManageConnections on resource: "+base+"prod/"+method+"/@connections/Qa1z") {
				t.Errorf("%v", err)
			}
		}
	}
	if err := w.guard.Manage(Caller{}, "POST", arn); err != nil {
		t.Errorf("no policies: %v", err)
	}
	if err := w.guard.Manage(Caller{Policies: []*iam.Policy{}}, "POST", arn); err == nil {
		t.Error("empty policies allow")
	}
	if err := w.guard.Manage(Caller{Policies: []*iam.Policy{}}, "POST", "x"); err == nil {
		t.Error("no ARN is allowed")
	}
}

func BenchmarkAdmitPolicy(b *testing.B) {
	w := signedWorld(&testing.T{}, `{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "execute-api:Invoke", "Resource": "*/secret"}, {"Effect": "Allow", "Action": "execute-api:*", "Resource": "arn:aws:execute-api:*:*:k3v9x1m2qz/prod/*"}]}`)
	p := w.plan()
	gr, no := w.authorize(p, w.handshake("", inHeader(key, scope, at)))
	if no != nil {
		b.Fatal(no)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := w.guard.Admit(p, gr, "send"); err != nil {
			b.Fatal(err)
		}
	}
}

func TestIdentityInEvents(t *testing.T) {
	w := signedWorld(t)
	r := w.handshake("", inHeader(key, scope, at))
	gr, no := w.authorize(w.plan(), r)
	w.want("signed", no, 0, "")
	r.Conn.Identity = gr.Identity
	for _, e := range [][]byte{
		event.AppendConnect(nil, r.Conn, &r.Call, r.Handshake), event.AppendMessage(nil, r.Conn, &r.Call, nil), event.AppendDisconnect(nil, r.Conn, &r.Call, 1000, ""),
	} {
		const want = `"identity":{"userArn":"arn:aws:iam::` + account + `:user/team/ann","userAgent":"acme-client/2.4","accountId":"` + account + `","caller":"AIDAEXAMPLE","sourceIp":"198.51.100.23","accessKey":"` + akid + `","user":"AIDAEXAMPLE"}`
		if !strings.Contains(string(e), want) {
			t.Errorf("%s", e)
		}
		if strings.Contains(string(e), key.Secret) {
			t.Error("the secret is in the event")
		}
	}
}
