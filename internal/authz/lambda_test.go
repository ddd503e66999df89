package authz

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/iam"
)

// Rows 9–12 of the outcome table (§1.4), and what an authorizer can do wrong.
func TestAuthorizerOutcomes(t *testing.T) {
	const unauthorized, internal = "Unauthorized", "Internal server error"
	const implicit, explicit = "User is not authorized to access this resource", "User is not authorized to access this resource with an explicit deny"
	policy := func(statements string) string {
		return `{"principalId": "u", "policyDocument": {"Version": "2012-10-17", "Statement": ` + statements + `}}`
	}
	for _, c := range []struct {
		name, answer, failure string
		err                   error
		status                int
		text                  string
	}{
		{name: "allow", answer: allowed + "}"},
		{name: "allow everything", answer: policy(`[{"Action": "*", "Effect": "Allow", "Resource": "*"}]`)},
		{name: "members it does not have", answer: allowed + `, "more": [1], "context": null, "usageIdentifierKey": null}`},
		{name: "deny", answer: policy(`[{"Action": "execute-api:Invoke", "Effect": "Deny", "Resource": "*"}]`), status: 403, text: explicit},
		{name: "deny and allow", answer: policy(`[{"Action": "*", "Effect": "Allow", "Resource": "*"}, {"Action": "*", "Effect": "Deny", "Resource": "*/$connect"}]`), status: 403, text: explicit},
		{name: "no statement", answer: policy(`[]`), status: 403, text: implicit},
		{name: "another stage", answer: policy(`[{"Action": "*", "Effect": "Allow", "Resource": "` + strings.Replace(methodARN, "prod", "dev", 1) + `"}]`), status: 403, text: implicit},
		{name: "the REST pattern", answer: policy(`[{"Action": "*", "Effect": "Allow", "Resource": "` + strings.Replace(methodARN, "$connect", "*/*", 1) + `"}]`), status: 403, text: implicit},
		{name: "an address", answer: policy(`[{"Action": "*", "Effect": "Allow", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "198.51.100.0/24"}}}]`)},
		{name: "another address", answer: policy(`[{"Action": "*", "Effect": "Allow", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}}]`), status: 403, text: implicit},
		{name: "an unknown condition", answer: policy(`[{"Action": "*", "Effect": "Allow", "Resource": "*", "Condition": {"Resembles": {"aws:SourceIp": "198.51.100.23"}}}]`), status: 403, text: implicit},
		{name: "Unauthorized", answer: `{"errorMessage": "Unauthorized", "errorType": "Error"}`, failure: "Unhandled", status: 401, text: unauthorized},
		{name: "Unauthorized, handled", answer: `{"errorMessage": "Unauthorized"}`, failure: "Handled", status: 401, text: unauthorized},
		{name: "unauthorized in other words", answer: `{"errorMessage": "unauthorized ` + canary + `", "errorType": "` + canary + ` x"}`, failure: "Unhandled", status: 500, text: internal},
		{name: "an error", answer: `{"errorMessage": "no such user ` + canary + `", "errorType": "TypeError"}`, failure: "Unhandled", status: 500, text: internal},
		{name: "an error that allows", answer: allowed + "}", failure: "Unhandled", status: 500, text: internal},
		{name: "timed out", answer: `{"errorMessage": "Task timed out", "errorType": "Sandbox.Timedout"}`, failure: "Unhandled", status: 500, text: internal},
		{name: "cannot run", err: fault.New(fault.NotFound, "no function "+canary), status: 500, text: internal},
		{name: "busy", err: fault.New(fault.Throttled, "busy"), answer: allowed + "}", status: 500, text: internal},
		{name: "an unknown error", err: errors.New(canary), status: 500, text: internal},
		{name: "nothing", answer: ``, status: 500, text: internal},
		{name: "null", answer: `null`, status: 500, text: internal},
		{name: "true", answer: `true`, status: 500, text: internal},
		{name: "the word", answer: `"Unauthorized"`, status: 500, text: internal},
		{name: "a list", answer: `[` + allowed + `}]`, status: 500, text: internal},
		{name: "half of it", answer: allowed, status: 500, text: internal},
		{name: "a proxy result", answer: `{"statusCode": 401}`, status: 500, text: internal},
		{name: "a simple response", answer: `{"isAuthorized": true}`, status: 500, text: internal},
		{name: "no principal", answer: strings.Replace(allowed, `"principalId": "user-77", `, "", 1) + "}", status: 500, text: internal},
		{name: "an empty principal", answer: strings.Replace(allowed, "user-77", "", 1) + "}", status: 500, text: internal},
		{name: "a principal that is a number", answer: strings.Replace(allowed, `"user-77"`, "77", 1) + "}", status: 500, text: internal},
		{name: "no policy", answer: `{"principalId": "u"}`, status: 500, text: internal},
		{name: "a null policy", answer: `{"principalId": "u", "policyDocument": null}`, status: 500, text: internal},
		{name: "a policy in a string", answer: `{"principalId": "u", "policyDocument": "{}"}`, status: 500, text: internal},
		{name: "lower case", answer: strings.Replace(allowed, "policyDocument", "policydocument", 1) + "}", status: 500, text: internal},
		{name: "allow in lower case", answer: strings.Replace(allowed, `"Allow"`, `"allow"`, 1) + "}", status: 500, text: internal},
		{name: "a list in the context", answer: allowed + `, "context": {"roles": ["a"]}}`, status: 500, text: internal},
		{name: "an object in the context", answer: allowed + `, "context": {"user": {"name": "a"}}}`, status: 500, text: internal},
		{name: "a context that is a list", answer: allowed + `, "context": []}`, status: 500, text: internal},
		{name: "8 KiB", answer: pad(allowed+`, "context": {"pad": "`, maxAnswer)},
		{name: "more than 8 KiB", answer: pad(allowed+`, "context": {"pad": "`, maxAnswer+1), status: 500, text: internal},
		{name: "a key that is no text", answer: allowed + `, "usageIdentifierKey": 7}`, status: 500, text: internal},
	} {
		w := newWorld(t).custom()
		w.fn.answer, w.fn.failure, w.fn.err = c.answer, c.failure, c.err
		gr, no := w.authorize(w.plan(), w.request("", "Authorization: Bearer "+canary))
		w.want(c.name, no, c.status, c.text)
		if gr != nil && !json.Valid(gr.Authorizer) {
			t.Errorf("%s: %s", c.name, gr.Authorizer)
		}
		if c.status == 403 && string(no.Body) != `{"Message":"`+c.text+`"}` {
			t.Errorf("%s: body %s", c.name, no.Body)
		}
		if len(w.fn.calls) != 1 || w.fn.calls[0].Function != "arn:aws:lambda:eu-west-1:"+account+":function:auth" || w.fn.calls[0].Tag != "Qa1zTdYbrRcCJ4w=" {
			t.Errorf("%s: %+v", c.name, w.fn.calls)
		}
	}
}

