package gateway_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/livegate/livegate/internal/authz"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/iam"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/sigv4"
)

// guarded puts the function "authorizer" before $connect.
func guarded(sources ...string) func(*model.App) {
	return func(app *model.App) {
		app.APIs[0].Authorizers = []*model.Authorizer{{
			LogicalID: "Auth", ID: "auth123", Name: "auth", Type: "REQUEST", IdentitySource: sources,
			URI: "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:111122223333:function:authorizer/invocations",
		}}
		connect := app.APIs[0].Route("$connect")
		connect.AuthorizationType, connect.AuthorizerID = "CUSTOM", "auth123"
	}
}

// verdict is an authorizer's answer.
func verdict(effect, resource, context string) handler {
	return func(*call) any {
		return json.RawMessage(`{"principalId":"user-77","policyDocument":{"Version":"2012-10-17","Statement":[{"Action":"execute-api:Invoke","Effect":"` +
			effect + `","Resource":"` + resource + `"}]},"context":` + context + `}`)
	}
}

const methodARN = "arn:aws:execute-api:eu-west-1:111122223333:k3v9x1m2qz/prod/$connect"

// A8 to A12, and every other way in which an authorizer does not say yes.
func TestVectorsOfAuthorizers(t *testing.T) {
	allow := verdict("Allow", methodARN, `{}`)
	token := &websocket.DialOptions{HTTPHeader: http.Header{"X-Access": {"abc"}}}
	for _, v := range []struct {
		name    string
		h       handler
		dial    *websocket.DialOptions
		want    int
		body    string
		invoked bool
	}{
		{"A8 the header is missing", allow, nil, 401, `{"message":"Unauthorized"}`, false},
		{"A8 the header is empty", allow, &websocket.DialOptions{HTTPHeader: http.Header{"X-Access": {""}}}, 401, `{"message":"Unauthorized"}`, false},
		{"A9 Deny", verdict("Deny", methodARN, `{}`), token, 403, "*", true},
		{"A10 Unauthorized", func(*call) any { return failure{"Error", "Unauthorized"} }, token, 401, `{"message":"Unauthorized"}`, true},
		{"A11 another error", func(*call) any { return failure{"Error", "no database"} }, token, 500, `{"message":"Internal server error"}`, true},
		{"A12 a resource without a verb", verdict("Allow", "arn:aws:execute-api:eu-west-1:111122223333:k3v9x1m2qz/prod/*/*", `{}`), token, 403, "*", true},
		{"the runtime fails", func(*call) any { return fault.New(fault.Unavailable, "no worker") }, token, 500, `{"message":"Internal server error"}`, true},
		{"null", func(*call) any { return nil }, token, 500, "*", true},
		{"an HTTP answer", func(*call) any { return map[string]any{"statusCode": 200} }, token, 500, "*", true},
		{"isAuthorized", func(*call) any { return map[string]any{"isAuthorized": true} }, token, 500, "*", true},
		{"an object in the context", verdict("Allow", methodARN, `{"a":{}}`), token, 500, "*", true},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			s := newStand(t, map[string]handler{"authorizer": v.h}, options{guard: &authz.Config{}, app: guarded("route.request.header.X-Access")},
				lambda("$connect", "connect"), lambda("$disconnect", "disconnect"))
			if _, body := s.refused("/prod", v.dial, v.want); v.body != "*" && body != v.body {
				t.Fatalf("body %s", body)
			}
			calls := 0
			for len(s.calls) > 0 {
				if c := <-s.calls; c.function != "authorizer" {
					t.Fatalf("%s ran although nobody was let in", c.function)
				}
				calls++
			}
			if (calls > 0) != v.invoked {
				t.Fatalf("the authorizer ran %d times", calls)
			}
			if n := s.gateway.Stats(); n.Refused != 1 || n.Connects != 0 {
				t.Fatalf("stats %+v", n)
			}
		})
	}
}

// What an authorizer says about somebody is text in every later event, in an access log
// and, across a crash, in the $disconnect of the next process.
func TestAuthorizerContextStays(t *testing.T) {
	journal := &memory{}
	lines := make(chan string, 16)
	s := newStand(t, map[string]handler{"authorizer": verdict("Allow", methodARN, `{"plan":"gold","seats":5,"trial":false}`)}, options{
		guard: &authz.Config{}, journal: journal, access: func(_, _, line string) { lines <- line },
		app: func(app *model.App) {
			guarded()(app)
			app.APIs[0].Stages[0].AccessLogFormat = "$context.eventType $context.authorizer.principalId $context.authorizer.plan $context.authorizer.nope $context.status"
		},
	}, lambda("$connect", "connect"), lambda("$disconnect", "disconnect"), lambda("$default", "all"))
	c := s.connect()
	c.send("hello")
	check := func(function string) {
		t.Helper()
		got, _ := s.next(function).context("authorizer").(map[string]any)
		if got["principalId"] != "user-77" || got["plan"] != "gold" || got["seats"] != "5" || got["trial"] != "false" {
			t.Fatalf("%s: authorizer %v", function, got)
		}
		if _, number := got["integrationLatency"].(float64); !number {
			t.Fatalf("%s: integrationLatency %v", function, got["integrationLatency"])
		}
	}
	check("connect")
	check("all")
	if pending, _ := journal.Pending(); len(pending) != 1 || !strings.Contains(string(pending[0]), `"plan":"gold"`) {
		t.Fatalf("journal: %s", pending)
	}
	c.Close(1000, "")
	check("disconnect")
	for _, want := range []string{"CONNECT user-77 gold - 200", "MESSAGE user-77 gold - 200", "DISCONNECT user-77 gold - 200"} {
		select {
		case got := <-lines:
			if got != want {
				t.Fatalf("line %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("no line %q", want)
		}
	}
}

// Nobody may come in through a door whose lock nobody can turn.
func TestConfiguredAccessControlIsNeverSkipped(t *testing.T) {
	for name, set := range map[string]func(*model.App){
		"CUSTOM":              func(a *model.App) { a.APIs[0].Route("$connect").AuthorizationType = "CUSTOM" },
		"AWS_IAM":             func(a *model.App) { a.APIs[0].Route("$connect").AuthorizationType = "AWS_IAM" },
		"API key":             func(a *model.App) { a.APIs[0].Route("$connect").APIKeyRequired = true },
		"origins of $connect": func(a *model.App) { a.APIs[0].Route("$connect").Access = &model.Access{Origins: []string{"same-host"}} },
		"access of the API":   func(a *model.App) { a.APIs[0].Access = &model.Access{Origins: []string{"same-host"}} },
		"scopes":              func(a *model.App) { a.APIs[0].Route("say").Scopes = []string{"x"} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, nil, options{app: set}, lambda("$connect", "connect"), lambda("say", "say"))
			s.refused("/prod", nil, 500)
			if len(s.calls) != 0 || !strings.Contains(s.logText(), "refused rather than let through") {
				t.Fatalf("%d calls; log: %s", len(s.calls), s.logText())
			}
		})
	}
	t.Run("a plan that cannot work", func(t *testing.T) {
		s := newStand(t, nil, options{guard: &authz.Config{}, app: func(a *model.App) { a.APIs[0].Route("$connect").AuthorizationType = "CUSTOM" }}, lambda("$connect", "connect"))
		s.refused("/prod", nil, 500)
		if len(s.calls) != 0 || !strings.Contains(s.logText(), "every handshake is refused") {
			t.Fatalf("%d calls; log: %s", len(s.calls), s.logText())
		}
	})
}

