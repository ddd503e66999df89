package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// startGuarded runs testdata/guarded: four APIs, each with its own way to decide who
// may connect.
func startGuarded(t testing.TB, args ...string) *probe {
	t.Helper()
	return startProbe(t, launch{Dir: copyApp(t, "guarded"), Args: args}, nil)
}

// api is the API with a name.
func (g *gate) api(name string) api {
	g.t.Helper()
	i := slices.IndexFunc(g.status.APIs, func(a api) bool { return a.Name == name })
	if i < 0 {
		g.t.Fatalf("status lists no API %q: %+v", name, g.status.APIs)
	}
	return g.status.APIs[i]
}

// door is the WebSocket URL of the first stage of an API.
func (g *gate) door(name string) string {
	g.t.Helper()
	return g.api(name).Stages[0].WebSocketURL
}

// caller is what a message's function knows of who sent it.
type caller struct {
	Route      string         `json:"route"`
	Authorizer map[string]any `json:"authorizer"`
	Identity   map[string]any `json:"identity"`
}

// whoami asks the application.
func (s *socket) whoami() (c caller) {
	s.t.Helper()
	s.call("whoami", nil)
	frame := s.next()
	if err := json.Unmarshal([]byte(frame), &c); err != nil || c.Route != "whoami" {
		s.t.Fatalf("frame %s: %v", frame, err)
	}
	return c
}

// refused tries to connect and must get this status.
func (d dialing) refused(t testing.TB, url string, status int) *refusal {
	t.Helper()
	s, no := d.try(t, url)
	if s != nil {
		t.Fatalf("accepted, want %d", status)
	}
	if no.Status != status {
		t.Fatalf("answered with %d %s, want %d", no.Status, no.Body, status)
	}
	return no
}

func TestLambdaAuthorizerInNode(t *testing.T) {
	p := startGuarded(t)
	url := p.door("doors")
	tenant := dialing{Header: http.Header{"X-Tenant": {"acme"}}}
	for _, c := range []struct {
		token  string
		status int
		body   string
		log    string
	}{
		{"allow", 101, "", ""},
		{"wildcard", 101, "", ""},
		{"deny", 403, `{"Message":"User is not authorized to access this resource with an explicit deny"}`, "guarded-node|NodeAuthorizer|ConnectAuthorizer"},
		{"allow-and-deny", 403, `{"Message":"User is not authorized to access this resource with an explicit deny"}`, ""},
		{"elsewhere", 403, `{"Message":"User is not authorized to access this resource"}`, "no statement of its policy allows"},
		{"unauthorized", 401, `{"message":"Unauthorized"}`, ""},
		{"broken", 500, `{"message":"Internal server error"}`, ""},
		{"nobody", 500, `{"message":"Internal server error"}`, "principalId"},
		{"simple", 500, `{"message":"Internal server error"}`, "connect refused with 500"},
		{"array", 500, `{"message":"Internal server error"}`, ""},
		{"nothing", 500, `{"message":"Internal server error"}`, ""},
		{"exit", 500, `{"message":"Internal server error"}`, ""},
		{"hang", 500, `{"message":"Internal server error"}`, ""},
	} {
		t.Run(c.token, func(t *testing.T) {
			p := p.in(t)
			target := url + "?tag=" + c.token + "&token=" + c.token
			if c.status == 101 {
				dial(t, target, tenant)
				return
			}
			no := tenant.refused(t, target, c.status)
			if got := strings.TrimSpace(no.Body); got != c.body {
				t.Errorf("body %s, want %s", got, c.body)
			}
			if c.log != "" {
				p.says(c.log)
			}
			if ran := p.records(func(r record) bool { return r.Kind == "connect" && r.Tag == c.token }); len(ran) > 0 {
				t.Errorf("$connect ran for a refused client: %+v", ran)
			}
		})
	}
	t.Run("a missing or empty identity source is 401, and nobody is asked", func(t *testing.T) {
		p := p.in(t)
		before := len(p.records(func(r record) bool { return r.Kind == "authorize" }))
		for _, c := range []struct {
			query string
			how   dialing
		}{
			{"?token=allow", dialing{}},
			{"", tenant},
			{"?token=", tenant},
			{"?token=allow", dialing{Header: http.Header{"X-Tenant": {""}}}},
		} {
			c.how.refused(t, url+c.query, 401)
		}
		if after := len(p.records(func(r record) bool { return r.Kind == "authorize" })); after != before {
			t.Errorf("the authorizer ran %d times", after-before)
		}
	})
	t.Run("its context is text in every later event", func(t *testing.T) {
		p := p.in(t)
		s := dial(t, url+"?tag=context&token=allow", tenant)
		got := s.whoami().Authorizer
		p.checkGrant(got)
		s.close(websocket.StatusNormalClosure, "")
		id := p.recorded("connect", "context").ConnectionID
		for _, r := range []record{p.recorded("connect", "context"), p.recorded("disconnect", id)} {
			p.checkGrant(authorizerOf(t, r))
		}
	})
	t.Run("what it is asked", func(t *testing.T) { p.in(t).checkAsked() })
}