func pad(start string, size int) string {
	return start + strings.Repeat("x", size-len(start)-len(`"}}`)) + `"}}`
}

// Every listed value must be there; otherwise 401, and the function does not run.
func TestIdentitySources(t *testing.T) {
	all := []string{"route.request.header.X-Access", "route.request.querystring.t", "stageVariables.v", "context.identity.userAgent"}
	for _, c := range []struct {
		name    string
		sources []string
		query   string
		headers []string
		vars    map[string]string
		in      bool
	}{
		{"all there", all, "t=1", []string{"x-access: a"}, map[string]string{"v": "1"}, true},
		{"none wanted", nil, "", nil, nil, true},
		{"no header", all, "t=1", nil, map[string]string{"v": "1"}, false},
		{"an empty header", all, "t=1", []string{"X-Access: "}, map[string]string{"v": "1"}, false},
		{"a header of blanks", all, "t=1", []string{"X-Access:   "}, map[string]string{"v": "1"}, false},
		{"no parameter", all, "", []string{"X-Access: a"}, map[string]string{"v": "1"}, false},
		{"an empty parameter", all, "t=", []string{"X-Access: a"}, map[string]string{"v": "1"}, false},
		{"a parameter in another case", all, "T=1", []string{"X-Access: a"}, map[string]string{"v": "1"}, false},
		{"an escaped parameter", all, "%74=1", []string{"X-Access: a"}, map[string]string{"v": "1"}, true},
		{"no variable", all, "t=1", []string{"X-Access: a"}, nil, false},
		{"no such context", []string{"context.authorizer.x"}, "", nil, nil, false},
	} {
		w := newWorld(t).custom(c.sources...)
		w.stage.Variables = c.vars
		p := w.plan()
		if !p.Guarded() || !p.Waits() || p.Err() != nil {
			t.Fatalf("%s: %v", c.name, p.Err())
		}
		_, no := w.authorize(p, w.request(c.query, c.headers...))
		if c.in {
			w.want(c.name, no, 0, "")
		} else {
			w.want(c.name, no, 401, "Unauthorized")
		}
		if called := len(w.fn.calls) == 1; called != c.in {
			t.Errorf("%s: called is %v", c.name, called)
		}
	}
}