// A signed handshake: the caller is in later events, and its policies are asked for
// every message.
func TestSignedHandshakes(t *testing.T) {
	policy, err := iam.Parse([]byte(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"*"},
		{"Effect":"Deny","Action":"execute-api:Invoke","Resource":"*/prod/secret"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s := newStand(t, nil, options{
		guard: &authz.Config{Callers: func(id string) (authz.Caller, bool) {
			return authz.Caller{Secret: "sesame", Policies: []*iam.Policy{policy}}, id == "AKIDANN"
		}},
		app: func(app *model.App) { app.APIs[0].Route("$connect").AuthorizationType = "AWS_IAM" },
	}, lambda("$connect", "connect"), lambda("secret", "secret"), lambda("open", "open"))
	dial := func(secret string) (*client, *http.Response, error) {
		r, _ := http.NewRequest(http.MethodGet, "http://"+host+"/prod", nil)
		r.Host = host
		sigv4.Sign(r, nil, sigv4.Key{ID: "AKIDANN", Secret: secret}, sigv4.Scope{Region: "eu-west-1", Service: "execute-api"}, time.Now())
		return s.dial("/prod", &websocket.DialOptions{HTTPHeader: r.Header})
	}
	s.refused("/prod", nil, 403)
	if _, resp, err := dial("wrong"); err == nil || resp.StatusCode != 403 {
		t.Fatalf("a wrong signature: %v", err)
	}
	c, _, err := dial("sesame")
	if err != nil {
		t.Fatal(err)
	}
	connected := s.next("connect")
	if who := connected.context("identity").(map[string]any); who["accessKey"] != "AKIDANN" || who["accountId"] != "111122223333" {
		t.Fatalf("identity %v", who)
	}
	c.send(`{"action":"secret"}`)
	c.expectError("Forbidden", connected.connectionID())
	c.send(`{"action":"open"}`)
	if who := s.next("open").context("identity").(map[string]any); who["accessKey"] != "AKIDANN" {
		t.Fatalf("identity %v", who)
	}
}

// Keys and plans: 403 without a key, 429 over the throttle, frames for messages.
func TestAPIKeys(t *testing.T) {
	const key = "canary-key-0123456789abcdef"
	s := newStand(t, nil, options{guard: &authz.Config{}, app: func(app *model.App) {
		app.APIs[0].APIKeySelectionExpression = "$request.header.x-api-key"
		app.APIs[0].Route("$connect").APIKeyRequired = true
		app.APIKeys = []*model.APIKey{{ID: "k1", Name: "ann", Value: key, Enabled: true}}
		app.UsagePlans = []*model.UsagePlan{{ID: "p1", Keys: []string{"k1"}, Stages: []model.PlanStage{{APIID: app.APIs[0].ID, Stage: "prod"}}, Throttle: model.Throttle{Rate: 0.0001, Burst: 2}}}
	}}, lambda("$connect", "connect"), lambda("$default", "all"))
	for _, wrong := range []string{"", "nobody-has-this-key-0123456789"} {
		if _, body := s.refused("/prod", &websocket.DialOptions{HTTPHeader: http.Header{"X-Api-Key": {wrong}}}, 403); body != `{"message":"Forbidden"}` {
			t.Fatal(body)
		}
	}
	c, _, err := s.dial("/prod", &websocket.DialOptions{HTTPHeader: http.Header{"X-Api-Key": {key}}}) // one of two tokens
	if err != nil {
		t.Fatal(err)
	}
	connectionID := s.next("connect").connectionID()
	c.send("one")
	s.next("all")
	c.send("two")
	c.expectError("Too Many Requests", connectionID)
	if _, body := s.refused("/prod", &websocket.DialOptions{HTTPHeader: http.Header{"X-Api-Key": {key}}}, 429); body != `{"message":"Too Many Requests"}` {
		t.Fatal(body)
	}
	if strings.Contains(s.logText(), key) {
		t.Fatal("the key is in the log")
	}
}