// authorizerOf is requestContext.authorizer of a recorded event.
func authorizerOf(t testing.TB, r record) map[string]any {
	t.Helper()
	var e struct {
		RequestContext struct{ Authorizer map[string]any }
	}
	if err := json.Unmarshal(r.Event, &e); err != nil {
		t.Fatal(err)
	}
	return e.RequestContext.Authorizer
}

func (p *probe) checkGrant(got map[string]any) {
	p.t.Helper()
	for name, want := range map[string]any{"principalId": "ada", "tenant": "acme", "level": "7", "admin": "true"} {
		if got[name] != want {
			p.t.Errorf("authorizer.%s is %#v, want %#v (%v)", name, got[name], want, got)
		}
	}
	if _, ok := got["integrationLatency"].(float64); !ok {
		p.t.Errorf("authorizer.integrationLatency is %#v", got["integrationLatency"])
	}
}

func (p *probe) checkAsked() {
	p.t.Helper()
	asked := p.records(func(r record) bool { return r.Kind == "authorize" && r.Tag == "deny" })
	if len(asked) != 1 {
		p.t.Fatalf("asked %d times", len(asked))
	}
	var e struct {
		Type, MethodARN string
		StageVariables  map[string]string
		RequestContext  struct{ RouteKey, EventType string }
	}
	if err := json.Unmarshal(asked[0].Event, &e); err != nil {
		p.t.Fatal(err)
	}
	arn := "arn:aws:execute-api:" + p.status.Region + ":" + p.status.AccountID + ":" + p.api("doors").ID + "/prod/$connect"
	if e.Type != "REQUEST" || e.MethodARN != arn || e.StageVariables["color"] != "green" || e.RequestContext.RouteKey != "$connect" || e.RequestContext.EventType != "CONNECT" {
		p.t.Errorf("the authorizer was asked %+v, want methodArn %s", e, arn)
	}
}

func TestLambdaAuthorizerInPython(t *testing.T) {
	need(t, "python3")
	p := startGuarded(t)
	url := p.door("snakes") + "?token="
	for token, status := range map[string]int{"deny": 403, "unauthorized": 401, "broken": 500, "": 401} {
		dialing{}.refused(t, url+token, status)
	}
	got := dial(t, url+"allow", dialing{}).whoami().Authorizer
	if got["principalId"] != "grace" || got["language"] != "python" || got["level"] != "3.5" || got["admin"] != "false" {
		t.Errorf("authorizer %v", got)
	}
}

// A process that is killed has no time to run $disconnect. The next one does, and must
// still know who it was that the authorizer let in.
func TestKilledConnectionsKeepTheirAuthorizer(t *testing.T) {
	op := newIssuer(t)
	p := startGuarded(t, "--parameter-overrides", "Issuer="+op.url)
	dial(t, p.door("doors")+"?tag=lambda&token=allow", dialing{Header: http.Header{"X-Tenant": {"acme"}}})
	dial(t, p.door("tokens")+"?tag=jwt&access_token="+op.token(claims{"sub": "eve", "team": "blue"}), dialing{})
	lambda, jwt := p.recorded("connect", "lambda").ConnectionID, p.recorded("connect", "jwt").ConnectionID
	p.kill()
	p.gate = p.again()

	r := p.recorded("disconnect", lambda)
	if r.Code != 1006 {
		t.Errorf("$disconnect with %d, want 1006", r.Code)
	}
	p.checkGrant(authorizerOf(t, r))
	if got := authorizerOf(t, p.recorded("disconnect", jwt)); got["sub"] != "eve" || got["team"] != "blue" || got["principalId"] != "eve" {
		t.Errorf("authorizer of the JWT connection's $disconnect: %v", got)
	}
}