// What cannot work is said at load time and refuses with 500.
func TestBrokenPlansAreClosed(t *testing.T) {
	for name, breakIt := range map[string]func(*world){
		"unknown authorizer":     func(w *world) { w.route.AuthorizerID = "other" },
		"no function":            func(w *world) { w.api.Authorizers[0].URI = "uri" },
		"no URI":                 func(w *world) { w.api.Authorizers[0].URI = "" },
		"an unset variable":      func(w *world) { w.api.Authorizers[0].URI += "${stageVariables.x}" },
		"a broken variable":      func(w *world) { w.api.Authorizers[0].URI += "${stageVariables.x" },
		"a bad identity source":  func(w *world) { w.api.Authorizers[0].IdentitySource = []string{"method.request.header.A"} },
		"an empty one":           func(w *world) { w.api.Authorizers[0].IdentitySource = []string{"route.request.header."} },
		"no such context":        func(w *world) { w.api.Authorizers[0].IdentitySource = []string{"context.nope"} },
		"JWT type":               func(w *world) { w.api.Authorizers[0].Type = "JWT" },
		"an unknown type":        func(w *world) { w.route.AuthorizationType = "JWT" },
		"a guarded message":      func(w *world) { w.api.Routes[1].AuthorizationType = "AWS_IAM" },
		"no functions":           func(w *world) { w.cfg.Functions = nil },
		"scopes without a token": func(w *world) { w.api.Routes[1].Scopes = []string{"a"} },
		"an unknown key source": func(w *world) {
			w.route.APIKeyRequired, w.api.APIKeySelectionExpression = true, "$request.querystring.key"
		},
	} {
		w := newWorld(t).custom()
		breakIt(w)
		p := w.plan()
		if p.Err() == nil || !p.Guarded() {
			t.Errorf("%s: error %v, guarded %v", name, p.Err(), p.Guarded())
			continue
		}
		_, no := w.authorize(p, w.request("", "x-api-key: k"))
		w.want(name, no, 500, "Internal server error")
		if len(w.fn.calls) > 0 {
			t.Errorf("%s: the authorizer was asked", name)
		}
	}
	w := newWorld(t)
	w.plan()
	_, no := w.authorize(nil, w.request(""))
	w.want("no plan", no, 500, "Internal server error")
}

func TestStageVariablesInTheURI(t *testing.T) {
	w := newWorld(t).custom()
	w.stage.Variables = map[string]string{"fn": "guard", "alias": "live"}
	w.api.Authorizers[0].URI = strings.Replace(w.api.Authorizers[0].URI, ":auth/", ":${stageVariables.fn}:${stageVariables.alias}/", 1)
	_, no := w.authorize(w.plan(), w.request(""))
	w.want("stage variables", no, 0, "")
	if got := w.fn.calls[0].Function; got != "arn:aws:lambda:eu-west-1:"+account+":function:guard:live" {
		t.Error(got)
	}
}

// An authorizer that never answers ends with the time an integration has.
func TestAuthorizerTimesOut(t *testing.T) {
	w := newWorld(t).custom()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p := w.plan()
	gr, err := w.guard.Authorize(ctx, p, w.request(""))
	if gr != nil {
		t.Error("let in")
	}
	w.want("ended", w.refused(err), 500, "Internal server error")
}

// The exact event, byte for byte, and what later events have of the answer.
func TestEvents(t *testing.T) {
	for _, c := range []struct {
		golden, domain string
		vars           map[string]string
	}{
		{"authorize.json", "", nil},
		{"authorize_vars.json", "", map[string]string{"table": "orders", "region": "eu"}},
		{"authorize_domain.json", "ws.example.test", map[string]string{"table": "orders"}},
	} {
		w := newWorld(t).custom("route.request.header.X-Access")
		w.stage.Variables = c.vars
		w.fn.took = 31 * time.Millisecond
		w.fn.answer = allowed + `, "context": {"plan": "gold", "seats": 5, "trial": false, "ratio": 1.50, "none": null, "principalId": "root", "integrationLatency": "0", "plan": "gold"}}`
		r := w.request("tenant=green&tenant=blue", "host: localhost", "Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "X-Access: abc", "x-access: abd",
			"Sec-WebSocket-Key: bW9ja2tleW1vY2trZXkxMg==", "Sec-WebSocket-Version: 13", "user-agent: acme-client/2.4")
		if c.domain != "" {
			r.Conn.DomainName = c.domain
			r.Handshake.Query = ""
		}
		gr, no := w.authorize(w.plan(), r)
		w.want(c.golden, no, 0, "")
		golden(t, c.golden, w.fn.calls[0].Payload)
		decode(t, w.fn.calls[0].Payload)
		const later = `{"principalId":"user-77","integrationLatency":31,"ratio":"1.50","plan":"gold","seats":"5","trial":"false"}`
		sorted := func(s []byte) string {
			var m map[string]any
			if err := json.Unmarshal(s, &m); err != nil {
				t.Fatal(err)
			}
			out, _ := json.Marshal(m)
			return string(out)
		}
		if sorted(gr.Authorizer) != sorted([]byte(later)) || !bytes.HasPrefix(gr.Authorizer, []byte(`{"principalId":"user-77","integrationLatency":31,`)) {
			t.Errorf("%s: %s", c.golden, gr.Authorizer)
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	raw, err := os.ReadFile("../event/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Compact(&want, raw); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s:\n got %s\nwant %s", name, got, want.Bytes())
	}
}

// decode reads an authorizer's event with the types Go functions use.
func decode(t *testing.T, payload []byte) {
	t.Helper()
	var rest events.APIGatewayCustomAuthorizerRequestTypeRequest
	if err := json.Unmarshal(payload, &rest); err != nil {
		t.Fatal(err)
	}
	var ws events.APIGatewayWebsocketProxyRequest
	if err := json.Unmarshal(payload, &ws); err != nil {
		t.Fatal(err)
	}
	if rest.Type != "REQUEST" || rest.MethodArn != methodARN || rest.Headers["X-Access"] != "abd" || rest.RequestContext.Identity.SourceIP != "198.51.100.23" ||
		ws.RequestContext.ConnectionID != "Qa1zTdYbrRcCJ4w=" || ws.RequestContext.EventType != "CONNECT" || ws.RequestContext.Authorizer != nil {
		t.Errorf("%+v\n%+v", rest, ws)
	}
}

// The answer is asked for every time.
func TestNothingIsCached(t *testing.T) {
	w := newWorld(t).custom()
	p := w.plan()
	for range 3 {
		w.authorize(p, w.request(""))
	}
	w.fn.answer = `{}`
	_, no := w.authorize(p, w.request(""))
	w.want("changed", no, 500, "Internal server error")
	if len(w.fn.calls) != 4 {
		t.Error(len(w.fn.calls))
	}
}

func TestOutcomeForAccessLogs(t *testing.T) {
	w := newWorld(t).custom()
	w.fn.took = 7 * time.Millisecond
	p := w.plan()
	r := w.request("")
	r.Call.Outcome = &event.Outcome{}
	w.authorize(p, r)
	get := func(name string) string {
		v, _ := event.Context(r.Conn, &r.Call, event.TypeConnect, name)
		return v
	}
	if get("authorizer.latency") != "7" || get("authorizer.status") != "200" || get("authorizer.requestId") != "run-1" || get("authorize.status") != "200" {
		t.Errorf("%+v", r.Call.Outcome)
	}
	w.fn.failure, w.fn.answer = "Unhandled", `{"errorType": "TypeError"}`
	r.Call.Outcome = &event.Outcome{}
	w.authorize(p, r)
	if get("authorizer.status") != "500" || !strings.Contains(get("authorizer.error"), "TypeError") || get("authorize.status") != "500" || get("authorize.error") == "" {
		t.Errorf("%+v", r.Call.Outcome)
	}
}

// vouches is a second, naive opinion: is there an Allow for the method in this text?
func vouches(answer string) bool {
	var a struct {
		PrincipalID    *string         `json:"principalId"`
		PolicyDocument json.RawMessage `json:"policyDocument"`
	}
	if json.Unmarshal([]byte(answer), &a) != nil || a.PrincipalID == nil || *a.PrincipalID == "" || len(answer) > maxAnswer {
		return false
	}
	p, err := iam.Parse(a.PolicyDocument)
	return err == nil && strings.Contains(string(a.PolicyDocument), "Allow") && iam.Decide([]*iam.Policy{p}, &iam.Request{Action: "execute-api:Invoke", Resource: methodARN}).Allowed()
}

// Whatever an authorizer's answer turns into, there is no grant without an Allow for
// the ARN in it.
func TestMutatedAnswersNeverLetIn(t *testing.T) {
	w := newWorld(t).custom()
	p := w.plan()
	random := rand.New(rand.NewPCG(1, 2))
	seeds := []string{
		strings.Replace(allowed, "Allow", "Deny", 1) + "}", strings.Replace(allowed, "prod", "dev", 1) + "}", strings.Replace(allowed, "Invoke", "InvalidateCache", 1) + "}",
		allowed + `, "context": {"a": 1}}`, allowed, `{"principalId": "u", "policyDocument": {"Statement": []}}`, `{"isAuthorized": true, "effect": "Allow"}`,
	}
	granted := 0
	for range 20000 {
		b := []byte(seeds[random.IntN(len(seeds))])
		for range random.IntN(6) {
			i := random.IntN(len(b))
			switch random.IntN(4) {
			case 0:
				b[i] = byte(random.IntN(256))
			case 1:
				b = append(b[:i], b[i+1:]...)
			case 2:
				j := i + random.IntN(len(b)-i)
				b = append(b[:j], append(append([]byte(nil), b[i:j]...), b[j:]...)...)
			case 3:
				b[i] = `{}[]",:*?\`[random.IntN(10)]
			}
			if len(b) == 0 {
				b = []byte("x")
			}
		}
		w.fn.answer = string(b)
		w.fn.calls = w.fn.calls[:0]
		gr, _ := w.authorize(p, w.request(""))
		if gr == nil {
			continue
		}
		granted++
		if !vouches(string(b)) {
			t.Fatalf("let in by %s", b)
		}
	}
	if granted == 0 {
		t.Fatal("the mutations never leave a good answer: the test shows nothing")
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(allowed + "}"))
	f.Add([]byte(allowed + `, "context": {"a": 1, "b": true, "c": "x", "d": null}, "usageIdentifierKey": "k"}`))
	f.Add([]byte(`{"principalId": "u", "policyDocument": {"Statement": {"Effect": "Allow", "NotAction": "x", "NotResource": "y"}}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		a, err := parseAnswer(payload)
		if err != nil {
			return
		}
		if a.principalID == "" || a.policy == nil || len(payload) > maxAnswer {
			t.Fatalf("%q: %+v", payload, a)
		}
		object := event.AppendGrant(nil, a.principalID, 1, a.context)
		var m map[string]any
		if err := json.Unmarshal(object, &m); err != nil {
			t.Fatalf("%q becomes %s: %v", payload, object, err)
		}
		if m["integrationLatency"] != float64(1) || len(m) > len(a.context)+2 {
			t.Fatalf("%q becomes %s", payload, object)
		}
	})
}
